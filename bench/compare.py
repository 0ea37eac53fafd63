"""Product and limit in turns: the same rows, the same statements, one process each on one core."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from statistics import median
from typing import Final

from bench.flows import Flow
from bench.load import Job, Outcome
from bench.processes import Server, children, processor_seconds, used_since
from bench.stage import Stage, ask
from bench.work import Market
from bench.world import World

CONNECTIONS: Final = 32
CROWD: Final = 256
SHARE: Final = 0.5
"""Of the product's own rate, that falls due where latency is looked at: full load only tells how long a queue is."""
_ROUNDS: Final = 6
ROUND_SECONDS: Final = 1.2
_PACED_ROUNDS: Final = 5
_WARM_PER_CONNECTION: Final = 12
_FRESH_AT_FIRST: Final = 500
_FRESH_AT_MOST: Final = 12_000


class Side(StrEnum):
    PRODUCT = "product"
    LIMIT = "limit"


@dataclass
class Measured:
    """One side of one endpoint, over all rounds."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    alone: Sequence[float] = ()
    """Latencies with one connection."""
    paced: list[Sequence[float]] = field(default_factory=list)
    """Latencies with as many connections, of requests that fall due at `SHARE` of the product's rate; by rounds."""
    crowded: Outcome | None = None
    """With `CROWD` connections; None where that was not measured."""
    failures: dict[str, int] = field(default_factory=dict)
    server_seconds: float = 0.0
    database_seconds: float = 0.0

    def add(self, outcome: Outcome, server_seconds: float, database_seconds: float) -> None:
        self.rates.append(outcome.rate)
        self.latencies.extend(outcome.latencies)
        self.fail(outcome)
        self.server_seconds += server_seconds
        self.database_seconds += database_seconds

    def fail(self, outcome: Outcome) -> None:
        for what, count in outcome.failures.items():
            self.failures[what] = self.failures.get(what, 0) + count

    @property
    def rate(self) -> float:
        return median(self.rates)

    def percentile(self, percent: float) -> float:
        return percentile(self.latencies, percent)

    def paced_percentile(self, percent: float) -> float:
        return percentile_of_rounds(self.paced, percent)


@dataclass(frozen=True)
class Comparison:
    flow: str
    product: Measured
    limit: Measured

    @property
    def ratio_alone(self) -> float:
        """Of how long one takes that is alone."""
        return percentile(self.limit.alone, 50) / percentile(self.product.alone, 50)

    @property
    def ratio_crowded(self) -> float | None:
        """Of the rates in a crowd."""
        if self.product.crowded is None or self.limit.crowded is None:
            return None
        return self.product.crowded.rate / self.limit.crowded.rate

    @property
    def ratios(self) -> list[float]:
        """Product to limit, round by round: what disturbs a whole round disturbs both."""
        return [ours / theirs for ours, theirs in zip(self.product.rates, self.limit.rates, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))] if values else float("nan")


def percentile_of_rounds(rounds: Sequence[Sequence[float]], percent: float) -> float:
    """The median of theirs: one stall of the machine is a hundredth of a round, and of all of them, too."""
    return median(percentile(each, percent) for each in rounds)


class Contest:
    """One flow, both sides."""

    def __init__(self, stage: Stage, world: World, market: Market, flow: Flow) -> None:
        self._stage, self._world, self._market, self._flow = stage, world, market, flow
        self._measured = {side: Measured() for side in Side}
        self._fresh = dict.fromkeys(Side, _FRESH_AT_FIRST)

    async def hold(self) -> Comparison:
        await self._agree()
        for side in Side:
            await self._warm(side)
        for number in range(_ROUNDS):
            requests = {side: await self._requests(side) for side in Side}
            for side in sorted(Side, reverse=bool(number % 2)):
                self._measure(side, requests[side])
        await self._world.tidy_up()
        for number in range(_PACED_ROUNDS):
            for side in sorted(Side, reverse=bool(number % 2)):
                await self._pace(side)
        for side in Side:
            measured = self._measured[side]
            measured.alone = (await self._look(side, 1)).latencies
            if self._flow.crowded:
                measured.crowded = await self._look(side, CROWD)
        return Comparison(self._flow.name, self._measured[Side.PRODUCT], self._measured[Side.LIMIT])

    async def _warm(self, side: Side) -> None:
        """Until plans, caches and connections have come to rest: PostgreSQL plans the first uses of a statement on each
        connection anew."""
        done = 0
        while done < _WARM_PER_CONNECTION * CONNECTIONS:
            warm = await self._look(side, CONNECTIONS)
            if not warm.done:
                raise RuntimeError(f"{self._flow.name}: {warm.failures}")
            done += warm.done
            self._fresh[side] = min(_FRESH_AT_MOST, max(_FRESH_AT_FIRST, int(warm.rate * ROUND_SECONDS * 2)))

    async def _agree(self) -> None:
        """Both sides give the same answer, or, where they cannot be asked the same twice, the same fields."""
        ours, theirs = [ask(self._server(side).port, (await self._requests(side, 1))[0]) for side in Side]
        if ours != theirs and (self._flow.only_looks or ours.keys() != theirs.keys()):
            raise RuntimeError(f"{self._flow.name}: the product answers {ours}, the limit {theirs}")

    def _measure(self, side: Side, requests: list[bytes]) -> None:
        server = processor_seconds(self._server(side).pids)
        database = processor_seconds(children(self._stage.database.postgres_pid))
        outcome = self._run(side, requests, CONNECTIONS)
        self._measured[side].add(outcome, used_since(server), used_since(database))
        time.sleep(0.1)  # what one side left running, such as hints, is not the other's to pay for

    async def _look(self, side: Side, connections: int) -> Outcome:
        outcome = self._run(side, await self._requests(side), connections)
        self._measured[side].fail(outcome)
        return outcome

    async def _pace(self, side: Side) -> None:
        """The same number a second from both: what is compared is how long they take for the same work."""
        per_second = self._measured[Side.PRODUCT].rate * SHARE
        # No more subjects than fall due: the database tidies up after those who make thousands at once.
        requests = await self._requests(side, ceil(per_second * ROUND_SECONDS))
        outcome = self._run(side, requests, CONNECTIONS, per_second)
        self._measured[side].paced.append(outcome.latencies)
        self._measured[side].fail(outcome)

    def _run(self, side: Side, requests: list[bytes], connections: int, per_second: float | None = None) -> Outcome:
        port, once = self._server(side).port, self._flow.uses_up
        return self._stage.load.run(Job(port, requests, connections, ROUND_SECONDS, once=once, per_second=per_second))

    def _server(self, side: Side) -> Server:
        return self._stage.product if side is Side.PRODUCT else self._stage.limit

    async def _requests(self, side: Side, count: int | None = None) -> list[bytes]:
        subjects = await self._flow.subjects(self._world, self._market, count or self._fresh[side])
        if side is Side.LIMIT:
            return [self._flow.limit(each) for each in subjects]
        return [self._flow.product(self._world, each) for each in subjects]

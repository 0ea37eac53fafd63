"""Product and limit in turns: the same rows, the same statements, one process each on one core."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Final
from uuid import UUID

from bench.load import Job, Outcome
from bench.processes import Server, children, processor_seconds, used_since
from bench.stage import Stage, ask, request, token
from bench.world import Made, World

CONNECTIONS: Final = 32
_ROUNDS: Final = 10
_SECONDS: Final = 1.5
_FRESH_AT_FIRST: Final = 1_000
_FRESH_AT_MOST: Final = 12_000


class Side(StrEnum):
    PRODUCT = "product"
    LIMIT = "limit"


@dataclass(frozen=True)
class Endpoint:
    name: str
    product: Callable[[Made, World], bytes]
    limit: Callable[[Made], bytes]
    consumes: bool = False
    """Each request needs a service request of its own, bought and not yet completed."""


@dataclass
class Measured:
    """One side of one endpoint, over all rounds."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    """Latencies with one connection."""
    failures: dict[str, int] = field(default_factory=dict)
    server_seconds: float = 0.0
    database_seconds: float = 0.0

    def add(self, outcome: Outcome, server_seconds: float, database_seconds: float) -> None:
        self.rates.append(outcome.done / outcome.seconds)
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


@dataclass(frozen=True)
class Comparison:
    endpoint: str
    product: Measured
    limit: Measured

    @property
    def ratios(self) -> list[float]:
        """Product to limit, round by round: what disturbs a whole round disturbs both."""
        return [ours / theirs for ours, theirs in zip(self.product.rates, self.limit.rates, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))] if values else float("nan")


def _customer_token(made: Made, world: World) -> str:
    return token(world.person(made.customer_id), "customer")


def _buyer(made: Made) -> UUID:
    assert made.provider_id is not None
    return made.provider_id


ENDPOINTS: Final = (
    Endpoint(
        "read one request",
        lambda made, world: request("GET", f"/api/v1/service-requests/{made.id}", bearer=_customer_token(made, world)),
        lambda made: request("GET", f"/read/{made.customer_id}/{made.id}"),
    ),
    Endpoint(
        "list 20 own requests",
        lambda made, world: request("GET", "/api/v1/service-requests", bearer=_customer_token(made, world)),
        lambda made: request("GET", f"/list/{made.customer_id}/-"),
    ),
    Endpoint(
        "complete a lead",
        lambda made, world: request(
            "POST",
            f"/api/v1/service-requests/{made.id}/complete",
            bearer=token(world.person(_buyer(made)), "customer", "provider"),
            body={"proof_id": made.proof_id},
        ),
        lambda made: request("POST", f"/complete/{made.provider_id}/{made.id}", body={"proof_id": made.proof_id}),
        consumes=True,
    ),
)


class Contest:
    """One endpoint, both sides."""

    def __init__(self, stage: Stage, world: World, endpoint: Endpoint) -> None:
        self._stage, self._world, self._endpoint = stage, world, endpoint
        self._measured = {side: Measured() for side in Side}
        self._fresh = dict.fromkeys(Side, _FRESH_AT_FIRST)

    async def hold(self) -> Comparison:
        await self._agree()
        for side in Side:  # plans, caches and connections come to rest before anything counts
            warm = self._run(side, await self._requests(side), CONNECTIONS, _SECONDS)
            self._measured[side].fail(warm)
            self._fresh[side] = min(_FRESH_AT_MOST, int(warm.done / warm.seconds * _SECONDS))
        for number in range(_ROUNDS):
            requests = {side: await self._requests(side) for side in Side}
            for side in sorted(Side, reverse=bool(number % 2)):
                self._measure(side, requests[side])
        for side in Side:
            alone = self._run(side, await self._requests(side), 1, _SECONDS)
            self._measured[side].alone.extend(alone.latencies)
            self._measured[side].fail(alone)
        return Comparison(self._endpoint.name, self._measured[Side.PRODUCT], self._measured[Side.LIMIT])

    async def _agree(self) -> None:
        """Both sides give the same answer, or, where each has a subject of its own, the same fields."""
        ours, theirs = [ask(self._server(side).port, (await self._requests(side, 1))[0]) for side in Side]
        if ours != theirs and not (self._endpoint.consumes and ours.keys() == theirs.keys()):
            raise RuntimeError(f"{self._endpoint.name}: the product answers {ours}, the limit {theirs}")

    def _measure(self, side: Side, requests: list[bytes]) -> None:
        server = processor_seconds([self._server(side).process.pid])
        database = processor_seconds(children(self._stage.database.postgres_pid))
        outcome = self._run(side, requests, CONNECTIONS, _SECONDS)
        self._measured[side].add(outcome, used_since(server), used_since(database))
        time.sleep(0.1)  # what one side left running, such as hints, is not the other's to pay for

    def _run(self, side: Side, requests: list[bytes], connections: int, seconds: float) -> Outcome:
        return self._stage.load.run(
            Job(self._server(side).port, requests, connections, seconds, once=self._endpoint.consumes)
        )

    def _server(self, side: Side) -> Server:
        return self._stage.product if side is Side.PRODUCT else self._stage.limit

    async def _requests(self, side: Side, count: int | None = None) -> list[bytes]:
        if self._endpoint.consumes:
            made = await self._world.requests(count or self._fresh[side])
        else:
            made = list(self._world.readable)
        if side is Side.LIMIT:
            return [self._endpoint.limit(each) for each in made]
        return [self._endpoint.product(each, self._world) for each in made]

"""Two workers beside one: as many processes on one listening socket, none of which is tied to a core.

What the second one can bring depends on the cores that PostgreSQL and the load generator leave. `bound` says what that
is on this machine: as many requests as all cores together have the processor time for.
"""

import os
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, NamedTuple

from app.core.embedded import EmbeddedServers
from bench.compare import CONNECTIONS
from bench.flows import COMPLETE, READ, Flow
from bench.load import Job, Load, Outcome
from bench.processes import Server, children, processor_seconds, serving, tie_to_all, used_since
from bench.work import Market
from bench.world import World

_FLOWS: Final = (READ, COMPLETE)
_ROUNDS: Final = 5
_SECONDS: Final = 1.2
_FRESH: Final = 4_000
_WORKERS: Final = 2
_WARMING: Final = 20


class Share(NamedTuple):
    """What one round took of the machine."""

    rate: float
    processor_seconds: float
    """Of servers, database and load generator, for each request."""


@dataclass
class Workers:
    """Of one flow: round by round, with one worker and with two."""

    flow: str
    cores: int
    failures: dict[str, int] = field(default_factory=dict)
    one: list[Share] = field(default_factory=list)
    two: list[Share] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [two.rate / one.rate for one, two in zip(self.one, self.two, strict=True)]

    @property
    def bound(self) -> float:
        """What the ratio can be at most, when everything takes place on these cores."""
        most = self.cores / median(share.processor_seconds for share in self.two)
        return min(float(_WORKERS), most / median(share.rate for share in self.one))


async def measure_workers(database: EmbeddedServers, world: World, market: Market) -> list[Workers]:
    """Each flow in turns: one worker, two workers."""
    with (
        tie_to_all(database.postgres_pid, database.valkey_pid),
        serving("app.serve", "--fd", core=None) as one,
        serving("app.serve", "--fd", core=None, processes=_WORKERS) as two,
        Load(None) as load,
    ):
        run = _Run(database, load)
        _warm(run, two, await _requests(READ, world, market))
        found = []
        for flow in _FLOWS:
            measured = Workers(flow.name, len(os.sched_getaffinity(0)))
            run.ask(one, flow, await _requests(flow, world, market), measured.failures)
            for number in range(_ROUNDS):
                for server in (one, two) if number % 2 else (two, one):
                    share = run.ask(server, flow, await _requests(flow, world, market), measured.failures)
                    (measured.one if server is one else measured.two).append(share)
            found.append(measured)
        return found


async def _requests(flow: Flow, world: World, market: Market) -> list[bytes]:
    return [flow.product(world, each) for each in await flow.subjects(world, market, _FRESH)]


class _Run(NamedTuple):
    database: EmbeddedServers
    load: Load

    def ask(self, server: Server, flow: Flow, requests: list[bytes], failures: dict[str, int]) -> Share:
        """So many requests as can be answered in a while."""
        before = processor_seconds([*server.pids, self.load.pid, *children(self.database.postgres_pid)])
        job = Job(server.port, requests, CONNECTIONS, _SECONDS, once=flow.uses_up)
        outcome: Outcome = self.load.run(job)
        for what, count in outcome.failures.items():
            failures[what] = failures.get(what, 0) + count
        return Share(outcome.rate, used_since(before) / max(1, outcome.done))


def _warm(run: _Run, server: Server, requests: list[bytes]) -> None:
    """Until each of the workers has begun to answer: only the first was waited for."""
    ignored: dict[str, Any] = {}
    for _ in range(_WARMING):
        before = processor_seconds(server.pids)
        run.ask(server, READ, requests, ignored)
        now = processor_seconds(server.pids)
        if min(now[pid] - before[pid] for pid in server.pids) > _SECONDS / 10:
            return
    raise RuntimeError("a worker takes no part")

"""Sockets: how many events a second reach how many, how soon, and what a socket costs that hears nothing.

`python -m bench sockets` measures this alone. The crowd, the writer, the database and Valkey share the other core.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection
from typing import Final, NamedTuple

from pydantic_core import from_json

from app.core.embedded import EmbeddedServers
from bench.compare import CONNECTIONS, percentile
from bench.crowd import Crowd, Delivery, Pen
from bench.flows import COMPLETE
from bench.load import Job, Load
from bench.processes import Cores, Server, children, processor_seconds, serving, used_since
from bench.stage import token
from bench.world import Person, World

SOCKETS: Final = 2_000
_FIRST: Final = 100
"""Sockets that pay for what is allocated once."""
_WARM: Final = 3
_BURST: Final = 20
"""Events to everybody."""
_GROUPS: Final = 250
_GROUP: Final = 200
"""Events, each to so many."""
_EACH: Final = 500
"""Events, each to one."""
_PER_SECOND: Final = 10_000
_CALM_PER_SECOND: Final = 100
_ACCEPTING: Final = 200
_ACCEPT_SECONDS: Final = 4
_FRESH: Final = 6_000
_PATIENCE_SECONDS: Final = 15
_TOLD: Final = "SELECT count(*) FROM notifications WHERE user_id = any ($1::uuid[]) AND seq > $2"
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM notifications"


class FanOut(NamedTuple):
    """Events to everybody as fast as they can be written; processor time in microseconds for each delivery."""

    per_second: float
    server_microseconds: float
    database_microseconds: float = 0.0


class Latency(NamedTuple):
    """From the commit to the client, in milliseconds."""

    expected: int
    arrived: int
    per_second: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Sockets:
    opened_per_second: float
    idle_kb: float | None
    """Memory of a socket above the first ones."""
    fan_out: FanOut
    bare: FanOut
    busy: Latency
    """At 10,000 deliveries a second."""
    calm: Latency
    """At 100 events a second, each to one of the sockets."""
    accepting: Latency
    """While leads are completed as fast as the server can; from the beginning of the transaction."""
    back_seconds: float
    """All break off at once: until the last has resumed."""

    @property
    def latencies(self) -> dict[str, Latency]:
        return {
            f"{_PER_SECOND:,} deliveries a second": self.busy,
            f"{_CALM_PER_SECOND} events a second": self.calm,
            "while leads are completed as fast as they can be": self.accepting,
        }

    @property
    def failures(self) -> list[str]:
        return [
            f"sockets, {name}: {latency.arrived} of {latency.expected} arrived"
            for name, latency in self.latencies.items()
            if latency.arrived != latency.expected
        ]


class Stage(NamedTuple):
    """What the parts of the measurement share."""

    database: EmbeddedServers
    world: World
    people: Sequence[Person]
    server: Server
    crowd: Crowd
    pen: Pen

    def spent(self) -> tuple[dict[int, float], dict[int, float]]:
        """Processor time of the server and of the database so far."""
        return processor_seconds(self.server.pids), processor_seconds(children(self.database.postgres_pid))


async def measure_sockets(database: EmbeddedServers, world: World, cores: Cores) -> Sockets:
    """On a server of its own, whose memory nothing else has used."""
    people = world.crowd[:SOCKETS]
    with Crowd(cores.others) as crowd, Pen(cores.others) as pen:
        with serving("bench.bare_sockets", core=cores.server) as bare:
            broadcast = _broadcast(bare, crowd, people)
        with serving("app.serve", "--fd", core=cores.server) as server, Load(cores.others) as load:
            stage = Stage(database, world, people, server, crowd, pen)
            opened_per_second, idle_kb = _open(stage)
            _fan_out(stage, _WARM)  # statements and caches come to rest before anything counts
            fan_out = _fan_out(stage, _BURST)
            groups = [random.sample(people, _GROUP) for _ in range(_GROUPS)]
            busy = _deliver(stage, groups, _PER_SECOND / _GROUP)
            calm = _deliver(stage, [[person] for person in random.choices(people, k=_EACH)], _CALM_PER_SECOND)
            back_seconds = crowd.come_back()
            crowd.leave()
            accepting = await _accept(stage, load)
    return Sockets(opened_per_second, idle_kb, fan_out, broadcast, busy, calm, accepting, back_seconds)


def _broadcast(bare: Server, crowd: Crowd, people: Sequence[Person]) -> FanOut:
    """The same burst from memory."""
    crowd.join(bare.port, [token(person, "customer") for person in people])
    before, begun = processor_seconds(bare.pids), time.time()
    taking = crowd.take(_BURST * len(people), _PATIENCE_SECONDS)
    line = HTTPConnection("127.0.0.1", bare.port)
    line.request("GET", f"/{_BURST}")
    deliveries = taking.result()
    spent = used_since(before)
    crowd.leave()
    return FanOut(
        len(deliveries) / (max(delivery.at for delivery in deliveries) - begun), spent / len(deliveries) * 1e6
    )


def _open(stage: Stage) -> tuple[float, float | None]:
    """Sockets opened in a second, and the memory that each takes."""
    tokens = [token(person, "customer") for person in stage.people]
    stage.crowd.join(stage.server.port, tokens[:_FIRST])
    before = stage.server.resident_mb
    seconds = stage.crowd.join(stage.server.port, tokens[_FIRST:])
    after, count = stage.server.resident_mb, len(tokens) - _FIRST
    return count / seconds, (after - before) * 1000 / count if before and after else None


def _fan_out(stage: Stage, events: int) -> FanOut:
    server, database = stage.spent()
    taking = stage.crowd.take(events * len(stage.people), _PATIENCE_SECONDS)
    begun = time.time()
    everybody = [person.id for person in stage.people]
    stage.pen.write([everybody] * events, 1_000).result()
    deliveries = taking.result()
    seconds = max(delivery.at for delivery in deliveries) - begun
    each = 1e6 / len(deliveries)
    return FanOut(len(deliveries) / seconds, used_since(server) * each, used_since(database) * each)


def _deliver(stage: Stage, groups: Sequence[Sequence[Person]], per_second: float) -> Latency:
    """Numbered events to these, at this pace."""
    expected = sum(len(group) for group in groups)
    taking = stage.crowd.take(expected, len(groups) / per_second + _PATIENCE_SECONDS)
    begun = time.time()
    committed = stage.pen.write([[person.id for person in group] for group in groups], per_second).result()
    return _latency(expected, begun, [(each.at - committed[each.number], each.at) for each in taking.result()])


async def _accept(stage: Stage, load: Load) -> Latency:
    """Sockets of those whose leads are completed; the events are the product's own."""
    world = stage.world
    customers, providers = world.crowd[: _ACCEPTING // 2], world.distant[: _ACCEPTING // 2]
    stage.crowd.join(stage.server.port, [token(person, "customer") for person in (*customers, *providers)])
    requests = [COMPLETE.product(world, made) for made in await world.bought(customers, providers, _FRESH)]
    last = await world.connection.fetchval(_LAST)
    taking = stage.crowd.take(10**9, _ACCEPT_SECONDS + 2)
    begun = time.time()
    outcome = load.run(Job(stage.server.port, requests, CONNECTIONS, _ACCEPT_SECONDS, once=True))
    if outcome.failures:
        raise RuntimeError(f"sockets while accepting: {outcome.failures}")
    deliveries = taking.result()
    expected = await world.connection.fetchval(_TOLD, [person.id for person in (*customers, *providers)], last)
    return _latency(expected, begun, [(each.at - _begun(each), each.at) for each in deliveries])


def _begun(delivery: Delivery) -> float:
    return datetime.fromisoformat(from_json(delivery.text)["timestamp"]).timestamp()


def _latency(expected: int, begun: float, arrivals: Sequence[tuple[float, float]]) -> Latency:
    """Of arrivals with their delays, in seconds, and times."""
    delays = [delay for delay, _ in arrivals]
    seconds = max((at for _, at in arrivals), default=begun) - begun
    p50, p99 = (percentile(delays, percent) * 1000 for percent in (50, 99))
    return Latency(expected, len(arrivals), len(arrivals) / max(seconds, 1e-9), p50, p99)

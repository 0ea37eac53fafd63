"""Growth: the same paths on a database with some thousand rows of history, and on a copy of it with millions.

`python -m bench growth` measures this alone, with as many rows as `LOCALBAZAAR_BENCH_ROWS` says. Both databases are on
one server and asked in turns, so that what disturbs a round disturbs both.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy.engine import make_url

from app.core.actor import Actor
from app.core.config import Settings, settings
from app.core.connections import connect
from app.core.database import ReadSession
from app.core.embedded import EmbeddedServers
from app.kernel import ledger
from app.kernel.ledger import AccountKind
from app.kernel.platform import open_platform
from app.models import metadata
from app.schemas.event_log import LogQuery
from app.services.event_log import log
from app.ws import position
from bench.compare import percentile
from bench.flows import APPROVE, COMPLETE, LIST, READ, Path, as_person, readable
from bench.load import Job, Load
from bench.processes import Cores, Server, children, processor_seconds, serving, used_since
from bench.stage import request
from bench.work import CURRENCY, Market
from bench.world import BUYERS, TOLD, Made, World, make_world

_DATABASE: Final = "grown"
_SMALL_HISTORY: Final = 250
_SMALL_OWN: Final = 25
_SMALL_TOLD: Final = 800
_SPREAD: Final = 0.2
_BATCH: Final = 10_000
_ROUNDS: Final = 6
_SECONDS: Final = 1.0
_CONNECTIONS: Final = 4
_FRESH: Final = 2_000
_CALLS: Final = 300

_ROWS: Final = "SELECT " + " + ".join(f"(SELECT count(*) FROM {name})" for name in metadata.tables)
_AUDIT: Final = """
INSERT INTO audit_trail (subject_type, subject_id, action, from_status, to_status, actor_id)
SELECT 'service_request', id, step.action, step.from_status, step.to_status, uuidv7()
FROM unnest($1::uuid[]) AS id,
     (VALUES ('create', NULL, 'PENDING'), ('approve', 'COMPLETED', 'APPROVED')) AS step (action, from_status, to_status)
"""
# Fees that were paid and given back, so that every balance is what its postings sum up to.
_PAID: Final = """
WITH made AS (
    INSERT INTO entries (id, kind, idempotency_key)
    SELECT uuidv7(), 'history', gen_random_uuid()::text FROM generate_series(1, $1::int)
    RETURNING id
), numbered AS (
    SELECT id, row_number() OVER () AS n FROM made
)
INSERT INTO postings (entry_id, account_id, currency, amount)
SELECT id, line.account_id, $4, (CASE WHEN n % 2 = 0 THEN 1 ELSE -1 END) * line.amount
FROM numbered, LATERAL (
    VALUES (($2::uuid[])[(n + 1) / 2 % cardinality($2::uuid[]) + 1], -100), ($3::uuid, 100)
) AS line (account_id, amount)
"""


def _get(name: str, path: str, *roles: str) -> Path:
    """What the providers look at, if a role says so, or else the customers."""

    async def of_customers(world: World, _: Market, __: int) -> Sequence[Made]:
        return await readable(world, _, __)

    async def of_providers(world: World, _: Market, __: int) -> Sequence[Made]:
        providers = world.providers
        return [made._replace(provider_id=providers[n % len(providers)].id) for n, made in enumerate(world.readable)]

    def ask(world: World, made: Made) -> bytes:
        user_id = made.provider_id if roles else made.customer_id
        return request("GET", f"/api/v1/{path}", bearer=as_person(world, user_id, *roles))

    return Path(name, of_providers if roles else of_customers, ask)


_LOOKS: Final = (
    READ,
    LIST,
    _get("open leads near me", "leads/open", "provider"),
    _get("leads bought", "leads", "provider"),
    _get("wallet statement", "wallet/entries", "provider"),
    _get("feed", "notifications"),
)
_WRITES: Final = (COMPLETE, APPROVE)
"""They come last: what they use up makes the small database a larger one."""


class Spent(NamedTuple):
    """Of one round: latencies in seconds, processor time of server and database for each request."""

    p50: float
    processor_seconds: float


@dataclass
class Grown:
    """One path, round by round, on the small database and on the large one."""

    path: str
    small: list[Spent] = field(default_factory=list)
    large: list[Spent] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Of processor time over all rounds; 1.3 means that with the large one it costs 30 % more."""
        return sum(each.processor_seconds for each in self.large) / sum(each.processor_seconds for each in self.small)

    @property
    def latency_ratios(self) -> list[float]:
        return [large.p50 / small.p50 for small, large in zip(self.small, self.large, strict=True)]

    @property
    def latency_ratio(self) -> float:
        return median(self.latency_ratios)


class Growth(NamedTuple):
    small_rows: int
    large_rows: int
    filling_seconds: float
    paths: Sequence[Grown]

    @property
    def failures(self) -> list[str]:
        return [f"growth, {p.path}: {count} × {what}" for p in self.paths for what, count in p.failures.items()]


class _Side(NamedTuple):
    """One of the two databases, with all that asks it."""

    configured: Settings
    world: World
    market: Market
    server: Server


async def measure_growth(database: EmbeddedServers, cores: Cores, rows: int) -> Growth:
    """In a world of its own, which is small, and in a copy of it that grows to so many rows."""
    small = settings()
    world = await make_world(small, _SMALL_HISTORY, _SMALL_OWN)
    market = Market(world)
    await market.services()
    async with _as_it_is(world.connection):  # nobody's pages are empty
        await _tell_and_pay(world, [person.id for person in world.customers], _SMALL_TOLD)
    await world.settle()
    large, copy = await _copied(small, world)
    world = replace(world, connection=await connect(small))
    begun = time.monotonic()
    await _fill(copy, rows)
    seconds = time.monotonic() - begun
    with ExitStack() as stack:
        sides = [
            _Side(
                configured,
                of,
                Market(of, await market.services()),
                stack.enter_context(
                    serving(
                        "app.serve", "--fd", core=cores.server, environment={"DATABASE_URL": configured.database_url}
                    )
                ),
            )
            for configured, of in ((small, world), (large, copy))
        ]
        load = stack.enter_context(Load(cores.others))
        counts = [await side.world.connection.fetchval(_ROWS) for side in sides]
        found = [await _ask(database, load, sides, path) for path in _LOOKS]
        found += [
            await _call(database, sides, "look of the hub", _look),
            await _call(database, sides, "page of the event log", _read_log),
        ]
        found += [await _ask(database, load, sides, path) for path in _WRITES]
        for side in sides:
            await side.world.connection.close()
        return Growth(counts[0], counts[1], seconds, found)


async def _copied(small: Settings, world: World) -> tuple[Settings, World]:
    """A copy of the world's database, which nobody may be connected to in the meantime."""
    url = make_url(small.database_url)
    await world.connection.close()
    elsewhere: Any = await connect(_at(small, "postgres"))
    await elsewhere.execute(f'CREATE DATABASE {_DATABASE} TEMPLATE "{url.database}"')
    await elsewhere.close()
    large = _at(small, _DATABASE)
    return large, replace(
        world, connection=await connect(large.model_copy(update={"database_statement_timeout_seconds": 3600}))
    )


def _at(configured: Settings, database: str) -> Settings:
    url = make_url(configured.database_url).set(database=database)
    return configured.model_copy(update={"database_url": url.render_as_string(hide_password=False)})


async def _fill(world: World, rows: int) -> None:
    """History of the crowd and of those who are measured, until there are so many rows."""
    connection = world.connection
    customers = [person.id for person in (*world.customers, *world.crowd)]
    providers = [person.id for person in (*world.providers, *world.distant)]
    there = before = await connection.fetchval(_ROWS)
    async with _as_it_is(connection):
        while there < rows:
            made = await world.add(customers, providers, _BATCH, "APPROVED", BUYERS, _SPREAD)
            await connection.execute(_AUDIT, [each.id for each in made])
            await _tell_and_pay(world, customers, _BATCH)
            if there == before:
                batch = await connection.fetchval(_ROWS) - before
            there += batch
    await world.settle()


async def _tell_and_pay(world: World, told: Sequence[UUID], count: int) -> None:
    """So many events to these in turn, and so many payments of the providers."""
    wallets = [ledger.wallet(person.id, CURRENCY).id for person in world.providers]
    clearing = ledger.platform(AccountKind.CLEARING, CURRENCY).id
    await world.connection.execute(TOLD, told, count, BUYERS)
    await world.connection.execute(_PAID, count, wallets, clearing, CURRENCY)


@asynccontextmanager
async def _as_it_is(connection: Any) -> AsyncIterator[None]:
    """Without triggers and foreign keys, which would look at each row of what is consistent by itself."""
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("SET synchronous_commit = off")
    try:
        yield
    finally:
        await connection.execute("RESET session_replication_role")
        await connection.execute("RESET synchronous_commit")


async def _ask(database: EmbeddedServers, load: Load, sides: Sequence[_Side], path: Path) -> Grown:
    """Few connections, so that latencies are those of the work and not of a queue."""
    found = Grown(path.name)
    for number in range(_ROUNDS + 1):
        for side in sorted(sides, key=sides.index, reverse=bool(number % 2)):
            subjects = await path.subjects(side.world, side.market, _FRESH)
            requests = [path.product(side.world, each) for each in subjects]
            before = processor_seconds([*side.server.pids, *children(database.postgres_pid)])
            outcome = load.run(Job(side.server.port, requests, _CONNECTIONS, _SECONDS, once=path.uses_up))
            for what, count in outcome.failures.items():
                found.failures[what] = found.failures.get(what, 0) + count
            if number:  # the first of each brings plans and caches to rest
                spent = Spent(percentile(outcome.latencies, 50), used_since(before) / max(1, outcome.done))
                (found.small if side is sides[0] else found.large).append(spent)
    return found


Call = Callable[[ReadSession, World], Awaitable[Any]]


async def _look(session: ReadSession, world: World) -> None:
    people = (*world.customers, *world.providers)
    started = await position.look(session, [(person.id, position.FROM_NOW_ON) for person in people])
    await position.look(session, [(person.id, step.position) for person, step in zip(people, started, strict=True)])


async def _read_log(session: ReadSession, world: World) -> None:
    actor = Actor(world.customers[0].id, frozenset())
    await log.page(session, actor, LogQuery(), everything=True)


async def _call(database: EmbeddedServers, sides: Sequence[_Side], name: str, call: Call) -> Grown:
    """What has no path of its own, in this process: processor time is the database's."""
    found = Grown(name)
    for number in range(_ROUNDS + 1):
        for side in sorted(sides, key=sides.index, reverse=bool(number % 2)):
            async with open_platform(side.configured) as platform, platform.database.read() as session:
                await call(session, side.world)
                before, latencies = processor_seconds(children(database.postgres_pid)), []
                for _ in range(_CALLS):
                    begun = time.perf_counter()
                    await call(session, side.world)
                    latencies.append(time.perf_counter() - begun)
                spent = Spent(percentile(latencies, 50), used_since(before) / _CALLS)
            if number:
                (found.small if side is sides[0] else found.large).append(spent)
    return found

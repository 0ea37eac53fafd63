"""A town large enough that plans and indexes are those of a busy day. People and history come by SQL, in bulk."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple
from uuid import UUID

from app.core.actor import Actor
from app.core.config import Settings
from app.core.connections import connect
from app.kernel.platform import Platform, open_platform
from app.models.users import Role
from app.schemas.base import Position
from app.schemas.regions import CreateRegion
from app.schemas.users import Register
from app.schemas.wallets import TopUp
from app.services.catalogue import administration as catalogue
from app.services.regions import administration as regions
from app.services.users import accounts
from app.services.wallets import wallets

HERE: Final = Position(latitude=18.5074, longitude=73.8077)
ANSWERS: Final = {"problem": "leak", "water_running": True}
BUYERS: Final = 3
_FUNDS_MINOR: Final = 1_000_000_00

CUSTOMERS: Final = 32
"""Customers who read: one for each connection."""
BUYING: Final = 32
"""Providers who buy and complete: one for each connection."""
_WIDE: Final = 0.2
"""Degrees to every side of `HERE` over which people and requests are spread: some two thousand square kilometres."""
_NEAR: Final = 0.02
_OWN: Final = 100
_OTHER_CUSTOMERS: Final = 2_000
_OTHER_PROVIDERS: Final = 1_000
_HISTORY: Final = 20_000

_PEOPLE: Final = """
WITH people AS (
    INSERT INTO users (id, name, email, phone, password_hash, requested_role, status)
    SELECT uuidv7(), 'Person ' || n, 'person-' || n || '@bench.localbazaar.in', '+9198' || lpad(n::text, 8, '0'),
           'nobody signs in', 'customer', 'ACTIVE'
    FROM generate_series(1, $1) n
    RETURNING id
), roles AS (
    INSERT INTO user_roles (user_id, role) SELECT id, 'customer' FROM people
)
INSERT INTO sessions (id, user_id, device, address) SELECT uuidv7(), id, 'bench', 'bench' FROM people
RETURNING id AS session_id, user_id
"""
# The first ones live next door to each other, the others all over the region.
_PROVIDERS: Final = """
WITH hats AS (
    INSERT INTO providers (id, region_id, business_name, bio, latitude, longitude, service_radius_metres, status,
                           approved_at)
    SELECT id, $2, 'Business ' || n, 'We mend pipes.', $4 + spread.y, $5 + spread.x, 5000, 'approved', now()
    FROM unnest($1::uuid[]) WITH ORDINALITY AS person (id, n),
         LATERAL (SELECT CASE WHEN n <= $6 THEN 0 ELSE ((n * 37) % 200 - 100) / 100.0 * $7::float8 END AS y,
                         CASE WHEN n <= $6 THEN 0 ELSE ((n * 91) % 200 - 100) / 100.0 * $7::float8 END AS x) AS spread
    RETURNING id
), roles AS (
    INSERT INTO user_roles (user_id, role) SELECT id, 'provider' FROM hats
)
INSERT INTO provider_services (provider_id, service_id) SELECT id, $3 FROM hats
"""
_REQUESTS: Final = """
WITH wanted AS MATERIALIZED (
    SELECT n, uuidv7() AS id, uuidv7() AS proof_id, ($2::uuid[])[n % cardinality($2::uuid[]) + 1] AS customer_id,
           ARRAY(SELECT ($3::uuid[])[(n + k) % cardinality($3::uuid[]) + 1] FROM generate_series(0, $4::int - 1) k)
               AS buyers
    FROM generate_series(1, $1::int) n
), requests AS (
    INSERT INTO service_requests (id, customer_id, service_id, region_id, status, description, answers, photo_ids,
                                  address, latitude, longitude, budget_minor, currency, fee_minor, lead_cap,
                                  buyers_count, completed_by, proof_id, assigned_provider_id)
    SELECT id, customer_id, $5, $6, $7::text, 'The tap in the kitchen drips.',
           '{"problem": "leak", "water_running": true}', '{}', '12 Karve Road, second floor',
           $8 + ((n * 37) % 200 - 100) / 100.0 * $10::float8, $9 + ((n * 91) % 200 - 100) / 100.0 * $10::float8,
           50000, 'INR', 5000, 5, cardinality(buyers),
           CASE WHEN $7 IN ('COMPLETED', 'APPROVED') THEN buyers[1] END,
           CASE WHEN $7 IN ('COMPLETED', 'APPROVED') THEN proof_id END,
           CASE WHEN $7 = 'APPROVED' THEN buyers[1] END
    FROM wanted
), leads AS (
    INSERT INTO lead_purchases (id, service_request_id, provider_id, region_id, status, fee_minor, currency)
    SELECT uuidv7(), id, buyer, $6, 'PAID', 5000, 'INR' FROM wanted, unnest(buyers) AS buyer
), clock AS (
    INSERT INTO deadlines (subject_id, kind, subject_type, due_at)
    SELECT id, 'expire', 'service_request', now() + interval '30 days' FROM wanted WHERE $7 IN ('PENDING', 'PURCHASED')
), proofs AS (
    INSERT INTO files (id, owner_id, purpose, content_type, size_bytes, sha256, subject_type, subject_id)
    SELECT proof_id, buyers[1], 'proof', 'image/jpeg', 1000, ''::bytea,
           CASE WHEN $7 <> 'PURCHASED' THEN 'service_request' END, CASE WHEN $7 <> 'PURCHASED' THEN id END
    FROM wanted WHERE buyers <> '{}'
)
SELECT id, customer_id, buyers[1] AS provider_id, proof_id FROM wanted ORDER BY n
"""
# Told to some of these people in turn, as if long ago: the feeds of a town are full.
TOLD: Final = """
WITH told AS (
    INSERT INTO events (id, name, subject_type, subject_id, payload)
    SELECT uuidv7(), 'service_request.sent_back', 'service_request', uuidv7(),
           jsonb_build_object('service_request_id', uuidv7(), 'reason', 'It drips.', 'status', 'IN_PROGRESS')
    FROM generate_series(1, $2::int)
    RETURNING id, seq
)
INSERT INTO notifications (user_id, event_id, seq)
SELECT ($1::uuid[])[(seq * 7 + k * 13) % cardinality($1::uuid[]) + 1], id, seq FROM told, generate_series(1, $3::int) k
"""


class Person(NamedTuple):
    id: UUID
    session_id: UUID


class Made(NamedTuple):
    """A service request, its customer, and the buyer who holds a proof for it, if it has buyers."""

    id: UUID
    customer_id: UUID
    provider_id: UUID | None
    proof_id: UUID


@dataclass(frozen=True)
class World:
    connection: Any
    """asyncpg's, outside of any pool."""
    region_id: UUID
    service_id: UUID
    customers: Sequence[Person]
    providers: Sequence[Person]
    """Close to each other, with money."""
    crowd: Sequence[Person]
    """Customers all over the region."""
    distant: Sequence[Person]
    """Providers all over the region."""
    readable: Sequence[Made]
    """Requests of `customers`, many of each."""

    def person(self, user_id: UUID) -> Person:
        """One of all these people."""
        return self._people[user_id]

    @cached_property
    def _people(self) -> dict[UUID, Person]:
        return {person.id: person for person in (*self.customers, *self.providers, *self.crowd, *self.distant)}

    async def requests(
        self, count: int, *, status: str = "PURCHASED", buyers: int = BUYERS, near: bool = False
    ) -> list[Made]:
        """So many fresh requests of the customers, in turn, bought by the providers, in turn.

        With `near`, all of them are where each of the providers may buy them.
        """
        customers, providers = [p.id for p in self.customers], [p.id for p in self.providers]
        return await self.add(customers, providers, count, status, buyers, _NEAR if near else _WIDE)

    async def bought(self, customers: Sequence[Person], providers: Sequence[Person], count: int) -> list[Made]:
        """So many fresh requests of these customers, in turn, bought by these providers, in turn."""
        theirs, buyers = ([person.id for person in people] for people in (customers, providers))
        return await self.add(theirs, buyers, count, "PURCHASED", BUYERS, _WIDE)

    async def add(
        self, customers: list[UUID], providers: list[UUID], count: int, status: str, buyers: int, spread: float
    ) -> list[Made]:
        """As `requests`, of these people, spread over so many degrees to every side."""
        place = (HERE.latitude, HERE.longitude, spread)
        rows = await self.connection.fetch(
            _REQUESTS, count, customers, providers, buyers, self.service_id, self.region_id, status, *place
        )
        return [Made(**row) for row in rows]

    async def settle(self) -> None:
        """As `tidy_up`, and nothing left to be written for what was made."""
        await self.tidy_up()
        await self.connection.execute("CHECKPOINT")

    async def tidy_up(self) -> None:
        """Statistics for the planner, and nothing for autovacuum to do after what was made in bulk."""
        await self.connection.execute("VACUUM ANALYZE")


async def make_world(settings: Settings, history: int = _HISTORY, own: int = _OWN) -> World:
    """The region, its people and their history, in a migrated database that is otherwise empty.

    `history` counts the requests of the crowd, `own` those of each of the customers.
    """
    connection: Any = await connect(settings)
    async with open_platform(settings) as platform:
        region_id = await _region(platform)
        service_id = await connection.fetchval("SELECT id FROM services WHERE slug = 'plumbing'")
        people = [
            Person(row["user_id"], row["session_id"])
            for row in await connection.fetch(_PEOPLE, CUSTOMERS + BUYING + _OTHER_CUSTOMERS + _OTHER_PROVIDERS)
        ]
        customers, people = people[:CUSTOMERS], people[CUSTOMERS:]
        others, providers = people[:_OTHER_CUSTOMERS], people[_OTHER_CUSTOMERS:]
        ids = [provider.id for provider in providers]
        where = (HERE.latitude, HERE.longitude)
        await connection.execute(_PROVIDERS, ids, region_id, service_id, *where, BUYING, _WIDE)
        town = (connection, region_id, service_id, customers, providers[:BUYING], others, providers[BUYING:])
        world = World(*town, [])
        await _pay_in(platform, world)
    crowd = [person.id for person in others]
    for status, share in (("PENDING", 0.1), ("PURCHASED", 0.1), ("COMPLETED", 0.1), ("APPROVED", 0.7)):
        buyers = 0 if status == "PENDING" else BUYERS
        await world.add(crowd, ids[BUYING:], int(history * share), status, buyers, _WIDE)
    await connection.execute(TOLD, crowd, history, BUYERS)
    readable = await world.requests(CUSTOMERS * own, status="APPROVED")
    await world.settle()
    return World(*town, readable)


async def _region(platform: Platform) -> UUID:
    async with platform.database.write() as session:
        await catalogue.fill(session)
        wanted = CreateRegion(code="pune-bench", name="Pune", zipcodes=["411038"], centre=HERE)
        return (await regions.create(session, wanted)).id


async def _pay_in(platform: Platform, world: World) -> None:
    who = Register(name="Admin", email="admin@bench.localbazaar.in", phone="+919999999999", password="nobody signs in")
    async with platform.database.write() as session:
        admin = Actor(await accounts.create_verified(session, who, "nobody signs in"), frozenset({Role.ADMIN}))
        for person in (*world.customers, *world.providers):
            await wallets.top_up(session, admin, person.id, TopUp(amount_minor=_FUNDS_MINOR, reason="for the bench"))

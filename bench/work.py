"""Subjects of flows beside leads: work orders whose evidence waits, services on sale, conversations; by SQL."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from app.kernel import ledger
from app.kernel.ledger import AccountKind
from bench.world import World

PRICE_MINOR: Final = 100
CURRENCY: Final = "INR"
_COMMISSION_BASIS_POINTS: Final = 1_000
_TALKS: Final = 640

_SERVICES: Final = """
WITH sellers AS (
    INSERT INTO user_roles (user_id, role) SELECT id, 'advertiser' FROM unnest($1::uuid[]) AS id
)
INSERT INTO advertised_services (id, advertiser_id, status, title, description, price_minor, currency)
SELECT uuidv7(), id, 'ACTIVE', 'A dungeon run', 'In time, or your money back.', $2, $3 FROM unnest($1::uuid[]) AS id
RETURNING id, advertiser_id
"""
_ORDERS: Final = """
WITH wanted AS MATERIALIZED (
    SELECT uuidv7() AS id, ($2::uuid[])[n % cardinality($2::uuid[]) + 1] AS service_id,
           ($3::uuid[])[n % cardinality($3::uuid[]) + 1] AS advertiser_id,
           ($4::uuid[])[n % cardinality($4::uuid[]) + 1] AS buyer_id,
           ($5::uuid[])[n % cardinality($5::uuid[]) + 1] AS booster_id
    FROM generate_series(1, $1::int) n
), orders AS (
    INSERT INTO work_orders (id, advertised_service_id, buyer_id, status, advertiser_id, title, price_minor, currency,
                             commission_basis_points, commission_minor, booster_id, rounds_count, assigned_at,
                             started_at, submitted_at)
    SELECT id, service_id, buyer_id, $9::text, advertiser_id, 'A dungeon run', $6::bigint, $7, $8::int,
           $6::bigint * $8::int / 10000, CASE WHEN $9 <> 'PENDING' THEN booster_id END, ($9 <> 'PENDING')::int,
           done_at, done_at, done_at
    FROM wanted, (SELECT CASE WHEN $9 <> 'PENDING' THEN now() END AS done_at) AS work
), rounds AS (
    INSERT INTO evidence_rounds (subject_id, number, subject_type, submitted_by, image_ids, notes)
    SELECT id, 1, 'work_order', booster_id, ARRAY[uuidv7()], 'Done in time.' FROM wanted
    WHERE $9 <> 'PENDING'
)
SELECT id, buyer_id, advertiser_id, booster_id FROM wanted
"""
_HOLD: Final = """
WITH held AS MATERIALIZED (
    SELECT uuidv7() AS entry_id, * FROM unnest($1::uuid[], $2::uuid[]) AS held (order_id, account_id)
), opened AS (
    INSERT INTO accounts (id, owner_id, kind, currency, balance)
    SELECT account_id, order_id, 'escrow', $5, 0 FROM held
), made AS (
    INSERT INTO entries (id, kind, subject_type, subject_id, idempotency_key)
    SELECT entry_id, 'hold', 'work_order', order_id, 'hold:' || order_id FROM held
)
INSERT INTO postings (entry_id, account_id, currency, amount)
SELECT entry_id, line.account_id, $5, line.amount
FROM held, LATERAL (VALUES (held.account_id, $4::bigint), ($3::uuid, -$4::bigint)) AS line (account_id, amount)
"""
_CONVERSATIONS: Final = """
INSERT INTO conversations (id, subject_type, subject_id, counterpart_id, region_id)
SELECT uuidv7(), 'service_request', request_id, provider_id, $3
FROM unnest($1::uuid[], $2::uuid[]) AS talk (request_id, provider_id)
RETURNING id, subject_id
"""


class Order(NamedTuple):
    """A work order, its price held, and who does the work or is to be asked."""

    id: UUID
    buyer_id: UUID
    advertiser_id: UUID
    booster_id: UUID


class Offer(NamedTuple):
    """A service on sale, and who buys it."""

    service_id: UUID
    buyer_id: UUID


class Talk(NamedTuple):
    """A conversation, and who writes in it."""

    id: UUID
    sender_id: UUID


class Market:
    """What a world sells and talks about; made when it is first asked for."""

    def __init__(self, world: World, services: Mapping[UUID, UUID] | None = None) -> None:
        self._world = world
        self._services = dict(services or {})
        self._talks: list[Talk] = []

    async def services(self) -> dict[UUID, UUID]:
        """A service of each of the providers, who are advertisers too, by its id."""
        if not self._services:
            sellers = [person.id for person in self._world.providers]
            rows = await self._world.connection.fetch(_SERVICES, sellers, PRICE_MINOR, CURRENCY)
            self._services = {row["id"]: row["advertiser_id"] for row in rows}
        return self._services

    async def orders(self, count: int, status: str = "EVIDENCE_SUBMITTED") -> list[Order]:
        """So many orders of the customers from the advertisers in turn, done by people all over the region.

        Their evidence waits for a verdict; or, if they are `PENDING`, nobody is assigned yet.
        """
        services, connection = await self.services(), self._world.connection
        buyers, boosters = ([person.id for person in people] for people in (self._world.customers, self._world.crowd))
        frozen = (PRICE_MINOR, CURRENCY, _COMMISSION_BASIS_POINTS)
        rows = await connection.fetch(
            _ORDERS, count, list(services), list(services.values()), buyers, boosters, *frozen, status
        )
        orders = [Order(**row) for row in rows]
        escrows = [ledger.escrow(order.id, CURRENCY).id for order in orders]
        clearing = ledger.platform(AccountKind.CLEARING, CURRENCY).id
        await connection.execute(_HOLD, [order.id for order in orders], escrows, clearing, PRICE_MINOR, CURRENCY)
        return orders

    async def offers(self, count: int) -> list[Offer]:
        """So many purchases to be made, by the customers in turn."""
        services, customers = list(await self.services()), self._world.customers
        return [Offer(services[n % len(services)], customers[n % len(customers)].id) for n in range(count)]

    async def talks(self) -> Sequence[Talk]:
        """Conversations of the customers with those who did their work."""
        if not self._talks:
            about = self._world.readable[:_TALKS]
            customers = {made.id: made.customer_id for made in about}
            ids = ([made.id for made in about], [made.provider_id for made in about])
            rows = await self._world.connection.fetch(_CONVERSATIONS, *ids, self._world.region_id)
            self._talks = [Talk(row["id"], customers[row["subject_id"]]) for row in rows]
        return self._talks

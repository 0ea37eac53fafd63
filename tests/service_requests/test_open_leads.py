"""Open leads near a provider: all that match and no others, found without looking at the rest of them."""

import random
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import select

from app.core.actor import Actor
from app.core.database import Session, Statement
from app.core.pagination import NEWEST
from app.kernel.lifecycle import ACTOR
from app.models.providers import providers
from app.models.service_requests import service_requests
from app.models.users import Role
from app.schemas.service_requests import PageOnly
from app.services.service_requests import access, queries
from tests.support.world import HERE, Person, World

# As it is said: what is open, has room, matches, and is not bought.
_DEFINITION: Final = Statement(
    select(service_requests.c.id)
    .join(providers, providers.c.id == ACTOR)
    .where(
        access.is_open,
        service_requests.c.buyers_count < service_requests.c.lead_cap,
        access.matches(service_requests.c),
        ~access.has_purchased,
    )
    .order_by(service_requests.c.id.desc())
)
# Many are of the same millisecond, and of some the identifier is the only thing that is new.
_SCATTERED: Final = """
INSERT INTO service_requests (id, customer_id, service_id, region_id, status, description, answers, photo_ids, address,
                              latitude, longitude, currency, fee_minor, lead_cap, buyers_count)
SELECT (lpad(to_hex(1767225600000 + n % 40), 12, '0') || '7000a000' || left(md5(n || $8::float8::text), 12))::uuid,
       ($1::uuid[])[1 + n % 7 % 2], ($2::uuid[])[1 + n % 3], $3, ($4::text[])[1 + n % 4], 'x', '{}', '{}', 'x',
       $5 + sin(n * 12.9898 + $8::float8) * 0.06, $6 + cos(n * 78.233 + $8::float8) * 0.06, 'INR', 5000, 5, n / 4 % 6
FROM generate_series(1, $7::int) n
"""
_BOUGHT: Final = """
INSERT INTO lead_purchases (id, service_request_id, provider_id, region_id, status, fee_minor, currency)
SELECT gen_random_uuid(), id, $1, region_id, 'PAID', 5000, 'INR' FROM service_requests WHERE right(id::text, 1) = 'a'
"""


async def _walked(session: Session, provider: Person, limit: int) -> list[UUID]:
    """The list from its beginning to its end, page by page."""
    found: list[UUID] = []
    cursor: str | None = None
    while True:
        page = await queries.open_near(
            session, Actor(provider.id, frozenset({Role.PROVIDER})), PageOnly(limit=limit, cursor=cursor)
        )
        found += [lead.id for lead in page.items]
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


@pytest.mark.parametrize("seed", range(3))
async def test_the_pages_are_what_the_definition_says(world: World, seed: int) -> None:
    # Given requests of three services, open and not, with room and without, near and far, and some bought
    offers = ["plumbing", "painting", "catering"]
    draw = random.Random(seed)
    looking = [
        await world.provider(radius=draw.randint(3000, 9000), offers=offers[: draw.randint(1, 3)]) for _ in range(3)
    ]
    customer = await world.person()
    async with world.platform.database.write() as session:
        await session.first(_DEFINITION, actor_id=customer.id)
        connection = session.driver_connection
        try:
            for provider in looking:
                await connection.execute(
                    _SCATTERED, [customer.id, provider.id], [world.services[slug] for slug in offers], world.region_id,
                    ["PENDING", "PURCHASED", "IN_PROGRESS", "CANCELLED"], HERE.latitude, HERE.longitude, 200,
                    draw.random(),
                )  # fmt: skip
                await connection.execute(_BOUGHT, provider.id)
            # When each of the providers walks through the list
            for provider in looking:
                said = [row["id"] for row in await session.all(_DEFINITION, actor_id=provider.id)]
                # Then it is that of the definition, in its order
                assert said
                assert await _walked(session, provider, draw.choice((2, 7, 20, 100))) == said
        finally:
            await connection.execute("ROLLBACK")


async def _plan(connection: Any, provider: Person) -> str:
    values = {"actor_id": provider.id, "before": NEWEST, "rows": 21}
    await connection.execute(f"PREPARE looked_at AS {queries._OPEN.sql}")
    arguments: Sequence[Any] = queries._OPEN.arguments(values)
    literals = ", ".join(str(value) if isinstance(value, int) else f"'{value}'" for value in arguments)
    try:
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE looked_at({literals})"))
    finally:
        await connection.execute("DEALLOCATE looked_at")


async def test_the_index_hands_them_out_in_order_however_many_there_are(world: World) -> None:
    provider = await world.provider()
    await world.request(await world.person())
    async with world.platform.database.write() as session:
        await session.first(_DEFINITION, actor_id=provider.id)
        connection = session.driver_connection
        try:
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            plans = [await _plan(connection, provider)]
            await connection.execute(
                """INSERT INTO service_requests (id, customer_id, service_id, region_id, status, description, answers,
                       photo_ids, address, latitude, longitude, currency, fee_minor, lead_cap)
                   SELECT gen_random_uuid(), customer_id, service_id, region_id, 'PENDING', 'x', '{}', '{}', 'x',
                       18 + random(), 73 + random(), 'INR', 5000, 5
                   FROM (SELECT * FROM service_requests LIMIT 1) AS model, generate_series(1, 20000)"""
            )
            await connection.execute("ANALYZE service_requests")
            plans.append(await _plan(connection, provider))
        finally:
            await connection.execute("ROLLBACK")
    for plan in plans:
        assert "service_requests_for_sale_index" in plan, plan
        assert "Order By" in plan, plan
        assert "Scan on service_requests" not in plan, plan

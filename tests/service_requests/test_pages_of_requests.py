"""Pages of requests are what their lists are defined to hold, and the index that makes them fast is used."""

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import select

from app.core.actor import Actor
from app.core.database import Statement
from app.core.pagination import NEWEST
from app.kernel.lifecycle import ACTOR
from app.models.providers import providers
from app.models.service_requests import ServiceRequestStatus as Status
from app.models.service_requests import service_requests
from app.models.users import Role
from app.schemas.base import Page
from app.schemas.regions import CreateRegion
from app.schemas.service_requests import AllRequests, PageOnly
from app.services.regions import administration as regions
from app.services.service_requests import access, queries
from tests.support.world import FAR_AWAY, HERE, Person, World

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
# Many are of the same millisecond; by the database's clock they were made up to 20 hours before or after it.
_SCATTERED: Final = """
INSERT INTO service_requests (id, customer_id, service_id, region_id, status, description, answers, photo_ids, address,
                              latitude, longitude, currency, fee_minor, lead_cap, buyers_count, created_at)
SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + n % 40), 12, '0') || '7000a000'
           || left(md5(n || $8::float8::text), 12))::uuid,
       ($1::uuid[])[1 + n % 7 % 2], ($2::uuid[])[1 + n % 3], $3, ($4::text[])[1 + n % 4], 'x', '{}', '{}', 'x',
       $5 + sin(n * 12.9898 + $8::float8) * 0.06, $6 + cos(n * 78.233 + $8::float8) * 0.06, 'INR', 5000, 5, n / 4 % 6,
       now() + (n % 41 - 20) * interval '1 hour'
FROM generate_series(1, $7::int) n
"""
_BOUGHT: Final = """
INSERT INTO lead_purchases (id, service_request_id, provider_id, region_id, status, fee_minor, currency)
SELECT gen_random_uuid(), id, $1, region_id, 'PAID', 5000, 'INR' FROM service_requests WHERE right(id::text, 1) = 'a'
"""


_OFFERS: Final = ("plumbing", "painting", "catering")
_STATUSES: Final = ("PENDING", "PURCHASED", "IN_PROGRESS", "CANCELLED")


async def _scatter(connection: Any, world: World, customers: Sequence[Person], region_id: UUID, mark: float) -> None:
    await connection.execute(
        _SCATTERED, [customer.id for customer in customers], [world.services[slug] for slug in _OFFERS], region_id,
        _STATUSES, HERE.latitude, HERE.longitude, 200, mark,
    )  # fmt: skip


async def _walked(read: Callable[[Any], Awaitable[Page[Any]]], wanted: Callable[..., Any], **asked: Any) -> list[UUID]:
    """The list from its beginning to its end, page by page."""
    found: list[UUID] = []
    cursor: str | None = None
    while True:
        page = await read(wanted(cursor=cursor, **asked))
        found += [item.id for item in page.items]
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


@pytest.mark.parametrize("seed", range(3))
async def test_open_leads_are_what_the_definition_says(world: World, seed: int) -> None:
    # Given requests of three services, open and not, with room and without, near and far, and some bought
    draw = random.Random(seed)
    looking = [
        await world.provider(radius=draw.randint(3000, 9000), offers=_OFFERS[: draw.randint(1, 3)]) for _ in range(3)
    ]
    customer = await world.person()
    async with world.platform.database.write() as session:
        await session.first(_DEFINITION, actor_id=customer.id)
        connection = session.driver_connection
        try:
            for provider in looking:
                await _scatter(connection, world, [customer, provider], world.region_id, draw.random())
                await connection.execute(_BOUGHT, provider.id)
            # When each of the providers walks through the list
            for provider in looking:
                read = partial(queries.open_near, session, Actor(provider.id, frozenset({Role.PROVIDER})))
                found = await _walked(read, PageOnly, limit=draw.choice((2, 7, 20, 100)))
                # Then it is that of the definition, in its order
                said = [row["id"] for row in await session.all(_DEFINITION, actor_id=provider.id)]
                assert said
                assert found == said
        finally:
            await connection.execute("ROLLBACK")


_EARLY, _LATE = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _left(rows: Sequence[Any], managed: Collection[UUID], filters: Mapping[str, Any]) -> list[UUID]:
    """Those of the rows that the filters leave somebody who manages these regions, the newest first."""
    return sorted(
        (
            row["id"]
            for row in rows
            if row["region_id"] in managed
            and all(row[name] == filters[name] for name in ("status", "region_id") if name in filters)
            and filters.get("created_after", _EARLY) < row["created_at"] < filters.get("created_before", _LATE)
        ),
        reverse=True,
    )


async def test_the_staffs_list_is_what_its_filters_leave(world: World) -> None:
    # Given a manager of two regions, one of none, an admin, and requests in three regions
    manager, idle, customer = [await world.person(*roles) for roles in ([Role.MANAGER], [Role.MANAGER], [])]
    async with world.platform.database.write() as session:
        wanted = [CreateRegion(code=f"staff-{n}", name="Ours", zipcodes=["411038"], centre=FAR_AWAY) for n in range(2)]
        ours = [(await regions.create(session, each)).id for each in wanted]
        connection = session.driver_connection
        try:
            for number, region_id in enumerate((*ours, world.region_id)):
                await _scatter(connection, world, [customer, customer], region_id, number / 7)
            for region_id in ours:
                await regions.appoint_manager(session, region_id, manager.id)
            rows = await connection.fetch("SELECT id, status, region_id, created_at, now() FROM service_requests")
            now, everywhere = rows[0]["now"], {row["region_id"] for row in rows}
            early, late = now - timedelta(hours=15), now + timedelta(hours=5)
            some_filters: Sequence[dict[str, Any]] = (
                {},
                {"status": Status.PENDING},
                {"region_id": ours[0]},
                {"created_before": early},
                {"created_after": late},
                {"created_before": _LATE},
                {"created_after": _EARLY},
                {"created_after": early, "created_before": late, "status": Status.CANCELLED},
                {"created_after": late, "region_id": world.region_id},
                {"created_before": now, "region_id": ours[1], "status": Status.IN_PROGRESS},
            )
            people = ((manager, Role.MANAGER, ours), (idle, Role.MANAGER, ()), (world.admin, Role.ADMIN, everywhere))
            for (person, role, managed), filters in product(people, some_filters):
                # When they walk through the list
                read = partial(queries.everybodys, session, Actor(person.id, frozenset({role})))
                found = await _walked(read, AllRequests, limit=90, **filters)
                # Then it holds what the filters leave them
                assert found == _left(rows, managed, filters), (role, filters)
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

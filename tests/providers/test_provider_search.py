"""Finding providers: who reaches a position, best rated and nearest first, by an index however many there are."""

import itertools
import json
from collections.abc import AsyncIterator
from math import asin, cos, radians, sin, sqrt
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import literal_column, select

from app.core.database import Statement
from app.schemas.base import Position
from app.services.providers import queries
from tests.providers.steps import SEARCH, decide, found, is_found, new_region, somewhere
from tests.support.world import Person, World

CROWD = 20_000
DELHI = Position(latitude=28.6139, longitude=77.2090)
EARTH_METRES = 6_371_009  # the mean radius


def metres(a: Position, b: Position) -> float:
    """How far two positions are from each other, by the haversine formula rather than by PostgreSQL."""
    north, east = radians(b.latitude - a.latitude) / 2, radians(b.longitude - a.longitude) / 2
    chord = sin(north) ** 2 + cos(radians(a.latitude)) * cos(radians(b.latitude)) * sin(east) ** 2
    return 2 * EARTH_METRES * asin(sqrt(chord))


async def rated(world: World, provider: Person, average: float) -> None:
    await world.execute(
        "UPDATE providers SET rating_average = :average, rating_count = 10 WHERE id = :id",
        average=average,
        id=provider.id,
    )


async def test_the_best_rated_come_first_and_of_equals_the_nearest(world: World) -> None:
    # Given four providers in a region of their own
    centre = (await new_region(world)).centre
    places = [Position(latitude=centre.latitude + north, longitude=centre.longitude) for north in (0.02, 0.01, 0.03, 0)]
    providers = [await world.provider(at=place, radius=10_000, funds_minor=0) for place in places]
    for provider, average in zip(providers, (4.5, 4.5, 5.0, 1.0), strict=True):
        await rated(world, provider, average)
    # When somebody searches from the middle
    results = await found(world, at=centre)
    # Then the order is that of rating and distance
    expected = [providers[index] for index in (2, 1, 0, 3)]
    assert [result["id"] for result in results] == [str(provider.id) for provider in expected]
    distances = [result["distance_metres"] for result in results]
    assert distances == [pytest.approx(metres(places[index], centre), abs=2) for index in (2, 1, 0, 3)]


async def test_the_providers_own_radius_decides_to_the_metre(world: World) -> None:
    # Given somebody a known way off, and two providers whose radius ends just before and just behind
    centre = (await new_region(world)).centre
    seeker = Position(latitude=centre.latitude, longitude=centre.longitude + 0.03)
    distance = round(metres(centre, seeker))
    too_short = await world.provider(at=centre, radius=distance - 2, funds_minor=0)
    far_enough = await world.provider(at=centre, radius=distance + 2, funds_minor=0)
    # Then only the second one is found
    assert [result["id"] for result in await found(world, at=seeker)] == [str(far_enough.id)]
    assert await is_found(world, too_short, at=centre)


async def test_the_corner_of_the_box_that_the_index_knows_is_not_reached(world: World) -> None:
    # Given somebody to the north-east, inside the box around a provider's circle and outside of the circle
    centre = (await new_region(world)).centre
    provider = await world.provider(at=centre, radius=10_000, funds_minor=0)
    corner = Position(latitude=centre.latitude + 0.08, longitude=centre.longitude + 0.08)
    assert metres(centre, corner) > 10_000
    assert not await is_found(world, provider, at=corner)


async def test_service_and_category_narrow_the_search(world: World) -> None:
    centre = (await new_region(world)).centre
    plumber = await world.provider(at=centre, offers=("plumbing",), funds_minor=0)
    teacher = await world.provider(at=centre, offers=("home-tutor",), funds_minor=0)
    categories = {service["slug"]: service["category"] for service in (await world.http.get("/api/v1/services")).json()}
    assert categories["plumbing"] != categories["home-tutor"]

    async def ids(**filters: str) -> set[str]:
        return {result["id"] for result in await found(world, at=centre, **filters)}

    assert await ids() == {str(plumber.id), str(teacher.id)}
    assert await ids(service="plumbing") == {str(plumber.id)}
    assert await ids(category=categories["home-tutor"]) == {str(teacher.id)}
    assert await ids(category=categories["plumbing"], service="home-tutor") == set()
    assert await ids(service="no-such-service") == set()


async def test_only_who_may_work_is_found(world: World) -> None:
    # Given a provider in each state, in a region of their own
    centre = (await new_region(world)).centre
    providers = {
        fate: await world.provider(at=centre, approved=False, funds_minor=0)
        for fate in ("pending", "approved", "rejected", "suspended", "banned")
    }
    for fate, actions in {
        "approved": ["approve"], "rejected": ["reject"], "suspended": ["approve", "suspend"],
        "banned": ["approve", "ban"],
    }.items():  # fmt: skip
        for action in actions:
            await decide(world.admin, providers[fate], action)
    # Then the approved one is found
    assert [result["id"] for result in await found(world, at=centre)] == [str(providers["approved"].id)]


@pytest.mark.parametrize("action", ["suspend", "ban"])
async def test_who_is_shut_out_of_the_account_is_not_found_either(world: World, action: str) -> None:
    # Given an approved provider whose account is then suspended or banned
    place = somewhere()
    provider = await world.provider(at=place, funds_minor=0)
    assert await is_found(world, provider, at=place)
    await world.admin.post(f"/api/v1/admin/users/{provider.id}/{action}", {"reason": "Fraud."})
    # Then customers do not find somebody who could never answer
    assert not await is_found(world, provider, at=place)


async def test_no_more_than_the_limit_are_listed(world: World) -> None:
    centre = (await new_region(world)).centre
    for _ in range(3):
        await world.provider(at=centre, funds_minor=0)
    assert len(await found(world, at=centre, limit=2)) == 2


async def test_nobody_reaches_the_middle_of_the_sea(world: World) -> None:
    assert await found(world, at=Position(latitude=0, longitude=-140)) == []


async def test_the_poles_and_the_date_line_are_positions_too(world: World) -> None:
    for latitude, longitude in itertools.product((-90, 0, 90), (-180, 0, 180)):
        assert await found(world, at=Position(latitude=latitude, longitude=longitude)) == []


@pytest.mark.parametrize(
    "params",
    [
        {}, {"latitude": 18.5}, {"latitude": 91, "longitude": 0}, {"latitude": 0, "longitude": -181},
        {"latitude": "nan", "longitude": 0}, {"latitude": "inf", "longitude": 0}, {"latitude": "x", "longitude": 0},
        {"latitude": 0, "longitude": 0, "limit": 0}, {"latitude": 0, "longitude": 0, "limit": 101},
        {"latitude": 0, "longitude": 0, "service": "s" * 65},
        {"latitude": 0, "longitude": 0, "category": "nul\x00"}, {"latitude": 0, "longitude": 0, "radius": 5},
    ],
    ids=str,
)  # fmt: skip
async def test_a_search_that_does_not_fit_is_a_422(http: httpx.AsyncClient, params: dict[str, Any]) -> None:
    assert (await http.get(SEARCH, params=params)).status_code == 422


_NOTHING = Statement(select(literal_column("1")))
"""Opens the transaction, and with it the driver's connection."""

# A town of its own, far from every other test: twenty thousand providers over some 200 by 200 kilometres.
_CROWD = (
    """
    INSERT INTO users (id, name, email, phone, password_hash, status)
    SELECT (lpad(to_hex(n), 8, '0') || '-c0de-7000-8000-000000000000')::uuid, 'Crowd',
           'crowd' || n || '@mail.localbazaar.in', '+9100' || n, 'none', 'ACTIVE'
    FROM generate_series(1, :many) AS n
    """,
    """
    INSERT INTO providers (id, region_id, business_name, bio, latitude, longitude, service_radius_metres, status,
                           approved_at, rating_average)
    SELECT (lpad(to_hex(n), 8, '0') || '-c0de-7000-8000-000000000000')::uuid, :region_id, 'Crowd', 'One of many.',
           :latitude + ((n * 7919) % 20011) / 20011.0 * 2 - 1, :longitude + ((n * 104729) % 20021) / 20021.0 * 2 - 1,
           1000 + n % 7 * 1500, 'approved', now(), (n % 11) * 0.5
    FROM generate_series(1, :many) AS n
    """,
    """
    INSERT INTO provider_services (provider_id, service_id)
    SELECT id, :service_id FROM providers WHERE id::text LIKE '%-c0de-7000-8000-000000000000'
    """,
)
# Nothing refers to this crowd, and the product deletes no user: each reference would be looked for without an index.
_GONE = (
    "SET LOCAL session_replication_role = replica",
    "DELETE FROM provider_services WHERE provider_id::text LIKE '%-c0de-7000-8000-000000000000'",
    "DELETE FROM providers WHERE id::text LIKE '%-c0de-7000-8000-000000000000'",
    "DELETE FROM users WHERE id::text LIKE '%-c0de-7000-8000-000000000000'",
)


@pytest.fixture(scope="module")
async def crowd(world: World) -> AsyncIterator[None]:
    values: dict[str, Any] = {
        "many": CROWD, "region_id": world.region_id, "service_id": world.services["plumbing"], **DELHI.model_dump(),
    }  # fmt: skip
    for sql in _CROWD:
        # The checks of foreign keys keep the plan of a table that was small; this makes them look anew.
        await run(world, "ANALYZE users, providers, provider_services")
        assert await world.execute(sql, **{name: value for name, value in values.items() if f":{name}" in sql}) == CROWD
    await run(world, "ANALYZE users, providers, provider_services")
    yield
    await world.define(";".join(_GONE))
    await run(world, "ANALYZE users, providers, provider_services")


async def run(world: World, sql: str, *values: Any) -> list[Any]:
    """SQL as the driver takes it."""
    async with world.platform.database.write() as session:
        await session.scalar(_NOTHING)
        rows: list[Any] = await session.driver_connection.fetch(sql, *values)
        return rows


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]


SEARCHES = [{}, {"service": "plumbing"}, {"category": "home-repairs"}]


@pytest.mark.parametrize("filters", SEARCHES, ids=str)
@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.usefixtures("crowd")
async def test_a_search_among_twenty_thousand_takes_the_index(
    world: World, plan_cache_mode: str, filters: dict[str, str]
) -> None:
    statement = queries._FIND
    about = {"service": None, "category": None, **DELHI.model_dump(), "rows": 20} | filters
    async with world.platform.database.write() as session:
        await session.scalar(_NOTHING)
        connection = session.driver_connection
        await connection.execute(f"SET LOCAL plan_cache_mode = {plan_cache_mode}")
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", *statement.arguments(about)
        )
    (plan,) = json.loads(explained) if isinstance(explained, str) else explained
    scans = {
        (node.get("Index Name"), node["Node Type"]): node["Actual Rows"]
        for node in nodes(plan["Plan"])
        if node.get("Relation Name") == "providers" or node.get("Index Name") == "providers_coverage_index"
    }
    # The index finds those whose box covers the position, and no more of the crowd is looked at.
    assert "providers_coverage_index" in {index for index, _ in scans}
    assert "Seq Scan" not in {kind for _, kind in scans}
    assert max(scans.values()) < CROWD / 50


@pytest.mark.usefixtures("crowd")
async def test_a_search_among_twenty_thousand_finds_the_right_ones(world: World) -> None:
    # Given everybody's position, radius and rating
    rows = await run(
        world,
        "SELECT id, latitude, longitude, service_radius_metres FROM providers WHERE status = 'approved'",
    )
    for seeker in (DELHI, Position(latitude=28.1, longitude=77.9), Position(latitude=29.5, longitude=76.3)):
        away = {
            row["id"]: metres(Position(latitude=row["latitude"], longitude=row["longitude"]), seeker) for row in rows
        }
        # When somebody looks for the first hundred
        results = await found(world, at=seeker, service="plumbing")
        # Then they are those whose radius covers the position (give or take a metre of rounding) …
        reaching = {row["id"] for row in rows if away[row["id"]] < row["service_radius_metres"] - 1}
        nearly = {row["id"] for row in rows if away[row["id"]] < row["service_radius_metres"] + 1}
        ids = {UUID(result["id"]) for result in results}
        assert len(results) == min(100, len(ids))
        assert ids <= nearly
        if len(results) < 100:
            assert reaching <= ids
        # … the best rated first, and of equals the nearest
        order = [(-float(result["rating_average"]), result["distance_metres"]) for result in results]
        assert order == sorted(order)
        assert len(results) > 5


@pytest.mark.usefixtures("crowd")
async def test_the_first_page_is_the_best_of_all(world: World) -> None:
    everybody = await found(world, at=DELHI)
    few = await found(world, at=DELHI, limit=3)
    assert [result["id"] for result in few] == [result["id"] for result in everybody[:3]]

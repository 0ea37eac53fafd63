"""Steps that tests of providers share: applications over HTTP, regions with managers of their own."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

import httpx

from app.models.users import Role
from app.schemas.base import Position
from tests.support.world import HERE, Person, World

APPLY = "/api/v1/me/applications"
SEARCH = "/api/v1/providers"

_regions = itertools.count()
_places = itertools.count()


def application(world: World, *, at: Position = HERE, offers: tuple[str, ...] = ("plumbing",), **more: Any) -> Any:
    """What an applicant sends."""
    return {
        "role": "provider",
        "business_name": "Pipes & Co",
        "bio": "We mend pipes.",
        "position": at.model_dump(),
        "service_radius_metres": 5000,
        "service_ids": [str(world.services[slug]) for slug in offers],
    } | more


async def decide(reviewer: Person, provider: Person, action: str, reason: str | None = None) -> httpx.Response:
    """A reviewer's decision; rejections, suspensions and bans have a reason."""
    noun = "applications" if action in {"approve", "reject"} else "providers"
    body = {"reason": reason or "For the test."} if action in {"reject", "suspend", "ban"} else None
    return await reviewer.post(f"/api/v1/{noun}/{provider.id}/{action}", body)


async def found(world: World, *, at: Position, **filters: Any) -> list[dict[str, Any]]:
    """What a search from a position answers."""
    answer = await world.http.get(SEARCH, params=at.model_dump() | {"limit": 100} | filters)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()
    return results


def somewhere() -> Position:
    """A place in the region of the tests that few others share: a search answers with the best hundred only."""
    number = next(_places)
    return Position(latitude=HERE.latitude + 0.1 + number % 20 * 0.01, longitude=HERE.longitude + number // 20 * 0.01)


async def is_found(world: World, provider: Person, *, at: Position) -> bool:
    return str(provider.id) in {result["id"] for result in await found(world, at=at)}


class Region(NamedTuple):
    """A region that no other test knows, with its manager."""

    id: UUID
    centre: Position
    manager: Person


async def new_region(world: World) -> Region:
    """A region far from all others, made by the admin over HTTP, as is its manager."""
    number = next(_regions)
    centre = Position(latitude=-50 + number % 60 * 1.5, longitude=-170 + number // 60 * 3)
    body = {"code": f"far-{number}", "name": "Elsewhere", "zipcodes": ["110001"], "centre": centre.model_dump()}
    made = await world.admin.post("/api/v1/admin/regions", body)
    assert made.status_code == 201, made.text
    manager = await world.person(Role.MANAGER)
    region_id = UUID(made.json()["id"])
    appointed = await world.admin.post(f"/api/v1/admin/regions/{region_id}/managers", {"user_id": str(manager.id)})
    assert appointed.status_code == 200, appointed.text
    return Region(region_id, centre, manager)


@asynccontextmanager
async def same_row(world: World, provider: Person) -> AsyncIterator[None]:
    """The provider's own row is in the end what it was in the beginning."""
    before = await world.rows("providers", id=provider.id)
    yield
    assert await world.rows("providers", id=provider.id) == before

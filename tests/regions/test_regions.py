"""Regions: made by admins, with managers of their own, and each position belongs to the nearest."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.models.users import Role
from app.schemas.base import Position
from tests.providers.steps import APPLY, application, new_region
from tests.support.world import HERE, World

REGIONS = "/api/v1/admin/regions"


def region(**changed: Any) -> dict[str, Any]:
    body = {"code": f"r-{uuid4()}", "name": "Somewhere", "zipcodes": ["411038"], "centre": HERE.model_dump()}
    return body | changed


async def test_a_new_region_is_on_the_public_map(http: httpx.AsyncClient, world: World) -> None:
    made = await new_region(world)
    listed = (await http.get("/api/v1/regions")).json()
    (shown,) = [entry for entry in listed if entry["id"] == str(made.id)]
    assert (shown["name"], shown["zipcodes"]) == ("Elsewhere", ["110001"])
    assert (shown["latitude"], shown["longitude"]) == (made.centre.latitude, made.centre.longitude)
    assert [entry["name"] for entry in listed] == sorted(entry["name"] for entry in listed)


async def test_the_map_may_be_cached_for_a_minute(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/regions")).headers["cache-control"] == "public, max-age=60"


async def test_a_code_is_taken_once(world: World) -> None:
    body = region()
    answers = await asyncio.gather(*(world.admin.post(REGIONS, body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    async with world.unchanged():
        answer = await world.admin.post(REGIONS, body | {"name": "Another name"})
    assert (answer.status_code, answer.json()["code"]) == (409, "region_code_taken")


@pytest.mark.parametrize(
    "changed",
    [
        {"code": "a"}, {"code": "Pune"}, {"code": "pune kothrud"}, {"code": "x" * 41}, {"name": ""},
        {"zipcodes": ["1"]}, {"zipcodes": ["41103!"]}, {"zipcodes": ["411038"] * 201}, {"zipcodes": None},
        {"centre": {"latitude": 91, "longitude": 0}}, {"centre": None}, {"boundary": []}, {"id": str(UUID(int=1))},
    ],
    ids=str,
)  # fmt: skip
async def test_what_does_not_fit_is_no_region(world: World, changed: dict[str, Any]) -> None:
    async with world.unchanged():
        assert (await world.admin.post(REGIONS, region(**changed))).status_code == 422


async def test_an_appointed_manager_has_the_role_at_once(world: World) -> None:
    # Given a customer who may not see any queue
    person, made = await world.person(), await new_region(world)
    assert (await person.get("/api/v1/applications")).status_code == 403
    # When they are appointed, then the next request is a manager's
    path = f"{REGIONS}/{made.id}/managers"
    assert (await world.admin.post(path, {"user_id": str(person.id)})).json() == {"done": True}
    assert (await person.get("/api/v1/applications")).status_code == 200
    # And being appointed again changes nothing
    async with world.unchanged():
        assert (await world.admin.post(path, {"user_id": str(person.id)})).status_code == 200


async def test_nobody_is_appointed_to_nowhere_and_nowhere_gets_nobody(world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        for region_id, user_id in ((uuid4(), person.id), (world.region_id, uuid4())):
            answer = await world.admin.post(f"{REGIONS}/{region_id}/managers", {"user_id": str(user_id)})
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_one_manager_may_have_several_regions(world: World) -> None:
    # Given somebody who manages two regions
    one, other = await new_region(world), await new_region(world)
    path = f"{REGIONS}/{other.id}/managers"
    assert (await world.admin.post(path, {"user_id": str(one.manager.id)})).status_code == 200
    applicants = [await world.provider(at=made.centre, approved=False, funds_minor=0) for made in (one, other)]
    # Then both queues are one
    queue = (await one.manager.get("/api/v1/applications")).json()["items"]
    assert {item["id"] for item in queue} == {str(applicant.id) for applicant in applicants}
    # And each of the managers of one region may decide
    for applicant, manager in zip(applicants, (one.manager, other.manager), strict=True):
        assert (await manager.post(f"/api/v1/applications/{applicant.id}/approve")).status_code == 200


async def test_a_position_belongs_to_the_nearest_region(world: World) -> None:
    # Given two regions 40 km apart
    west = await new_region(world)
    centre = Position(latitude=west.centre.latitude, longitude=west.centre.longitude + 0.5)
    east = (await world.admin.post(REGIONS, region(centre=centre.model_dump()))).json()
    # When two people apply on either side of the middle
    found = []
    for share in (0.2, 0.3):
        at = Position(latitude=centre.latitude, longitude=west.centre.longitude + share)
        person = await world.person()
        found.append((await person.post(APPLY, application(world, at=at))).json()["region_id"])
    # Then each belongs to the nearer one
    assert found == [str(west.id), east["id"]]


async def test_a_region_reaches_fifty_kilometres(world: World) -> None:
    # Given places due north of a region's centre
    made = await new_region(world)
    answers = []
    for kilometres in (49, 51):
        at = Position(latitude=made.centre.latitude + kilometres / 111.32, longitude=made.centre.longitude)
        person = await world.person()
        answers.append((await person.post(APPLY, application(world, at=at))).status_code)
    # Then the nearer one is served
    assert answers == [201, 422]


async def test_managers_make_no_regions_and_appoint_nobody(world: World) -> None:
    made, friend = await new_region(world), await world.person(Role.CUSTOMER)
    async with world.unchanged():
        assert (await made.manager.post(REGIONS, region())).status_code == 403
        answer = await made.manager.post(f"{REGIONS}/{made.id}/managers", {"user_id": str(friend.id)})
        assert answer.status_code == 403

"""Support accounts: made and unmade by another admin, at once, and on record."""

import asyncio
from uuid import UUID

import pytest

from app.models.users import Role
from tests.support.world import World
from tests.users.steps import events_of

WHY = {"reason": "Joins the desk in Pune."}
QUEUE = "/api/v1/role-applications"


async def test_an_admin_makes_support_and_takes_it_back_at_once(world: World) -> None:
    # Given a user without any role in staff
    person = await world.person()
    assert (await person.get(QUEUE)).status_code == 403
    # When an admin appoints them, then the token that is out is support's, and the person is told
    assert (await world.admin.post(f"/api/v1/admin/users/{person.id}/appoint-support", WHY)).status_code == 200
    assert (await person.get(QUEUE)).status_code == 200
    assert len(await events_of(world, person.id, "auth.support_appointed")) == 1
    # When the admin dismisses them, then it is not
    assert (await world.admin.post(f"/api/v1/admin/users/{person.id}/dismiss-support", WHY)).status_code == 200
    assert (await person.get(QUEUE)).status_code == 403
    (event,) = await events_of(world, person.id, "auth.support_dismissed")
    assert event["payload"]["reason"] == WHY["reason"]
    # And both are on record
    trail = [(row["action"], row["actor_id"], row["reason"]) for row in await world.trail(str(person.id))]
    assert trail[-2:] == [
        ("appoint_support", world.admin.id, WHY["reason"]),
        ("dismiss_support", world.admin.id, WHY["reason"]),
    ]


async def test_appointing_again_changes_nothing(world: World) -> None:
    person = await world.person()
    path = f"/api/v1/admin/users/{person.id}/appoint-support"
    answers = await asyncio.gather(*(world.admin.post(path, WHY) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await events_of(world, person.id, "auth.support_appointed")) == 1


@pytest.mark.parametrize("action", ["appoint-support", "dismiss-support"])
async def test_nobody_decides_about_themselves(world: World, action: str) -> None:
    admin = await world.person(Role.ADMIN, Role.SUPPORT)
    async with world.unchanged():
        answer = await admin.post(f"/api/v1/admin/users/{admin.id}/{action}", WHY)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("action", ["appoint-support", "dismiss-support"])
async def test_an_unknown_account_is_not_found(world: World, action: str) -> None:
    async with world.unchanged():
        answer = await world.admin.post(f"/api/v1/admin/users/{UUID(int=7)}/{action}", WHY)
    assert answer.status_code == 404


async def test_a_suspended_account_is_not_made_support(world: World) -> None:
    person = await world.person()
    await world.admin.post(f"/api/v1/admin/users/{person.id}/suspend", WHY)
    async with world.unchanged():
        answer = await world.admin.post(f"/api/v1/admin/users/{person.id}/appoint-support", WHY)
    assert answer.status_code == 404


async def test_who_is_no_support_cannot_be_dismissed(world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await world.admin.post(f"/api/v1/admin/users/{person.id}/dismiss-support", WHY)
    assert answer.status_code == 404

"""Suspended and banned accounts: what they hold stops working at once, at every instance, hints or not."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from app.core.config import Settings
from app.models.users import Role
from tests.support.world import Person, World
from tests.users.steps import Instance, elsewhere, events_of, instance, is_signed_in, log_in, refresh

REASON = {"reason": "Fake reviews."}


@pytest.fixture
async def other(configured: Settings) -> AsyncIterator[Instance]:
    """Another instance on the same servers."""
    async with instance(configured) as opened:
        yield opened


async def decide(world: World, person: Person, action: str) -> httpx.Response:
    body = None if action == "reinstate" else REASON
    return await world.admin.post(f"/api/v1/admin/users/{person.id}/{action}", body)


async def seconds_until_refused(person: Person) -> float:
    began = time.monotonic()
    while await is_signed_in(person):
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.01)
    return time.monotonic() - began


@pytest.mark.parametrize("action", ["suspend", "ban"])
async def test_existing_tokens_stop_at_once_at_every_instance(world: World, other: Instance, action: str) -> None:
    # Given somebody who is known at two instances
    person = await world.person()
    there = elsewhere(person, other.http)
    assert await is_signed_in(person)
    assert await is_signed_in(there)
    # When the admin decides at the first
    answer = await decide(world, person, action)
    assert answer.status_code == 200
    assert answer.json()["status_reason"] == REASON["reason"]
    # Then the first refuses the very next request, and the other soon after
    assert not await is_signed_in(person)
    assert await seconds_until_refused(there) <= 1.5


async def test_a_lost_hint_costs_a_second_and_no_more(world: World, other: Instance) -> None:
    # Given somebody who is known at two instances
    person = await world.person()
    there = elsewhere(person, other.http)
    assert await is_signed_in(person)
    assert await is_signed_in(there)
    # When the status changes behind the back of both, with no hint to anybody
    await world.execute("UPDATE users SET status = 'SUSPENDED', status_reason = 'x' WHERE id = :id", id=person.id)
    # Then both find out by themselves
    assert max(await asyncio.gather(seconds_until_refused(person), seconds_until_refused(there))) <= 1.5


async def test_a_lost_hint_of_a_logout_costs_a_second_and_no_more(world: World, other: Instance) -> None:
    person = elsewhere(await world.person(), other.http)
    assert await is_signed_in(person)
    await world.execute("UPDATE sessions SET revoked_at = now() WHERE user_id = :id", id=person.id)
    assert await seconds_until_refused(person) <= 1.5


async def test_a_role_that_was_taken_is_not_believed_for_longer_than_a_second(world: World, other: Instance) -> None:
    # Given an admin who is known as one at another instance
    person = elsewhere(await world.person(Role.ADMIN), other.http)
    path = f"/api/v1/admin/users/{uuid4()}/reinstate"
    assert (await person.post(path)).status_code == 404
    # When the role goes without a hint
    await world.execute("DELETE FROM user_roles WHERE user_id = :id AND role = 'admin'", id=person.id)
    # Then it is gone there too
    began = time.monotonic()
    while (await person.post(path)).status_code != 403:
        assert time.monotonic() - began <= 1.5
        await asyncio.sleep(0.01)


async def test_a_suspended_account_gets_no_new_tokens(world: World) -> None:
    person = await world.person()
    await decide(world, person, "suspend")
    async with world.unchanged():
        login = await log_in(world.http, person.email)
        assert (login.status_code, login.json()["code"]) == (403, "account_suspended")
        assert (await refresh(world.http, person.refresh_token)).status_code == 401


async def test_only_who_knows_the_password_learns_of_a_suspension(world: World) -> None:
    person = await world.person()
    await decide(world, person, "suspend")
    answer = await log_in(world.http, person.email, "not the password")
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_credentials")


async def test_a_suspended_account_cannot_reset_its_way_back(world: World) -> None:
    person = await world.person()
    await decide(world, person, "suspend")
    body = {"email": person.email, "code": "123456", "password": "another fine password 8"}
    async with world.unchanged():
        assert (await world.http.post("/api/v1/auth/password-reset/confirm", json=body)).status_code == 422


async def test_a_reinstated_account_signs_in_anew(world: World) -> None:
    # Given an account that was suspended
    person = await world.person()
    await decide(world, person, "suspend")
    # When it is reinstated
    answer = await decide(world, person, "reinstate")
    # Then its owner can log in; what was issued before stays dead
    assert (answer.status_code, answer.json()["status"], answer.json()["status_reason"]) == (200, "ACTIVE", None)
    assert not await is_signed_in(person)
    assert (await refresh(world.http, person.refresh_token)).status_code == 401
    assert (await log_in(world.http, person.email)).status_code == 200


async def test_every_decision_is_told_with_its_reason_and_recorded(world: World) -> None:
    person = await world.person()
    for action in ("suspend", "reinstate", "ban"):
        assert (await decide(world, person, action)).status_code == 200
    for name in ("auth.suspended", "auth.banned"):
        (event,) = await events_of(world, person.id, name)
        assert event["payload"] == {"user_id": str(person.id), **REASON}
    assert len(await events_of(world, person.id, "auth.reinstated")) == 1
    trail = sorted(await world.rows("audit_trail", subject_id=person.id), key=lambda row: int(row["id"]))
    decisions = [(row["action"], row["actor_id"], row["reason"]) for row in trail if row["actor_id"] == world.admin.id]
    assert decisions == [
        ("suspend", world.admin.id, REASON["reason"]),
        ("reinstate", world.admin.id, None),
        ("ban", world.admin.id, REASON["reason"]),
    ]


@pytest.mark.parametrize(
    ("before", "action", "allowed"),
    [
        ([], "reinstate", ["ban", "suspend"]),
        (["suspend"], "suspend", ["ban", "reinstate"]),
        (["ban"], "suspend", []),
        (["ban"], "reinstate", []),
        (["ban"], "ban", []),
    ],
)
async def test_what_the_state_does_not_allow_changes_nothing(
    world: World, before: list[str], action: str, allowed: list[str]
) -> None:
    person = await world.person()
    for earlier in before:
        await decide(world, person, earlier)
    (row,) = await world.rows("users", id=person.id)
    async with world.unchanged():
        answer = await decide(world, person, action)
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
    assert (answer.json()["current_status"], answer.json()["allowed_actions"]) == (row["status"], allowed)
    assert await world.rows("users", id=person.id) == [row]


@pytest.mark.parametrize("action", ["suspend", "reinstate", "ban"])
async def test_nobody_can_be_decided_about_who_does_not_exist(world: World, action: str) -> None:
    async with world.unchanged():
        body = None if action == "reinstate" else REASON
        answer = await world.admin.post(f"/api/v1/admin/users/{uuid4()}/{action}", body)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 2001}])
async def test_a_decision_needs_a_reason(world: World, body: object) -> None:
    person = await world.person()
    async with world.unchanged():
        for action in ("suspend", "ban"):
            assert (await world.admin.post(f"/api/v1/admin/users/{person.id}/{action}", body)).status_code == 422
    assert await is_signed_in(person)


async def test_of_two_decisions_at_once_one_is_taken(world: World) -> None:
    person = await world.person()
    answers = await asyncio.gather(*(decide(world, person, "suspend") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert len(await events_of(world, person.id, "auth.suspended")) == 1

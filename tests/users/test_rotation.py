"""Refresh tokens: each works once, and a second use ends the session and tells its owner."""

import asyncio
from uuid import UUID

import httpx
import pytest
from jose import jwt

from app.core.config import Settings
from app.core.security import digest
from tests.support.world import Person, World
from tests.users.steps import elsewhere, events_of, eventually, instance, is_signed_in, log_in, logged_in, refresh


def session_id(person: Person) -> UUID:
    return UUID(jwt.get_unverified_claims(person.access_token)["sid"])


async def with_new_tokens(person: Person) -> Person:
    """The person after a refresh."""
    answer = await refresh(person.http, person.refresh_token)
    assert answer.status_code == 200, answer.text
    renewed = elsewhere(person, person.http)
    renewed.access_token, renewed.refresh_token = answer.json()["access_token"], answer.json()["refresh_token"]
    return renewed


async def test_a_refresh_token_is_exchanged_for_a_new_pair_of_the_same_session(world: World) -> None:
    person = await world.person()
    renewed = await with_new_tokens(person)
    assert renewed.refresh_token != person.refresh_token
    assert session_id(renewed) == session_id(person)
    assert await is_signed_in(renewed)
    # And the new one can be exchanged in its turn
    assert await is_signed_in(await with_new_tokens(renewed))


async def test_a_refresh_shows_as_last_use(world: World) -> None:
    person = await world.person()
    (before,) = await world.rows("sessions", id=session_id(person))
    await with_new_tokens(person)
    (after,) = await world.rows("sessions", id=session_id(person))
    assert after["last_used_at"] > before["last_used_at"]
    assert after["created_at"] == before["created_at"]


async def test_a_refresh_brings_roles_that_were_granted_since(world: World) -> None:
    person = await world.person()
    answer = await world.admin.post(f"/api/v1/admin/regions/{world.region_id}/managers", {"user_id": str(person.id)})
    assert answer.status_code == 200
    tokens = (await refresh(world.http, person.refresh_token)).json()
    assert tokens["user"]["roles"] == ["customer", "manager"]
    assert sorted(jwt.get_unverified_claims(tokens["access_token"])["roles"]) == ["customer", "manager"]


async def test_a_spent_token_ends_the_whole_session_and_tells_the_owner(world: World) -> None:
    # Given a session of which somebody else has a copy of an old refresh token, and another session
    person = await world.person()
    other = await logged_in(person)
    renewed = await with_new_tokens(await with_new_tokens(person))
    # When the old one is used again
    async with world.unchanged(but=["events", "notifications"]):
        answer = await refresh(world.http, person.refresh_token)
    # Then nobody gets anything out of this session any more, neither the thief nor the owner
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert not await is_signed_in(person)
    assert not await is_signed_in(renewed)
    assert (await refresh(world.http, renewed.refresh_token)).status_code == 401
    (row,) = await world.rows("sessions", id=session_id(person))
    assert row["revoked_reason"] == "token_reused"
    # And the owner is told in the other session, which goes on
    (event,) = await events_of(world, person.id, "auth.token_reused")
    assert event["payload"]["session_id"] == str(session_id(person))
    feed = (await other.get("/api/v1/notifications")).json()["items"]
    assert "auth.token_reused" in [item["event"]["name"] for item in feed]


@pytest.mark.usefixtures("working")
async def test_the_owner_hears_of_a_reuse_by_mail_too(http: httpx.AsyncClient, world: World) -> None:
    # Given an owner who is nowhere signed in any more once the session is ended
    person = await world.person()
    await with_new_tokens(person)
    await refresh(http, person.refresh_token)

    async def mailed() -> bool:
        messages = (await http.get("/api/v1/dev/messages", params={"to": person.email})).json()
        return any("used twice" in message["body"] for message in messages)

    await eventually(mailed)


async def test_a_reuse_is_told_once_however_often_it_is_tried(world: World) -> None:
    person = await world.person()
    await with_new_tokens(person)
    await refresh(world.http, person.refresh_token)
    async with world.unchanged():
        for _ in range(3):
            assert (await refresh(world.http, person.refresh_token)).status_code == 401
    assert len(await events_of(world, person.id, "auth.token_reused")) == 1


@pytest.mark.parametrize("times", [2, 8])
async def test_of_refreshes_with_one_token_at_once_exactly_one_wins(world: World, times: int) -> None:
    # Given one refresh token, sent several times at the same instant
    person = await world.person()
    answers = await asyncio.gather(*(refresh(world.http, person.refresh_token) for _ in range(times)))
    # Then one is exchanged; the others are a reuse like any other, which ends the session
    assert sorted(answer.status_code for answer in answers) == [200, *[401] * (times - 1)]
    assert len(await world.rows("refresh_tokens", session_id=session_id(person))) == 2
    assert len(await events_of(world, person.id, "auth.token_reused")) == 1
    winner = next(answer for answer in answers if answer.is_success)
    assert (await refresh(world.http, winner.json()["refresh_token"])).status_code == 401


async def test_two_instances_let_one_of_two_refreshes_through(configured: Settings, world: World) -> None:
    person = await world.person()
    async with instance(configured) as other:
        answers = await asyncio.gather(
            *(refresh(client, person.refresh_token) for client in (world.http, other.http) for _ in range(3))
        )
    assert sorted(answer.status_code for answer in answers) == [200, *[401] * 5]


async def test_an_expired_token_is_refused_and_is_no_reuse(world: World) -> None:
    person = await world.person()
    await world.execute(
        "UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE token_hash = :hash",
        hash=digest(person.refresh_token),
    )
    async with world.unchanged():
        assert (await refresh(world.http, person.refresh_token)).status_code == 401
    # And a session that nobody can refresh any more is not listed as one
    assert await is_signed_in(person)
    assert (await person.get("/api/v1/auth/sessions")).json() == []


async def test_a_refresh_token_lives_for_thirty_days_from_its_last_use(world: World) -> None:
    person = await with_new_tokens(await world.person())
    (row,) = await world.rows("refresh_tokens", token_hash=digest(person.refresh_token))
    assert round((row["expires_at"] - row["created_at"]).total_seconds()) == 30 * 24 * 3600


@pytest.mark.parametrize("token", ["x" * 43, "x" * 20, "é" * 43])
async def test_a_made_up_token_is_refused(world: World, token: str) -> None:
    async with world.unchanged():
        assert (await refresh(world.http, token)).status_code == 401


@pytest.mark.parametrize("token", ["", "short", "x" * 201, "x" * 43 + "\x00"])
async def test_what_cannot_be_a_token_is_a_422(world: World, token: str) -> None:
    async with world.unchanged():
        answer = await refresh(world.http, token)
    assert answer.status_code == 422
    assert "xxx" not in answer.text


async def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await refresh(world.http, person.access_token[:200])).status_code == 401
        swapped = elsewhere(person, world.http)
        swapped.access_token = person.refresh_token
        assert not await is_signed_in(swapped)


async def test_logging_in_again_leaves_the_first_session_alone(world: World) -> None:
    person = await world.person()
    assert (await log_in(world.http, person.email)).status_code == 200
    assert await is_signed_in(person)
    assert await is_signed_in(await with_new_tokens(person))

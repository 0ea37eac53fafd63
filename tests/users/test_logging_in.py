"""Logging in: the same answer for whatever does not fit, limits, hashes that grow with their parameters."""

import asyncio
import statistics
import time
from typing import Any
from unittest.mock import patch
from uuid import UUID

import httpx
import pytest

from app.core.config import Settings
from app.core.security import Passwords
from tests.support.world import PASSWORD, Person, World
from tests.users.steps import eventually, instance, is_signed_in, log_in, logged_in, new_email

NEW_PASSWORD = "another fine password 8"


async def hash_of(world: World, person: Person) -> str:
    (row,) = await world.rows("users", id=person.id)
    return str(row["password_hash"])


async def set_password(world: World, person: Person, password_hash: str) -> None:
    await world.execute("UPDATE users SET password_hash = :hash WHERE id = :id", hash=password_hash, id=person.id)


async def test_email_and_password_open_a_session(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    answer = await log_in(http, person.email, device="Asha's phone")
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens["user"]["id"] == str(person.id)
    assert tokens["access_token"] != person.access_token
    # And what is stored can open nothing: of the refresh token, only a hash is kept
    (session,) = [row for row in await world.rows("sessions", user_id=person.id) if row["device"] == "Asha's phone"]
    (kept,) = await world.rows("refresh_tokens", session_id=session["id"])
    assert tokens["refresh_token"].encode() not in kept["token_hash"]
    assert len(kept["token_hash"]) == 32


async def test_the_email_may_be_written_in_capitals(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    assert (await log_in(http, person.email.upper())).status_code == 200


async def test_a_wrong_password_and_an_unknown_email_are_answered_alike(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        wrong = await log_in(http, person.email, "not the password")
        unknown = await log_in(http, new_email(), "not the password")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert wrong.json()["code"] == "wrong_credentials"
    assert set(wrong.headers) == set(unknown.headers)


async def test_a_wrong_password_and_an_unknown_email_take_the_same_time(configured: Settings, world: World) -> None:
    # Given hashes as expensive as in production
    costs: dict[str, Any] = {"password_hash_memory_kib": 19 * 1024, "password_hash_passes": 4}
    person = await world.person()
    await set_password(world, person, await Passwords(configured.model_copy(update=costs)).hash(PASSWORD))
    async with instance(configured, **costs) as other:

        async def seconds(email: str) -> float:
            began = time.perf_counter()
            assert (await log_in(other.http, email, "not the password")).status_code == 401
            return time.perf_counter() - began

        await seconds(person.email)
        # When both are tried in turn
        taken = [(await seconds(person.email), await seconds(new_email())) for _ in range(9)]
    # Then the time tells nothing: a hash that is skipped would make it a small part
    known, unknown = (statistics.median(column) for column in zip(*taken, strict=True))
    assert 0.6 < unknown / known < 1.7


async def test_tries_are_limited_for_each_account(configured: Settings, world: World) -> None:
    person, other_person = await world.person(), await world.person()
    async with instance(configured, login_tries_per_account="3/23 minutes") as other:
        # Given three wrong passwords
        for _ in range(3):
            assert (await log_in(other.http, person.email, "not the password")).status_code == 401
        # When the right one comes, then it has to wait too, in whatever case the address is written
        async with world.unchanged():
            refusals = [await log_in(other.http, email) for email in (person.email, person.email.upper())]
        assert {refusal.status_code for refusal in refusals} == {429}
        assert refusals[0].json()["code"] == "too_many_requests"
        assert 1300 <= int(refusals[0].headers["Retry-After"]) <= 23 * 60 + 1
        # And nobody else has to
        assert (await log_in(other.http, other_person.email)).status_code == 200


async def test_the_limit_of_an_account_does_not_tell_whether_it_exists(configured: Settings) -> None:
    async with instance(configured, login_tries_per_account="2/29 minutes") as other:
        email = new_email()
        statuses = [(await log_in(other.http, email)).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]


async def test_tries_are_limited_for_each_address_across_accounts(configured: Settings, world: World) -> None:
    person = await world.person()
    async with instance(configured, login_tries_per_address="3/31 minutes") as other:
        statuses = [(await log_in(other.http, new_email())).status_code for _ in range(3)]
        async with world.unchanged():
            refusal = await log_in(other.http, person.email)
    assert statuses == [401, 401, 401]
    assert refusal.status_code == 429
    assert int(refusal.headers["Retry-After"]) > 1700


async def test_the_limit_holds_for_tries_at_the_same_instant(configured: Settings, world: World) -> None:
    person = await world.person()
    async with instance(configured, login_tries_per_account="4/37 minutes") as other:
        answers = await asyncio.gather(*(log_in(other.http, person.email, "not the password") for _ in range(15)))
    assert sorted(answer.status_code for answer in answers) == [401] * 4 + [429] * 11


async def test_a_hash_of_old_parameters_is_renewed_at_login(configured: Settings, world: World) -> None:
    # Given an account whose hash was made with cheaper parameters
    person = await world.person()
    before = await hash_of(world, person)
    # When its owner logs in at an instance with dearer ones
    async with instance(configured, password_hash_passes=3) as other:
        assert (await log_in(other.http, person.email)).status_code == 200
        after = await hash_of(world, person)
        # Then the hash is a new one of the same password
        assert before != after
        assert "t=3" in after
        assert (await log_in(other.http, person.email)).status_code == 200
        assert await hash_of(world, person) == after


async def test_a_wrong_password_renews_nothing(configured: Settings, world: World) -> None:
    person = await world.person()
    before = await hash_of(world, person)
    async with instance(configured, password_hash_passes=3) as other, world.unchanged():
        assert (await log_in(other.http, person.email, "not the password")).status_code == 401
    assert await hash_of(world, person) == before


@pytest.mark.parametrize("passes", [1, 3], ids=["same parameters", "newer parameters"])
async def test_a_login_that_overlaps_a_new_password_does_not_outlive_it(
    configured: Settings, world: World, passes: int
) -> None:
    """Somebody who knows the old password logs in at the very moment at which the owner sets a new one."""
    person = await world.person()
    new_hash = await world.platform.passwords.hash(NEW_PASSWORD)
    async with instance(configured, password_hash_passes=passes) as other:
        verified, go_on = asyncio.Event(), asyncio.Event()
        verify = other.platform.passwords.verify

        async def verify_and_wait(*given: Any) -> bool:
            fits = await verify(*given)
            verified.set()
            await go_on.wait()
            return fits

        with patch.object(other.platform.passwords, "verify", verify_and_wait):
            # Given a login that has verified the old password and has not opened its session yet
            login = asyncio.create_task(log_in(other.http, person.email))
            await verified.wait()
            # When the password changes, and then the login goes on
            await set_password(world, person, new_hash)
            go_on.set()
            answer = await login
    # Then it opens nothing, and does not put the old password back
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_credentials")
    assert await hash_of(world, person) == new_hash
    assert len(await world.rows("sessions", user_id=person.id)) == 1


async def test_a_login_that_overlaps_a_suspension_does_not_outlive_it(
    configured: Settings, world: World, http: httpx.AsyncClient
) -> None:
    person = await world.person()
    async with instance(configured) as other:
        verified, go_on = asyncio.Event(), asyncio.Event()
        verify = other.platform.passwords.verify

        async def verify_and_wait(*given: Any) -> bool:
            fits = await verify(*given)
            verified.set()
            await go_on.wait()
            return fits

        with patch.object(other.platform.passwords, "verify", verify_and_wait):
            login = asyncio.create_task(log_in(other.http, person.email))
            await verified.wait()
            suspended = await world.admin.post(f"/api/v1/admin/users/{person.id}/suspend", {"reason": "Fraud."})
            assert suspended.status_code == 200
            go_on.set()
            assert (await login).status_code == 401
    # Then no session waits for the account to be reinstated
    assert {row["revoked_reason"] for row in await world.rows("sessions", user_id=person.id)} == {"suspend"}


async def test_sessions_are_listed_with_device_and_last_use(http: httpx.AsyncClient, world: World) -> None:
    # Given two sessions
    person = await world.person()
    assert (await log_in(http, person.email, device="Tablet")).status_code == 200
    # When they are listed from the first
    sessions = (await person.get("/api/v1/auth/sessions")).json()
    # Then both are there, the latest first, and the current one is marked
    assert [(session["device"], session["current"]) for session in sessions] == [("Tablet", False), ("test", True)]
    assert sessions[0]["address"] == "127.0.0.1"
    assert sessions[0]["created_at"] <= sessions[0]["last_used_at"]


async def test_nobody_sees_the_sessions_of_others(world: World) -> None:
    person, stranger = await world.person(), await world.person()
    mine = {session["id"] for session in (await person.get("/api/v1/auth/sessions")).json()}
    theirs = {session["id"] for session in (await stranger.get("/api/v1/auth/sessions")).json()}
    assert mine
    assert not mine & theirs


async def test_logging_out_ends_this_session_only(world: World) -> None:
    person = await world.person()
    other = await logged_in(person)
    assert (await person.post("/api/v1/auth/logout")).json() == {"done": True}
    assert not await is_signed_in(person)
    assert await is_signed_in(other)
    # And its refresh token is dead too
    async with world.unchanged():
        body = {"refresh_token": person.refresh_token}
        assert (await world.http.post("/api/v1/auth/refresh", json=body)).status_code == 401


async def test_logging_out_everywhere_ends_all_sessions(world: World) -> None:
    person = await world.person()
    others = [await logged_in(person) for _ in range(2)]
    bystander = await world.person()
    assert (await person.post("/api/v1/auth/logout-everywhere")).status_code == 200
    assert [await is_signed_in(session) for session in (person, *others)] == [False, False, False]
    assert await is_signed_in(bystander)


async def test_one_session_can_be_ended_from_another(world: World) -> None:
    person = await world.person()
    other = await logged_in(person)
    (session,) = [session for session in (await other.get("/api/v1/auth/sessions")).json() if not session["current"]]
    assert (await other.call("DELETE", f"/api/v1/auth/sessions/{session['id']}")).status_code == 200
    assert not await is_signed_in(person)
    assert await is_signed_in(other)
    remaining = (await other.get("/api/v1/auth/sessions")).json()
    assert [session["current"] for session in remaining] == [True]
    # And it can be ended once only
    async with world.unchanged():
        assert (await other.call("DELETE", f"/api/v1/auth/sessions/{session['id']}")).status_code == 404


async def test_the_session_of_somebody_else_cannot_be_ended(world: World) -> None:
    person, stranger = await world.person(), await world.person()
    (session,) = (await person.get("/api/v1/auth/sessions")).json()
    async with world.unchanged():
        answer = await stranger.call("DELETE", f"/api/v1/auth/sessions/{session['id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert await is_signed_in(person)
    (row,) = await world.rows("sessions", id=UUID(session["id"]))
    assert row["revoked_at"] is None


async def test_an_ended_session_is_refused_at_other_instances_too(configured: Settings, world: World) -> None:
    person = await world.person()
    async with instance(configured) as other:

        async def status() -> int:
            return (await other.http.get("/api/v1/me", headers=person.headers)).status_code

        assert await status() == 200
        await person.post("/api/v1/auth/logout")

        async def refused() -> bool:
            return await status() == 401

        await eventually(refused, within=1.5)

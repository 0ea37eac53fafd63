"""A forgotten password: a code to the mailbox, the same answers for everybody, and every session ends."""

import asyncio
import re
import statistics
import time
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.config import Settings
from app.services.users import codes
from tests.support.world import PASSWORD, Person, World
from tests.users.steps import (
    code_sent,
    codes_sent,
    eventually,
    forget_the_last_minute,
    instance,
    is_signed_in,
    log_in,
    logged_in,
    new_email,
    refresh,
    sign_up,
    wrong,
)

RESET = "/api/v1/auth/password-reset"
NEW_PASSWORD = "another fine password 8"


async def ask(http: httpx.AsyncClient, email: str) -> httpx.Response:
    return await http.post(RESET, json={"email": email})


async def confirm(http: httpx.AsyncClient, email: str, code: str, password: str = NEW_PASSWORD) -> httpx.Response:
    return await http.post(f"{RESET}/confirm", json={"email": email, "code": code, "password": password})


async def code_for(http: httpx.AsyncClient, person: Person) -> str:
    """A reset code of the person's, freshly asked for."""
    assert (await ask(http, person.email)).status_code == 202
    return await code_sent(http, person.email)


@pytest.mark.usefixtures("working")
async def test_a_code_sets_a_new_password_and_ends_every_session(http: httpx.AsyncClient, world: World) -> None:
    # Given two sessions and a code
    person = await world.person()
    other = await logged_in(person)
    code = await code_for(http, person)
    # When it comes back with a new password
    answer = await confirm(http, person.email, code)
    assert (answer.status_code, answer.json()) == (200, {"done": True})
    # Then nothing that was open before is open any more
    assert not await is_signed_in(person)
    assert not await is_signed_in(other)
    assert (await refresh(http, person.refresh_token)).status_code == 401
    assert {row["revoked_reason"] for row in await world.rows("sessions", user_id=person.id)} == {"password_reset"}
    # And the new password is the one that counts
    assert (await log_in(http, person.email, PASSWORD)).status_code == 401
    assert (await log_in(http, person.email, NEW_PASSWORD)).status_code == 200


@pytest.mark.usefixtures("working")
async def test_a_code_works_once(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    code = await code_for(http, person)
    answers = await asyncio.gather(*(confirm(http, person.email, code) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]


@pytest.mark.usefixtures("working")
async def test_the_fifth_wrong_try_burns_the_code(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    code = await code_for(http, person)
    async with world.unchanged():
        for _ in range(5):
            answer = await confirm(http, person.email, wrong(code))
            assert (answer.status_code, answer.json()["code"]) == (422, "code_refused")
        assert (await confirm(http, person.email, code)).status_code == 422
    assert await is_signed_in(person)
    assert (await log_in(http, person.email, PASSWORD)).status_code == 200


@pytest.mark.usefixtures("working")
async def test_a_code_of_one_purpose_serves_no_other(http: httpx.AsyncClient, world: World) -> None:
    # Given a code that was sent to prove a new address
    person = await world.person()
    await person.post("/api/v1/me/contact-changes", {"channel": "email", "value": person.email})
    code = await code_sent(http, person.email)
    # When it is used to set a password, then it does not
    async with world.unchanged():
        assert (await confirm(http, person.email, code)).status_code == 422


@pytest.mark.usefixtures("working")
async def test_a_common_password_is_refused_and_does_not_spend_the_code(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    code = await code_for(http, person)
    async with world.unchanged():
        assert (await confirm(http, person.email, code, "password123")).status_code == 422
    assert (await confirm(http, person.email, code)).status_code == 200


async def test_whether_an_address_is_known_is_not_told(http: httpx.AsyncClient, world: World) -> None:
    # Given an account, one that waits for its codes, and an address without
    known, waiting, unknown = (await world.person()).email, (await sign_up(http)).form["email"], new_email()
    # When each asks for a code twice in a row, and tries one
    answers = [
        [await ask(http, email), await ask(http, email), await confirm(http, email, "123456")]
        for email in (known, waiting, unknown)
    ]
    # Then they cannot be told apart
    for about_known, about_waiting, about_unknown in zip(*answers, strict=True):
        assert about_known.status_code == about_waiting.status_code == about_unknown.status_code
        assert _told(about_known) == _told(about_waiting) == _told(about_unknown)
    assert [answer.status_code for answer in answers[0]] == [202, 429, 422]


def _told(answer: httpx.Response) -> str:
    """The answer without the seconds that have passed meanwhile."""
    return re.sub(r"[0-9]{2}", "_", answer.text)


async def test_a_known_address_takes_no_longer_than_an_unknown_one(http: httpx.AsyncClient, world: World) -> None:
    known = [(await world.person()).email for _ in range(15)]

    async def seconds(email: str) -> float:
        began = time.perf_counter()
        assert (await ask(http, email)).status_code == 202
        return time.perf_counter() - began

    taken = [(await seconds(email), await seconds(new_email())) for email in known]
    about_known, about_unknown = (statistics.median(column) for column in zip(*taken, strict=True))
    assert 0.5 < about_unknown / about_known < 2


@pytest.mark.usefixtures("working")
async def test_nothing_is_sent_to_who_has_no_active_account(http: httpx.AsyncClient, world: World) -> None:
    # Given an unknown address, a suspended account, and one that waits for its codes
    unknown, suspended, waiting = new_email(), await world.person(), await sign_up(http)
    await world.admin.post(f"/api/v1/admin/users/{suspended.id}/suspend", {"reason": "Fraud."})
    await waiting.codes()
    # When a code is asked for each, and then one for somebody active
    for email in (unknown, suspended.email, waiting.form["email"]):
        assert (await ask(http, email)).status_code == 202
    active = await world.person()
    await code_for(http, active)
    # Then the active one's came, and of those before only the sign-up's
    assert await codes_sent(http, unknown) == []
    assert await codes_sent(http, suspended.email) == []
    assert len(await codes_sent(http, waiting.form["email"])) == 1


async def test_asking_is_limited_to_once_a_minute_and_five_an_hour(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    for _ in range(5):
        assert (await ask(http, person.email)).status_code == 202
        assert (await ask(http, person.email)).status_code == 429
        await forget_the_last_minute(world.platform, person.email)
    async with world.unchanged():
        refusal = await ask(http, person.email)
    assert refusal.status_code == 429
    assert int(refusal.headers["Retry-After"]) > 3500


async def test_asking_for_somebody_does_not_keep_them_from_changing_their_address(world: World) -> None:
    # Given a stranger who uses up the reset codes of a victim
    victim = await world.person()
    assert (await ask(world.http, victim.email)).status_code == 202
    assert (await ask(world.http, victim.email)).status_code == 429
    # When the victim asks for a code of another kind, then it is sent
    answer = await victim.post("/api/v1/me/contact-changes", {"channel": "email", "value": new_email()})
    assert answer.status_code == 202


async def test_guesses_are_limited_for_each_address_across_accounts(configured: Settings, world: World) -> None:
    async with instance(configured, login_tries_per_address="3/41 minutes") as other:
        async with world.unchanged():
            statuses = [(await confirm(other.http, new_email(), "123456")).status_code for _ in range(4)]
        assert statuses == [422, 422, 422, 429]
        assert (await ask(other.http, new_email())).status_code == 429


@pytest.mark.usefixtures("working")
async def test_an_account_that_is_suspended_meanwhile_stays_shut(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    code = await code_for(http, person)
    await world.admin.post(f"/api/v1/admin/users/{person.id}/suspend", {"reason": "Fraud."})
    (before,) = await world.rows("users", id=person.id)
    async with world.unchanged():
        assert (await confirm(http, person.email, code)).status_code == 422
    assert await world.rows("users", id=person.id) == [before]


async def test_a_code_that_went_to_the_old_address_does_not_open_the_new_one(
    http: httpx.AsyncClient, world: World
) -> None:
    # Given a reset code in a mailbox that the owner has given up since, but somebody else can read
    person, platform = await world.person(), world.platform
    code = await codes.make(platform, person.id, "email", "reset", person.email)
    email = new_email()
    await world.execute("UPDATE users SET email = :email WHERE id = :id", email=email, id=person.id)
    # When it is used for the new address, then it is refused
    async with world.unchanged():
        assert (await confirm(http, email, code)).status_code == 422
    assert (await log_in(http, email, PASSWORD)).status_code == 200


async def test_a_reset_code_is_kept_hashed_beside_the_sign_up_codes(world: World) -> None:
    person = await world.person()
    code = await codes.make(world.platform, person.id, "email", "reset", person.email)
    client = world.platform.valkey.client
    kept: Any = await client.hgetall(f"auth:otp:{{{person.id}}}:email:reset")
    assert kept[b"value"].decode() == person.email
    assert code.encode() not in kept.values()
    assert 590 <= await client.ttl(f"auth:otp:{{{person.id}}}:email:reset") <= 600


@pytest.mark.usefixtures("working")
async def test_events_about_codes_reach_nobody(http: httpx.AsyncClient, world: World) -> None:
    # Given a code that was asked for
    person = await world.person()
    await code_for(http, person)
    # Then the event that drives the sender is nobody's news and holds no code
    asked = [row for row in await world.rows("events", subject_id=UUID(str(person.id))) if "code" in row["name"]]
    assert [row["payload"] for row in asked] == [{"user_id": str(person.id), "channel": "email", "purpose": "reset"}]
    assert await world.rows("notifications", event_id=asked[0]["id"]) == []


@pytest.mark.usefixtures("working")
async def test_a_second_code_takes_the_place_of_the_first(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person()
    first = await code_for(http, person)
    await forget_the_last_minute(world.platform, person.email)
    assert (await ask(http, person.email)).status_code == 202

    async def arrived() -> bool:
        return len(await codes_sent(http, person.email)) == 2

    await eventually(arrived)
    second = (await codes_sent(http, person.email))[0]
    if first != second:  # one time in a million they are the same
        assert (await confirm(http, person.email, first)).status_code == 422
    assert (await confirm(http, person.email, second)).status_code == 200

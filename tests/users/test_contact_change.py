"""Changing email or phone: only what a code has proved takes effect, and every other session ends."""

import asyncio

import httpx
import pytest

from app.core.tasks import end
from app.jobs import worker
from tests.support.world import World
from tests.users.steps import (
    code_sent,
    forget_the_last_minute,
    is_signed_in,
    log_in,
    logged_in,
    new_email,
    new_phone,
    wrong,
)

CHANGES = "/api/v1/me/contact-changes"
FRESH = {"email": new_email, "phone": new_phone}


@pytest.mark.parametrize("channel", ["email", "phone"])
@pytest.mark.usefixtures("working")
async def test_a_proved_contact_takes_effect_and_ends_every_other_session(
    http: httpx.AsyncClient, world: World, channel: str
) -> None:
    # Given two sessions, and a code that went to the new address
    person = await world.person()
    other = await logged_in(person)
    value = FRESH[channel]()
    assert (await person.post(CHANGES, {"channel": channel, "value": value})).status_code == 202
    code = await code_sent(http, value)
    # And until it comes back, nothing has changed
    assert (await person.get("/api/v1/me")).json()[channel] == getattr(person, channel)
    # When it does
    answer = await person.post(f"{CHANGES}/confirm", {"channel": channel, "code": code})
    # Then the new address is in force, and only this session goes on
    assert answer.status_code == 200
    assert answer.json()[channel] == value
    assert await is_signed_in(person)
    assert not await is_signed_in(other)
    (ended,) = [row for row in await world.rows("sessions", user_id=person.id) if row["revoked_at"]]
    assert ended["revoked_reason"] == "contact_changed"


@pytest.mark.usefixtures("working")
async def test_the_new_email_is_the_one_to_log_in_with(http: httpx.AsyncClient, world: World) -> None:
    person, value = await world.person(), new_email()
    await person.post(CHANGES, {"channel": "email", "value": value.upper()})
    code = await code_sent(http, value)
    await person.post(f"{CHANGES}/confirm", {"channel": "email", "code": code})
    assert (await log_in(http, value)).status_code == 200
    assert (await log_in(http, person.email)).status_code == 401


@pytest.mark.usefixtures("working")
async def test_a_code_proves_the_address_that_it_went_to_and_no_other(http: httpx.AsyncClient, world: World) -> None:
    """Asking for one's own address, and then for a stranger's before the code comes back."""
    person, own, strangers = await world.person(), new_email(), new_email()
    # Given a code that went to an own address
    assert (await person.post(CHANGES, {"channel": "email", "value": own})).status_code == 202
    code = await code_sent(http, own)
    # When a stranger's is asked for within the minute, and after it
    assert (await person.post(CHANGES, {"channel": "email", "value": strangers})).status_code == 429
    answer = await person.post(f"{CHANGES}/confirm", {"channel": "email", "code": code})
    # Then the code makes the own one take effect
    assert answer.json()["email"] == own


async def test_a_wish_that_is_not_carried_out_yet_changes_no_code(http: httpx.AsyncClient, world: World) -> None:
    # Given a code that went to an own address, and a later wish for a stranger's that no worker has seen yet
    person, own, strangers = await world.person(), new_email(), new_email()
    await person.post(CHANGES, {"channel": "email", "value": own})
    code = await code_by_worker(world, http, own)
    await forget_the_last_minute(world.platform, person.id)
    assert (await person.post(CHANGES, {"channel": "email", "value": strangers})).status_code == 202
    # When the code comes back, then it makes the own one take effect
    answer = await person.post(f"{CHANGES}/confirm", {"channel": "email", "code": code})
    assert answer.json()["email"] == own


@pytest.mark.usefixtures("working")
async def test_the_fifth_wrong_try_burns_the_code(http: httpx.AsyncClient, world: World) -> None:
    person, value = await world.person(), new_phone()
    await person.post(CHANGES, {"channel": "phone", "value": value})
    code = await code_sent(http, value)
    async with world.unchanged():
        for guess in (*[wrong(code)] * 5, code):
            answer = await person.post(f"{CHANGES}/confirm", {"channel": "phone", "code": guess})
            assert (answer.status_code, answer.json()["code"]) == (422, "code_refused")
    assert (await person.get("/api/v1/me")).json()["phone"] == person.phone


@pytest.mark.usefixtures("working")
async def test_a_code_is_good_for_its_own_account_and_channel(http: httpx.AsyncClient, world: World) -> None:
    person, stranger, value = await world.person(), await world.person(), new_email()
    await person.post(CHANGES, {"channel": "email", "value": value})
    code = await code_sent(http, value)
    async with world.unchanged():
        for who, channel in ((stranger, "email"), (person, "phone")):
            answer = await who.post(f"{CHANGES}/confirm", {"channel": channel, "code": code})
            assert answer.status_code == 422
    assert (await stranger.get("/api/v1/me")).json()["email"] == stranger.email


@pytest.mark.parametrize("channel", ["email", "phone"])
@pytest.mark.usefixtures("working")
async def test_a_contact_that_is_taken_is_refused_once_it_is_proved(
    http: httpx.AsyncClient, world: World, channel: str
) -> None:
    # Given two people who share a mailbox or a telephone
    person, owner = await world.person(), await world.person()
    value = getattr(owner, channel)
    await person.post(CHANGES, {"channel": channel, "value": value})
    code = await code_sent(http, value)
    # When the second wants the first one's contact, then it is named
    async with world.unchanged():
        answer = await person.post(f"{CHANGES}/confirm", {"channel": channel, "code": code})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (409, "already_taken", channel)
    assert (await person.get("/api/v1/me")).json()[channel] == getattr(person, channel)


async def test_asking_does_not_tell_whether_a_contact_is_taken(world: World) -> None:
    person, owner = await world.person(), await world.person()
    taken = await person.post(CHANGES, {"channel": "email", "value": owner.email})
    await forget_the_last_minute(world.platform, person.id)
    free = await person.post(CHANGES, {"channel": "email", "value": new_email()})
    assert (taken.status_code, taken.json()) == (free.status_code, free.json())


async def test_asking_is_limited_to_five_an_hour(world: World) -> None:
    person = await world.person()
    for _ in range(5):
        assert (await person.post(CHANGES, {"channel": "phone", "value": new_phone()})).status_code == 202
        await forget_the_last_minute(world.platform, person.id)
    async with world.unchanged():
        assert (await person.post(CHANGES, {"channel": "phone", "value": new_phone()})).status_code == 429


@pytest.mark.parametrize(
    ("channel", "value"),
    [
        ("email", "asha"), ("email", "+919876543210"), ("phone", "asha@mail.localbazaar.in"), ("phone", "9876543210"),
        ("phone", ""), ("email", "a@mail.localbazaar.in\nBcc: all"), ("fax", "+919876543210"), ("email", "x" * 255),
        ("email", "nul\x00@mail.localbazaar.in"),
    ],
)  # fmt: skip
async def test_what_is_no_contact_is_refused(world: World, channel: str, value: str) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await person.post(CHANGES, {"channel": channel, "value": value})
    assert answer.status_code == 422
    # And the refusal counts for nothing
    answer = await person.post(CHANGES, {"channel": "phone", "value": new_phone()})
    assert answer.status_code == 202


async def test_a_code_that_was_never_asked_for_is_refused(world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await person.post(f"{CHANGES}/confirm", {"channel": "email", "code": "123456"})
    assert (answer.status_code, answer.json()["code"]) == (422, "code_refused")


async def test_strangers_change_nothing(http: httpx.AsyncClient, world: World) -> None:
    async with world.unchanged():
        assert (await http.post(CHANGES, json={"channel": "email", "value": new_email()})).status_code == 401
        assert (await http.post(f"{CHANGES}/confirm", json={"channel": "email", "code": "1"})).status_code == 401


async def code_by_worker(world: World, http: httpx.AsyncClient, to: str) -> str:
    """The code, sent by a worker that runs for no longer than that takes."""
    task = asyncio.create_task(worker.work(world.platform))
    try:
        return await code_sent(http, to)
    finally:
        await end(task)

"""Web push as a browser gets it: encrypted for it alone, signed by us, once; and what happens when it does not come."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from py_vapid import Vapid02
from py_vapid.jwt import decode
from pydantic import SecretStr

from app.adapters.push import PAYLOAD_LIMIT_BYTES, PushAway
from app.core.config import Settings
from app.core.security import push_key
from app.core.tasks import end
from app.jobs import worker
from app.kernel.events import EVERYWHERE, PUSHED, Event, emit
from app.services.notifications import delivery
from tests.notifications.conftest import REFUSALS, Pushing
from tests.support.world import Person, World


class Knocked(Event):
    name: ClassVar = "test_door.knocked"
    messages: ClassVar = {"en": "{who} knocks.", "hi": "{who} दस्तक दे रहे हैं।"}
    channels: ClassVar = PUSHED
    door_id: UUID
    who: str


class BrokenOpen(Event):
    name: ClassVar = "test_door.broken_open"
    messages: ClassVar = {"en": "Somebody broke in.", "hi": "कोई घुस आया।"}
    channels: ClassVar = EVERYWHERE
    mandatory: ClassVar = True
    urgent: ClassVar = True
    door_id: UUID


@pytest.fixture
async def at_work(pushing: Pushing, nothing_waits: None) -> AsyncIterator[None]:
    """A worker that may ask the push service."""
    task = asyncio.create_task(worker.work(pushing.platform))
    yield
    await end(task)


async def knock(world: World, *people: Person, who: str = "Asha", door_id: UUID | None = None) -> UUID:
    """The id of the event."""
    door_id = door_id or uuid4()
    event = Knocked(door_id=door_id, who=who)
    return await told(world, event, door_id, *people)


async def told(world: World, event: Event, subject_id: UUID, *people: Person) -> UUID:
    async with world.platform.database.write() as session:
        to = [person.id for person in people]
        await emit(session, event, subject_type="test_door", subject_id=subject_id, to=to)
    rows = await world.rows("events", subject_id=subject_id)
    return UUID(str(max(rows, key=lambda row: int(row["seq"]))["id"]))


async def push(pushing: Pushing, device_id: str, event_id: UUID) -> None:
    """The job itself."""
    await delivery.push_event(pushing.platform, UUID(device_id), event_id)


async def is_registered(world: World, device_id: str) -> bool:
    return bool(await world.rows("push_devices", id=UUID(device_id)))


def claims_of(authorization: str) -> dict[str, Any]:
    """The claims, whose signature fits the key that stands beside them."""
    assert Vapid02.verify(authorization)
    parts = dict(part.split("=", 1) for part in authorization.removeprefix("vapid ").split(","))
    claims: dict[str, Any] = decode(parts["t"], parts["k"])
    return claims | {"key": parts["k"]}


@pytest.mark.usefixtures("at_work")
async def test_every_device_of_a_recipient_gets_the_envelope_in_the_readers_language(
    world: World, pushing: Pushing
) -> None:
    # Given somebody with two browsers, somebody who reads Hindi, and somebody without any
    person, hindi, nobody = await world.person(), await world.person(language="hi"), await world.person()
    browsers = [(await pushing.register(person))[0] for _ in range(2)]
    other, _ = await pushing.register(hindi)
    # When
    event_id = await knock(world, person, hindi, nobody)
    # Then each browser opens the same envelope that the feed shows
    for browser, reader in ((browsers[0], person), (browsers[1], person), (other, hindi)):
        [pushed] = await browser.wait_for(1)
        envelope = browser.opened(pushed)
        feed = (await reader.get("/api/v1/notifications")).json()["items"]
        assert envelope == next(item["event"] for item in feed if item["event"]["id"] == str(event_id))
    assert other.opened(other.pushed[0])["message"] == "Asha दस्तक दे रहे हैं।"
    # and the push service learns who sends it, and nothing of what
    [pushed] = browsers[0].pushed
    claims = claims_of(pushed.headers["authorization"])
    assert claims["aud"] == pushing.url
    assert claims["sub"] == "mailto:no-reply@localbazaar.in"
    assert claims["key"] == pushing.platform.push.public_key
    assert time.time() < claims["exp"] <= time.time() + 24 * 3600
    assert pushed.headers["content-encoding"] == "aes128gcm"
    assert (pushed.headers["ttl"], pushed.headers["urgency"]) == ("86400", "normal")
    assert b"Asha" not in pushed.body
    assert str(event_id) not in str(pushed.headers)


async def test_news_about_one_thing_replace_each_other_and_alarms_do_not(world: World, pushing: Pushing) -> None:
    person = await world.person()
    browser, device_id = await pushing.register(person)
    door_id = uuid4()
    for event_id in (
        await knock(world, person, door_id=door_id),
        await knock(world, person, door_id=door_id),
        await knock(world, person),
        await told(world, BrokenOpen(door_id=door_id), door_id, person),
    ):
        await push(pushing, device_id, event_id)
    topics = [pushed.headers.get("topic") for pushed in browser.pushed]
    assert topics[0] == topics[1] != topics[2]
    assert topics[3] is None
    assert topics[0] is not None
    assert len(topics[0]) <= 32
    assert [pushed.headers["urgency"] for pushed in browser.pushed] == ["normal"] * 3 + ["high"]


@pytest.mark.parametrize("who", ["x" * 5000, "द" * 5000])
async def test_what_is_too_large_to_be_pushed_is_shortened_to_what_leads_to_the_rest(
    world: World, pushing: Pushing, who: str
) -> None:
    person = await world.person(language="hi")
    browser, device_id = await pushing.register(person)
    door_id = uuid4()
    event_id = await knock(world, person, who=who, door_id=door_id)
    await push(pushing, device_id, event_id)
    [pushed] = browser.pushed
    assert len(pushed.body) <= 4096
    opened = browser.opened(pushed)
    assert (opened["id"], opened["name"], opened["door_id"]) == (str(event_id), Knocked.name, str(door_id))
    assert opened["message"] == who[:300]
    assert "who" not in opened


async def test_the_largest_envelope_that_fits_is_pushed_whole(world: World, pushing: Pushing) -> None:
    person = await world.person()
    browser, device_id = await pushing.register(person)
    row = {"id": uuid4(), "name": Knocked.name, "payload": {"door_id": str(uuid4()), "who": ""}, "language": "en"}
    [event] = await world.rows("events", id=await knock(world, person))
    empty = len(delivery.push_payload(row | {"created_at": event["created_at"]}))
    for extra, is_whole in ((0, True), (1, False)):
        # the name stands in the envelope twice; one more letter of another word makes the length odd
        length = (PAYLOAD_LIMIT_BYTES - empty) // 2 + extra
        await push(pushing, device_id, await knock(world, person, who="x" * length))
        assert ("who" in browser.opened(browser.pushed[-1])) is is_whole
    assert all(len(pushed.body) <= 4096 for pushed in browser.pushed)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_that_has_ended_takes_its_device_with_it(
    world: World, pushing: Pushing, status: int
) -> None:
    person = await world.person()
    browser, device_id = await pushing.register(person)
    _, stays = await pushing.register(person)
    browser.will_answer(status)
    await push(pushing, device_id, await knock(world, person))
    assert not await is_registered(world, device_id)
    assert await is_registered(world, stays)


@pytest.mark.parametrize("answer", [400, 401, 403, 413, (301, {"location": "http://127.0.0.1:1/stolen"})])
async def test_a_refused_message_is_dropped_and_repeated_refusals_take_the_device(
    world: World, pushing: Pushing, answer: Any
) -> None:
    # Given a device whose push service refuses all but one message
    person = await world.person()
    browser, device_id = await pushing.register(person)
    browser.will_answer(*[answer] * (REFUSALS - 1), 201, *[answer] * REFUSALS)
    # When they are pushed, then none is tried again, and those in a row are counted
    for attempt in range(2 * REFUSALS):
        assert await is_registered(world, device_id), attempt
        await push(pushing, device_id, await knock(world, person))
    assert len(browser.pushed) == 2 * REFUSALS
    assert not await is_registered(world, device_id)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (500, None), (503, None), (0, None), (429, None),
        ((429, {"retry-after": "7"}), 7), ((503, {"retry-after": "soon"}), None),
        ((503, {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}), 0),
    ],
)  # fmt: skip
async def test_a_push_service_that_is_away_or_busy_is_asked_again_when_it_says(
    world: World, pushing: Pushing, answer: Any, seconds: float | None
) -> None:
    person = await world.person()
    browser, device_id = await pushing.register(person)
    browser.will_answer(answer)
    event_id = await knock(world, person)
    with pytest.raises(PushAway) as away:
        await push(pushing, device_id, event_id)
    assert away.value.retry_after == seconds
    assert await is_registered(world, device_id)
    await push(pushing, device_id, event_id)
    assert browser.opened(browser.pushed[-1])["id"] == str(event_id)


@pytest.mark.usefixtures("at_work")
async def test_the_job_queue_waits_as_long_as_it_is_told_and_repeats_for_that_device_alone(
    world: World, pushing: Pushing
) -> None:
    # Given two browsers, one of whose push services is busy for two seconds
    person = await world.person()
    busy, _ = await pushing.register(person)
    other, _ = await pushing.register(person)
    busy.will_answer((429, {"retry-after": "2"}), 503)
    # When
    await knock(world, person)
    await busy.wait_for(1)
    began = time.monotonic()
    # Then the message comes after two seconds and a failure, and to the other browser once
    await busy.wait_for(2)
    assert 1.5 < time.monotonic() - began < 8
    pushed = await busy.wait_for(3)
    assert busy.opened(pushed[2])["who"] == "Asha"
    assert len(other.pushed) == 1


async def test_nothing_is_pushed_to_whom_it_is_none_of_their_business(world: World, pushing: Pushing) -> None:
    # Given a job on its way to a browser
    first, second = await world.person(), await world.person()
    browser, device_id = await pushing.register(first)
    event_id = await knock(world, first)
    # When somebody else has signed in there meanwhile, then it does not arrive
    await pushing.register(second, browser)
    await push(pushing, device_id, event_id)
    # nor when it was signed out, nor when the event is a day old, nor when one of them does not exist
    mine, my_device = await pushing.register(first)
    await world.execute(
        "UPDATE events SET created_at = now() - interval '25 hours' WHERE id = cast(:id AS uuid)", id=str(event_id)
    )
    await push(pushing, my_device, event_id)
    fresh = await knock(world, first)
    await push(pushing, str(uuid4()), fresh)
    await push(pushing, my_device, uuid4())
    assert (await first.post("/api/v1/auth/logout")).status_code == 200
    await push(pushing, my_device, fresh)
    assert browser.pushed == mine.pushed == []


async def test_a_device_is_not_asked_any_more_when_the_settings_change(
    world: World, pushing: Pushing, configured: Settings
) -> None:
    person = await world.person()
    browser, device_id = await pushing.register(person)
    event_id = await knock(world, person)
    # the platform of the other tests knows no push service on the loopback
    await delivery.push_event(world.platform, UUID(device_id), event_id)
    assert browser.pushed == []
    [device] = await world.rows("push_devices", id=UUID(device_id))
    assert device["refusals"] == 1


def test_the_key_is_the_setting_or_one_that_the_secret_leads_to(configured: Settings) -> None:
    def numbers(**changed: Any) -> Any:
        return push_key(configured.model_copy(update=changed)).public_key().public_numbers()

    given = SecretStr("A" * 42 + "E")
    assert numbers(push_private_key=given) == numbers(push_private_key=given, secret_keys=(SecretStr("x" * 32),))
    assert numbers() == numbers()
    assert numbers() != numbers(secret_keys=(SecretStr("x" * 32),))
    with pytest.raises(ValueError, match="private_value"):
        numbers(push_private_key=SecretStr("A" * 43))  # zero

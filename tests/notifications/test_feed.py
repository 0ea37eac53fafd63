"""The feed: what was addressed to an account, newest first, with what was read (realtime.md: Feed)."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from app.kernel.events import emit
from app.kernel.platform import Platform
from app.services.service_requests.events import SentBack
from tests.support.world import Person, World

FEED = "/api/v1/notifications"


async def tell(platform: Platform, *people: Person, words: str = "again") -> None:
    await asyncio.sleep(0.002)  # the feed is in order to the millisecond, and what comes with an account is in it
    async with platform.database.write() as session:
        event = SentBack(service_request_id=people[0].id, reason=words, status="IN_PROGRESS")
        to = [person.id for person in people]
        await emit(session, event, subject_type="service_request", subject_id=people[0].id, to=to)
    await asyncio.sleep(0.002)


async def feed(person: Person, **params: Any) -> dict[str, Any]:
    answer = await person.get(FEED, params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def words_of(page: dict[str, Any]) -> list[str]:
    return [item["event"]["reason"] for item in page["items"]]


@pytest.fixture
async def person(world: World) -> Person:
    """Somebody whose feed is empty: what came with the account is read and behind them."""
    made = await world.person()
    await world.execute("DELETE FROM notifications WHERE user_id = cast(:id AS uuid)", id=str(made.id))
    return made


async def test_events_come_newest_first_in_the_envelope_of_the_socket(
    platform: Platform, world: World, person: Person
) -> None:
    other = await world.person()
    async with person.socket() as socket:
        await tell(platform, person, words="one")
        await tell(platform, other, words="not yours")
        await tell(platform, person, other, words="two")
        heard = [await socket.recv() for _ in range(2)]
    page = await feed(person)
    assert words_of(page) == ["two", "one"]
    assert page["next_cursor"] is None
    assert [item["read"] for item in page["items"]] == [False, False]
    assert [item["event"]["id"] in str(frame) for item, frame in zip(page["items"], reversed(heard), strict=True)] == [
        True,
        True,
    ]
    envelope = page["items"][0]["event"]
    assert set(envelope) == {
        "id", "name", "type", "event", "timestamp", "message", "service_request_id", "reason", "status",
    }  # fmt: skip
    assert (envelope["name"], envelope["type"], envelope["event"]) == (
        "service_request.sent_back",
        "service_request_update",
        "SERVICE_REQUEST_SENT_BACK",
    )


async def test_one_is_marked_as_read_and_then_all(platform: Platform, world: World, person: Person) -> None:
    other = await world.person()
    for words in ("one", "two", "three"):
        await tell(platform, person, other, words=words)
    unread_of_other = (await feed(other))["unread_count"]
    event_id = (await feed(person))["items"][1]["event"]["id"]

    # When one is marked, then that one is, however often it is done
    for _ in range(2):
        assert (await person.post(f"{FEED}/{event_id}/read")).json() == {"marked": 1}
        page = await feed(person)
        assert [item["read"] for item in page["items"]] == [False, True, False]
        assert page["unread_count"] == 2
    assert words_of(await feed(person, unread=True)) == ["three", "one"]

    # When all are marked, then all are, once
    assert (await person.post(f"{FEED}/read")).json() == {"marked": 2}
    assert (await person.post(f"{FEED}/read")).json() == {"marked": 0}
    page = await feed(person)
    assert page["unread_count"] == 0
    assert all(item["read"] for item in page["items"])
    assert (await feed(person, unread=True))["items"] == []
    # and nobody else's
    assert (await feed(other))["unread_count"] == unread_of_other


async def test_what_was_not_addressed_to_me_i_cannot_mark(platform: Platform, world: World, person: Person) -> None:
    other = await world.person()
    await tell(platform, other)
    event_id = (await feed(other))["items"][0]["event"]["id"]
    for wanted in (event_id, str(uuid4())):
        assert (await person.post(f"{FEED}/{wanted}/read")).status_code == 404
    assert (await person.post(f"{FEED}/nonsense/read")).status_code == 422
    assert (await feed(other))["items"][0]["read"] is False


@pytest.mark.parametrize("unread", [False, True])
async def test_pages_hold_everything_once_while_new_events_come_in(
    platform: Platform, person: Person, unread: bool
) -> None:
    # Given
    for number in range(25):
        await tell(platform, person, words=str(number))
    # When it is read page by page, and more comes in from page to page
    seen: list[str] = []
    cursor: str | None = None
    sizes = []
    while True:
        page = await feed(person, limit=10, unread=unread, **({"cursor": cursor} if cursor else {}))
        seen += words_of(page)
        sizes.append(len(page["items"]))
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await tell(platform, person, words="new")
    # Then nothing is missing, and nothing came twice
    assert seen == [str(number) for number in reversed(range(25))]
    assert sizes == [10, 10, 5]
    assert words_of(await feed(person, limit=2)) == ["new", "new"]


async def test_a_page_that_ends_with_the_last_event_has_no_next_one(platform: Platform, person: Person) -> None:
    assert await feed(person) == {"items": [], "next_cursor": None, "unread_count": 0}
    for _ in range(5):
        await tell(platform, person)
    assert (await feed(person, limit=5))["next_cursor"] is None
    assert (await feed(person, limit=4))["next_cursor"] is not None


@pytest.mark.parametrize("params", [{"cursor": "!"}, {"cursor": "AAAA"}, {"limit": 0}, {"limit": 101}, {"more": 1}])
async def test_a_page_that_makes_no_sense_is_refused(person: Person, params: dict[str, Any]) -> None:
    assert (await person.get(FEED, params=params)).status_code == 422


async def test_unread_are_counted_up_to_a_thousand(platform: Platform, world: World, person: Person) -> None:
    await world.execute(
        "INSERT INTO notifications (user_id, event_id, seq) "
        "SELECT cast(:id AS uuid), gen_random_uuid(), n FROM generate_series(1, 1200) AS n",
        id=str(person.id),
    )
    assert (await feed(person))["unread_count"] == 1000


async def test_a_reader_of_hindi_reads_hindi_and_another_of_the_same_event_english(
    platform: Platform, world: World, person: Person
) -> None:
    hindi = await world.person(language="hi")
    await tell(platform, person, hindi, words="टपकता है")
    assert (await feed(person))["items"][0]["event"]["message"] == (
        "The customer sent the work back: टपकता है The race is open again."
    )
    assert (await feed(hindi))["items"][0]["event"]["message"] == ("ग्राहक ने काम वापस भेजा: टपकता है दौड़ फिर से खुली है।")
    # and whoever changes the language reads the past in it, too
    assert (await person.call("PATCH", "/api/v1/me", json={"language": "hi"})).status_code == 200
    page = await feed(person)
    assert page["items"][0]["event"]["message"].startswith("ग्राहक")


async def test_the_feed_needs_a_session(world: World) -> None:
    assert (await world.http.get(FEED)).status_code == 401
    assert (await world.http.post(f"{FEED}/read")).status_code == 401
    assert (await world.http.post(f"{FEED}/{uuid4()}/read")).status_code == 401


async def test_what_is_read_on_one_device_is_told_to_the_others_once_and_is_not_in_the_feed(
    platform: Platform, person: Person
) -> None:
    # Given three events, and another device
    for words in ("one", "two", "three"):
        await tell(platform, person, words=words)
    ids = [item["event"]["id"] for item in (await feed(person))["items"]]
    async with person.socket() as socket:
        # When one is marked twice, and then all
        for _ in range(2):
            await person.post(f"{FEED}/{ids[1]}/read")
        for _ in range(2):
            await person.post(f"{FEED}/read")
        told = [json.loads(await socket.recv()) for _ in range(2)]
        # Then the device hears what became read, each once
        await tell(platform, person, words="four")
        assert json.loads(await socket.recv())["reason"] == "four"
    assert [event["name"] for event in told] == ["notification.read"] * 2
    assert [event["quiet"] for event in told] == [True, True]
    assert told[0]["event_ids"] == [ids[1]]
    assert (sorted(told[1]["event_ids"]), told[1]["count"]) == (sorted([ids[0], ids[2]]), 2)
    # and the feed and its count know nothing of that
    page = await feed(person)
    assert words_of(page) == ["four", "three", "two", "one"]
    assert page["unread_count"] == 1


async def test_of_many_who_mark_at_once_each_event_is_told_as_read_once(
    platform: Platform, world: World, person: Person
) -> None:
    for number in range(10):
        await tell(platform, person, words=str(number))
    ids = [item["event"]["id"] for item in (await feed(person))["items"]]
    paths = [f"{FEED}/{event_id}/read" for event_id in ids] + [f"{FEED}/read"]
    await asyncio.gather(*(person.post(path) for path in paths * 4))
    marked = [
        event_id
        for row in await world.rows("events", subject_type="feed", subject_id=person.id)
        for event_id in row["payload"]["event_ids"]
    ]
    assert sorted(marked) == sorted(ids)

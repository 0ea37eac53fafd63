"""What a client may say on the socket, and what it hears when it says something else (realtime.md: Socket)."""

import asyncio
import json
from typing import ClassVar
from uuid import UUID

import pytest
from websockets.asyncio.client import ClientConnection

from app.core.ids import uuid7
from app.kernel.events import Event, emit
from app.kernel.platform import Platform
from tests.support.world import Person, World
from tests.ws.conftest import FRAMES_A_MINUTE
from tests.ws.sockets import Served, ask, closing_code, frame, resume, tell


@pytest.fixture
async def person(world: World) -> Person:
    return await world.person()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", "frame_unknown"),
        ("ping", "frame_unknown"),
        ("{", "frame_unknown"),
        ("null", "frame_unknown"),
        ("[]", "frame_unknown"),
        ("[" * 2000, "frame_unknown"),
        ('{"op":"nope"}', "frame_unknown"),
        ('{"op":null}', "frame_unknown"),
        ('{"op":{"op":"ping"}}', "frame_unknown"),
        ('{"op":"ping","more":1}', "frame_unknown"),
        ('{"op":"ack"}', "frame_unknown"),
        ('{"op":"ack","id":"last"}', "frame_unknown"),
        ('{"op":"subscribe"}', "frame_unknown"),
        ('{"op":"subscribe","topic":"service_request"}', "frame_unknown"),
        ('{"op":"subscribe","topic":"service_request:1"}', "frame_unknown"),
        ('{"op":"subscribe","topic":["service_request:01a1fe0e-d46c-70a0-b4f0-8d734e5268da"]}', "frame_unknown"),
        ('{"op":"subscribe","topic":"service_request:01a1fe0e-d46c-70a0-b4f0-8d734e5268da\\u0000"}', "frame_unknown"),
        ('{"op":"subscribe","topic":"service_request:01a1fe0e-d46c-70a0-b4f0-8d734e5268da\\n"}', "frame_unknown"),
        ('{"op":"subscribe","topic":"nothing:01a1fe0e-d46c-70a0-b4f0-8d734e5268da"}', "topic_unknown"),
        ('{"op":"typing","topic":"service_request:01a1fe0e-d46c-70a0-b4f0-8d734e5268da"}', "topic_not_followed"),
        ('{"op":"unsubscribe","topic":"service_request:01a1fe0e-d46c-70a0-b4f0-8d734e5268da"}', "topic_not_followed"),
        (
            '{"op":"position","topic":"service_request:01a1fe0e-d46c-70a0-b4f0-8d734e5268da","latitude":1,"longitude":1}',
            "topic_not_followed",
        ),
        (
            '{"op":"position","topic":"service_request:01a1fe0e-d46c-70a0-b4f0-8d734e5268da","latitude":91,"longitude":1}',
            "frame_unknown",
        ),
        (
            '{"op":"position","topic":"service_request:01a1fe0e-d46c-70a0-b4f0-8d734e5268da","latitude":NaN,"longitude":1}',
            "frame_unknown",
        ),
        ('{"op":"resume","after":"latest"}', "frame_unknown"),
        ('{"op":"resume","after":17}', "frame_unknown"),
        ('{"op":"ping\\ud800"}', "frame_unknown"),
        ('{"op":"\\u0000"}', "frame_unknown"),
        ("1e999", "frame_unknown"),
        ('{"op":"ping"}' + " " * 5000, "frame_refused"),
        (b'{"op":"ping"}', "frame_refused"),
        (b"\x00\xff\xfe", "frame_refused"),
    ],
)
async def test_what_makes_no_sense_is_answered_with_an_error_and_the_socket_lives_on(
    small: Served, platform: Platform, person: Person, said: str | bytes, code: str
) -> None:
    socket = await small.open(person)
    answer = await ask(socket, said)
    assert (answer["type"], answer["code"]) == ("error", code)
    assert await ask(socket, {"op": "ping"}) == {"type": "pong"}
    await tell(platform.database, person)
    assert (await frame(socket))["event"] == "SERVICE_REQUEST_SENT_BACK"
    await socket.close()


async def test_a_frame_may_come_in_pieces(small: Served, person: Person) -> None:
    socket = await small.open(person)
    await socket.send(['{"op":', '"ping"', "}"])
    assert await frame(socket) == {"type": "pong"}
    await socket.close()


async def test_nonsense_again_and_again_ends_the_socket(small: Served, person: Person) -> None:
    socket = await small.open(person)
    for _ in range(11):
        await socket.send("?")
    assert await closing_code(socket) == 4408


async def test_too_many_frames_end_the_socket_even_if_they_make_sense(small: Served, person: Person) -> None:
    socket = await small.open(person)
    for _ in range(FRAMES_A_MINUTE):
        assert await ask(socket, {"op": "ping"}) == {"type": "pong"}
    await socket.send('{"op":"ping"}')
    assert await closing_code(socket) == 4408


async def heard_by(socket: ClientConnection, platform: Platform, person: Person, *words: str) -> list[str]:
    """Commit events with these words; their ids, as the socket hears them."""
    for word in words:
        await tell(platform.database, person, words=word)
    events = [await frame(socket) for _ in words]
    assert [event["reason"] for event in events] == list(words)
    return [event["id"] for event in events]


async def test_after_a_resume_comes_what_was_missed_and_then_what_is_new(
    small: Served, platform: Platform, person: Person
) -> None:
    # Given a client that has the first of three events
    socket = await small.open(person)
    first, *_ = await heard_by(socket, platform, person, "one", "two", "three")
    await socket.close()
    # When it comes back and resumes
    socket = await small.open(person)
    await resume(socket, first)
    # Then
    assert [(await frame(socket))["reason"] for _ in range(2)] == ["two", "three"]
    await heard_by(socket, platform, person, "four")
    # and it may do so again on the same socket
    await resume(socket, first)
    assert [(await frame(socket))["reason"] for _ in range(3)] == ["two", "three", "four"]
    await socket.close()


async def test_a_long_absence_is_made_up_for_page_by_page(small: Served, platform: Platform, person: Person) -> None:
    socket = await small.open(person)
    [first] = await heard_by(socket, platform, person, "0")
    await socket.close()
    for number in range(1, 351):
        await tell(platform.database, person, words=str(number))
    socket = await small.open(person)
    await resume(socket, first)
    assert [(await frame(socket))["reason"] for _ in range(350)] == [str(number) for number in range(1, 351)]
    assert await ask(socket, {"op": "ping"}) == {"type": "pong"}
    await socket.close()


async def test_a_resume_that_is_sent_before_ready_loses_nothing(
    small: Served, platform: Platform, person: Person
) -> None:
    socket = await small.open(person)
    first, *_ = await heard_by(socket, platform, person, "one", "two")
    await socket.close()
    for _ in range(5):
        socket = await small.open(person)
        await socket.send(json.dumps({"op": "resume", "after": first}))
        heard = [await frame(socket) for _ in range(2)]
        assert heard[0] == {"type": "resumed", "after": first}
        assert heard[1]["reason"] == "two"
        await socket.close()


async def test_a_resume_after_an_event_that_is_not_there_is_an_error_frame(
    small: Served, platform: Platform, world: World, person: Person
) -> None:
    # Given an event of somebody else, and one of the client's own
    other = await world.person()
    others_socket, socket = await small.open(other), await small.open(person)
    [others_event] = await heard_by(others_socket, platform, other, "mine")
    await heard_by(socket, platform, person, "yours")
    # When and then
    for event_id in (str(uuid7()), str(UUID(int=0)), others_event):
        answer = await ask(socket, {"op": "resume", "after": event_id})
        assert (answer["type"], answer["code"]) == ("error", "resume_unknown")
    # and the socket goes on live, from where it was
    await heard_by(socket, platform, person, "more")
    await socket.close()
    await others_socket.close()


async def test_a_resume_after_an_event_of_last_week_is_too_old(
    small: Served, platform: Platform, world: World, person: Person
) -> None:
    socket = await small.open(person)
    old, young = await heard_by(socket, platform, person, "old", "young")
    for event_id, age in ((old, "7 days 1 minute"), (young, "6 days 23 hours")):
        await world.execute(
            "UPDATE events SET created_at = now() - cast(cast(:age AS text) AS interval) WHERE id = cast(:id AS uuid)",
            id=event_id,
            age=age,
        )
    answer = await ask(socket, {"op": "resume", "after": old})
    assert (answer["type"], answer["code"]) == ("error", "resume_too_old")
    await resume(socket, young)
    await heard_by(socket, platform, person, "live")
    await socket.close()


async def test_a_resume_that_the_database_cannot_serve_closes_the_socket(
    small: Served, platform: Platform, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    socket = await small.open(person)
    [first] = await heard_by(socket, platform, person, "one")

    async def away() -> None:
        raise OSError("away")

    # When
    with monkeypatch.context() as patched:
        patched.setattr(small.app.state.platform.database, "acquire", away)
        await socket.send(json.dumps({"op": "resume", "after": first}))
        # Then: live events only would let the client believe that it has everything
        assert await closing_code(socket) == 1013
    # and the others hear on as soon as the database is back
    socket = await small.open(person)
    await heard_by(socket, platform, person, "two")
    await socket.close()


class Unspeakable(Event):
    """Its sentence needs a field that it has not got."""

    name: ClassVar = "test.unspeakable"
    messages: ClassVar = {"en": "{missing}"}
    user_id: UUID


async def test_an_event_that_cannot_be_worded_ends_its_readers_socket_and_holds_up_nobody_else(
    small: Served, platform: Platform, world: World, person: Person
) -> None:
    other = await world.person()
    socket, others_socket = await small.open(person), await small.open(other)
    async with platform.database.write() as session:
        event = Unspeakable(user_id=person.id)
        await emit(session, event, subject_type="user", subject_id=person.id, to=[person.id])
    assert await closing_code(socket) == 1011
    await heard_by(others_socket, platform, other, "and on it goes")
    await others_socket.close()


async def test_whoever_leaves_while_events_come_in_leaves_nothing_behind(
    small: Served, platform: Platform, world: World
) -> None:
    # Given readers with more before them than one look takes
    people = [await world.person() for _ in range(5)]
    firsts = []
    for person in people:
        socket = await small.open(person)
        firsts += await heard_by(socket, platform, person, "one")
        await socket.close()
    for number in range(250):
        await tell(platform.database, *people, words=str(number))
    # When they break off in the middle of it
    for _ in range(5):
        sockets = [await small.open(person) for person in people]
        for socket, first in zip(sockets, firsts, strict=True):
            await socket.send(json.dumps({"op": "resume", "after": first}))
        await asyncio.sleep(0.01)
        for socket in sockets:
            socket.transport.abort()
    # Then the hub forgets them
    async with asyncio.timeout(5):
        while small.hub.count or small.hub.waiting:  # noqa: ASYNC110 - a poll is simpler here
            await asyncio.sleep(0.01)

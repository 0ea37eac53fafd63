"""A client says what it has acted on, and later resumes from there without remembering it (realtime.md: Socket)."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import bindparam, select
from websockets.asyncio.client import ClientConnection

from app.core.config import Settings
from app.core.database import Statement
from app.core.ids import uuid7
from app.kernel.platform import Platform
from app.models.users import sessions
from app.ws.acknowledgements import Acknowledgements
from tests.support.world import Person, World
from tests.ws.sockets import Served, ask, frame, served, tell
from tests.ws.test_hub import uncommitted

FLUSH_SECONDS = 0.1
_HOLD = Statement(select(sessions.c.id).where(sessions.c.id == bindparam("session_id")).with_for_update())


@pytest.fixture(scope="module")
async def app(configured: Settings) -> AsyncIterator[Served]:
    async with served(configured, acknowledgement_flush_seconds=FLUSH_SECONDS) as running:
        yield running


@pytest.fixture
async def person(world: World) -> Person:
    return await world.person()


async def hear(socket: ClientConnection, platform: Platform, person: Person, *words: str) -> list[str]:
    for word in words:
        await tell(platform.database, person, words=word)
    return [(await frame(socket))["id"] for _ in words]


async def acknowledge(socket: ClientConnection, *event_ids: str) -> None:
    """Acknowledge them; return when the server has read that."""
    for event_id in event_ids:
        await socket.send(f'{{"op":"ack","id":"{event_id}"}}')
    assert await ask(socket, {"op": "ping"}) == {"type": "pong"}


async def session_of(world: World, person: Person) -> UUID:
    [session] = await world.rows("sessions", user_id=person.id)
    session_id: UUID = session["id"]
    return session_id


async def stored(world: World, session_id: UUID) -> list[str]:
    return [str(row["event_id"]) for row in await world.rows("acknowledgements", session_id=session_id)]


async def until_stored(world: World, session_id: UUID, event_id: str) -> None:
    async with asyncio.timeout(5):
        while await stored(world, session_id) != [event_id]:  # noqa: ASYNC110 - the database tells no other way
            await asyncio.sleep(0.02)


async def test_a_resume_without_an_event_goes_on_from_the_last_acknowledged_one(
    app: Served, platform: Platform, world: World, person: Person
) -> None:
    # Given a client that has three events and has acted on two
    socket = await app.open(person)
    _, second, third = await hear(socket, platform, person, "one", "two", "three")
    await acknowledge(socket, second)
    await until_stored(world, await session_of(world, person), second)
    await socket.close()
    # When it comes back having forgotten everything
    socket = await app.open(person)
    assert await ask(socket, {"op": "resume"}) == {"type": "resumed", "after": second}
    # Then it gets the third, and what is new
    assert (await frame(socket))["id"] == third
    await hear(socket, platform, person, "four")
    await socket.close()


async def test_what_was_acknowledged_a_moment_ago_counts_though_it_is_not_stored_yet(
    configured: Settings, platform: Platform, world: World, person: Person
) -> None:
    async with served(configured, acknowledgement_flush_seconds=60) as slow:
        socket = await slow.open(person)
        first, second = await hear(socket, platform, person, "one", "two")
        await acknowledge(socket, first)
        assert await stored(world, await session_of(world, person)) == []
        assert await ask(socket, {"op": "resume"}) == {"type": "resumed", "after": first}
        assert (await frame(socket))["id"] == second
        await acknowledge(socket, second)
        await socket.close()
    # and whoever stops in an orderly way stores it first
    assert await stored(world, await session_of(world, person)) == [second]


async def test_and_what_is_being_stored_right_now_counts_too(
    app: Served, platform: Platform, world: World, person: Person
) -> None:
    socket = await app.open(person)
    [only] = await hear(socket, platform, person, "one")
    async with platform.database.write() as session:
        # Given an acknowledgement on its way into the database, where it has to wait
        assert await session.first(_HOLD, session_id=await session_of(world, person))
        await acknowledge(socket, only)
        await world.waits(1)
        # When
        await socket.send('{"op":"resume"}')
        await world.waits(2)
    # Then
    assert await frame(socket) == {"type": "resumed", "after": only}
    await socket.close()


async def test_without_any_acknowledgement_there_is_nothing_to_resume_from(app: Served, person: Person) -> None:
    socket = await app.open(person)
    assert (await ask(socket, {"op": "resume"}))["code"] == "resume_unknown"
    await socket.close()


async def test_an_older_event_does_not_take_the_place_of_a_newer_one(
    app: Served, platform: Platform, world: World, person: Person
) -> None:
    session_id = await session_of(world, person)
    socket = await app.open(person)
    first, second, third = await hear(socket, platform, person, "one", "two", "three")
    # neither within one batch
    await acknowledge(socket, third, first, second)
    await until_stored(world, session_id, third)
    # nor in a later one
    await acknowledge(socket, first)
    assert await ask(socket, {"op": "resume"}) == {"type": "resumed", "after": third}
    assert await stored(world, session_id) == [third]
    await socket.close()


async def test_the_order_is_that_of_the_stream_and_not_of_the_numbers(
    app: Served, platform: Platform, world: World, person: Person
) -> None:
    # Given an event with a small number, whose transaction stays open while the next one is sent
    session_id = await session_of(world, person)
    socket = await app.open(person)
    async with uncommitted(platform, person.id, "late"):
        [early] = await hear(socket, platform, person, "early")
    late = (await frame(socket))["id"]
    numbers = {row["id"]: row["seq"] for row in await world.rows("events")}
    assert numbers[UUID(late)] < numbers[UUID(early)]
    [after] = await hear(socket, platform, person, "after")
    # When both are acknowledged as they came
    await acknowledge(socket, early, late)
    answer = await ask(socket, {"op": "resume"})
    # Then the place that was stored leaves out neither them nor what follows, whichever of them it names
    heard = [(await frame(socket))["id"]]
    while heard[-1] != after:
        heard.append((await frame(socket))["id"])
    assert answer["after"] in (early, late)
    assert set(heard) | {answer["after"]} == {early, late, after}
    # and when the one after them is acknowledged, and then again the late one, the later place stays
    await acknowledge(socket, after, late)
    await until_stored(world, session_id, after)
    await socket.close()


async def test_what_was_not_addressed_to_the_user_is_no_acknowledgement(
    app: Served, platform: Platform, world: World, person: Person
) -> None:
    # Given an event of somebody else, and one's own
    other = await world.person()
    others_socket, socket = await app.open(other), await app.open(person)
    [others_event] = await hear(others_socket, platform, other, "mine")
    [own] = await hear(socket, platform, person, "yours")
    # When
    await acknowledge(socket, own, others_event, str(uuid7()), str(UUID(int=0)))
    # Then
    assert await ask(socket, {"op": "resume"}) == {"type": "resumed", "after": own}
    assert await stored(world, await session_of(world, person)) == [own]
    await socket.close()
    await others_socket.close()


async def test_each_session_has_its_own_place(app: Served, platform: Platform, world: World, person: Person) -> None:
    # Given two devices of one user, of which one is ahead
    answer = await app.http.post(
        "/api/v1/auth/login", json={"email": person.email, "password": "correct horse battery 7", "device": "other"}
    )
    there = app.seen_by(person)
    there.access_token = answer.json()["access_token"]
    socket, others_socket = await app.open(person), await app.open(there)
    first, second = await hear(socket, platform, person, "one", "two")
    await acknowledge(socket, second)
    await acknowledge_after(others_socket, first)
    # When and then
    assert (await ask(socket, {"op": "resume"}))["after"] == second
    assert (await ask(others_socket, {"op": "resume"}))["after"] == first
    await socket.close()
    await others_socket.close()


async def acknowledge_after(socket: ClientConnection, event_id: str) -> None:
    """As `acknowledge`, on a socket on which two events wait to be read."""
    for _ in range(2):
        await frame(socket)
    await acknowledge(socket, event_id)


async def test_many_acknowledgements_cost_one_statement_and_little_memory(
    platform: Platform, world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a session that acknowledges without end
    session_id = await session_of(world, person)
    gathered = Acknowledgements(platform)
    await tell(platform.database, person, words="one")
    event = max(await world.rows("notifications", user_id=person.id), key=lambda row: int(row["seq"]))
    for _ in range(10_000):
        gathered.note(session_id, uuid7())
    gathered.note(session_id, event["event_id"])
    assert sum(len(kept) for kept in gathered._gathered.values()) <= 200
    # When it is stored while the database is away
    with monkeypatch.context() as patched:

        async def away() -> None:
            raise OSError("away")

        patched.setattr(platform.database, "acquire", away)
        with pytest.raises(Exception, match="away"):
            await gathered.store()
    assert await stored(world, session_id) == []
    # Then nothing is lost, and the next time stores it
    await gathered.store()
    assert await stored(world, session_id) == [str(event["event_id"])]


async def test_of_processes_that_store_at_once_the_one_that_is_ahead_wins(
    platform: Platform, world: World, person: Person
) -> None:
    people = [person, *[await world.person() for _ in range(4)]]
    session_ids = [await session_of(world, each) for each in people]
    for number in range(20):
        await tell(platform.database, *people, words=str(number))
    events = [
        row["event_id"]
        for row in sorted(await world.rows("notifications", user_id=person.id), key=lambda row: int(row["seq"]))
    ][-20:]
    processes = [Acknowledgements(platform) for _ in events]
    for index, process in enumerate(processes):
        for session_id in session_ids if index % 2 else reversed(session_ids):
            process.note(session_id, events[index])
    await asyncio.gather(*(process.store() for process in processes))
    for session_id in session_ids:
        assert await stored(world, session_id) == [str(events[-1])]

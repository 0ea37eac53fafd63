"""The hub, step by step: interleavings that a race would meet once in a thousand times."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from pydantic_core import from_json
from sqlalchemy import Integer, Uuid, bindparam, text

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.ids import uuid7
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.services.service_requests.events import SentBack
from app.services.users.sessions import LiveSessions
from app.ws.hub import Connection, Hub
from app.ws.position import AHEAD, PAGE, TOGETHER
from tests.support.world import World

_MANY = Statement(
    text("""
WITH told AS (
    INSERT INTO events (id, name, subject_type, subject_id, payload)
    SELECT gen_random_uuid(), 'service_request.sent_back', 'service_request', :user_id,
           jsonb_build_object('service_request_id', :user_id, 'reason', n::text, 'status', 'IN_PROGRESS')
    FROM generate_series(1, :count) n
    RETURNING id, seq
)
INSERT INTO notifications (user_id, event_id, seq) SELECT :user_id, id, seq FROM told
""").bindparams(bindparam("user_id", type_=Uuid), bindparam("count", type_=Integer))
)


@pytest.fixture
def hub(platform: Platform) -> Hub:
    """Not started: it looks when the test says so."""
    return Hub(platform, LiveSessions(platform))


@pytest.fixture
def user_id() -> UUID:
    return uuid7()


async def write(session: Session, user_id: UUID, words: str) -> None:
    event = SentBack(service_request_id=user_id, reason=words, status="IN_PROGRESS")
    await emit(session, event, subject_type="service_request", subject_id=user_id, to=[user_id])


async def commit(platform: Platform, user_id: UUID, *words: str) -> None:
    for word in words:
        async with platform.database.write() as session:
            await write(session, user_id, word)


@asynccontextmanager
async def uncommitted(platform: Platform, user_id: UUID, words: str) -> AsyncIterator[None]:
    """An event that is numbered at the beginning of the block and committed at its end."""
    async with platform.database.write() as session:
        await write(session, user_id, words)
        yield


async def joined(hub: Hub, user_id: UUID) -> Connection:
    connection = Connection(Actor(user_id), uuid7())
    hub.join(connection)
    await hub.look()
    assert taken(connection) == [{"type": "ready"}]
    return connection


def taken(connection: Connection) -> list[Any]:
    """The frames that wait to be written, as if they were written now."""
    frames = [from_json(frame) for frame in connection.frames]
    connection.frames.clear()
    return frames


def words_of(frames: list[Any]) -> list[str]:
    return [frame["reason"] for frame in frames if "event" in frame]


async def look_to_the_end(hub: Hub, connection: Connection) -> list[Any]:
    frames = []
    while hub.waiting:
        await hub.look()
        frames += taken(connection)
    return frames


async def test_a_join_reads_nothing_of_the_past_and_misses_nothing_of_the_future(
    hub: Hub, platform: Platform, user_id: UUID
) -> None:
    await commit(platform, user_id, *(str(number) for number in range(3)))
    async with uncommitted(platform, user_id, "under way"):
        connection = await joined(hub, user_id)
        await commit(platform, user_id, "overtakes")
        hub.look_for([user_id])
        assert words_of(await look_to_the_end(hub, connection)) == ["overtakes"]
    hub.look_for([user_id])
    assert words_of(await look_to_the_end(hub, connection)) == ["under way"]
    hub.look_for([user_id])
    assert await look_to_the_end(hub, connection) == []


async def test_what_commits_between_two_pages_is_sent_before_what_was_written_after_it(
    hub: Hub, platform: Platform, user_id: UUID
) -> None:
    # Given a reader that is a page and a half behind, and an old event that is not committed yet
    connection = await joined(hub, user_id)
    async with uncommitted(platform, user_id, "old"):
        await commit(platform, user_id, *(str(number) for number in range(PAGE + PAGE // 2)))
        hub.look_for([user_id])
        await hub.look()
        first_page = taken(connection)
    # When it is committed after the first page was taken, and then another is written
    await commit(platform, user_id, "new")
    rest = await look_to_the_end(hub, connection)
    # Then the old one comes first: a reader that has the new one and resumes after it would never get the old one
    words = words_of(rest)
    assert words.index("old") < words.index("new")
    assert len(first_page) == PAGE
    assert sorted(words_of(first_page) + words) == sorted(
        ["old", "new", *(str(number) for number in range(PAGE + PAGE // 2))]
    )


@pytest.mark.parametrize("cut", [1, PAGE - 1, PAGE, PAGE + 1, PAGE + 30])
async def test_a_reader_that_breaks_off_anywhere_and_resumes_misses_nothing(
    hub: Hub, platform: Platform, user_id: UUID, cut: int
) -> None:
    # Given as above
    connection = await joined(hub, user_id)
    async with uncommitted(platform, user_id, "old"):
        await commit(platform, user_id, *(str(number) for number in range(PAGE + PAGE // 2)))
        hub.look_for([user_id])
        await hub.look()
        frames = taken(connection)
    await commit(platform, user_id, "new")
    frames += await look_to_the_end(hub, connection)
    # When it has only the first so many, and resumes on a new connection
    hub.leave(connection)
    has = frames[:cut]
    connection = await joined(hub, user_id)
    assert await hub.resume(connection, UUID(has[-1]["id"])) is None
    frames = await look_to_the_end(hub, connection)
    # Then it gets all the others, and not the one that it named
    assert frames[0] == {"type": "resumed", "after": has[-1]["id"]}
    assert set(words_of(has)) | set(words_of(frames)) == {
        "old",
        "new",
        *(str(number) for number in range(PAGE + PAGE // 2)),
    }
    assert has[-1]["id"] not in {frame.get("id") for frame in frames}


async def test_a_resume_while_the_hub_looks_starts_over(
    hub: Hub, platform: Platform, user_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a reader with two events behind it and one before it
    connection = await joined(hub, user_id)
    await commit(platform, user_id, "first", "second")
    hub.look_for([user_id])
    first, _ = await look_to_the_end(hub, connection)
    await commit(platform, user_id, "third")
    hub.look_for([user_id])
    fetch = ReadSession.all

    async def fetch_and_resume(session: ReadSession, *statement: Any, **values: Any) -> Any:
        found = await fetch(session, *statement, **values)
        assert await hub.resume(connection, UUID(first["id"])) is None
        return found

    # When it resumes after the first one just when a look has found the third
    with monkeypatch.context() as patched:
        patched.setattr(ReadSession, "all", fetch_and_resume)
        await hub.look()
    frames = taken(connection) + await look_to_the_end(hub, connection)
    # Then everything after the first follows, in order
    assert frames[0] == {"type": "resumed", "after": first["id"]}
    assert words_of(frames) == ["second", "third"]


async def test_a_reader_that_left_during_a_look_is_not_waited_for(hub: Hub, platform: Platform, user_id: UUID) -> None:
    connection = await joined(hub, user_id)
    await commit(platform, user_id, *(str(number) for number in range(PAGE + 1)))
    hub.look_for([user_id])
    looking = asyncio.create_task(hub.look())
    await asyncio.sleep(0)
    hub.leave(connection)
    await looking
    assert (hub.count, hub.waiting) == (0, 0)


async def test_after_a_look_that_failed_everybody_still_waits(
    hub: Hub, platform: Platform, user_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await joined(hub, user_id)
    await commit(platform, user_id, "one")
    hub.look_for([user_id])

    async def away() -> None:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(platform.watching, "acquire", away)
        await hub.look()
    assert hub.waiting == 1
    assert words_of(await look_to_the_end(hub, connection)) == ["one"]


async def test_a_reader_without_room_is_passed_over_until_it_has_read(
    hub: Hub, platform: Platform, user_id: UUID
) -> None:
    connection = await joined(hub, user_id)
    await commit(platform, user_id, *(str(number) for number in range(2 * PAGE + 5)))
    hub.look_for([user_id])
    await hub.look()
    for _ in range(3):
        await hub.look()
    assert len(connection.frames) == PAGE
    frames = taken(connection)
    hub.has_room_again(connection)
    frames += await look_to_the_end(hub, connection)
    assert words_of(frames) == [str(number) for number in range(2 * PAGE + 5)]


async def test_a_long_transaction_elsewhere_makes_nothing_be_sent_or_read_twice(
    hub: Hub, platform: Platform, user_id: UUID
) -> None:
    connection = await joined(hub, user_id)
    heard = []
    async with uncommitted(platform, uuid7(), "of somebody else"):
        for number in range(300):
            await commit(platform, user_id, str(number))
            hub.look_for([user_id])
            heard += words_of(await look_to_the_end(hub, connection))
        assert heard == [str(number) for number in range(300)]
        # what was sent is not so much as fetched again: it would be three pages by now
        hub.look_for([user_id])
        await hub.look()
        assert (connection.position.after, hub.waiting, len(connection.frames)) == (0, 0, 0)


async def test_a_loop_of_the_hub_that_breaks_is_started_again(
    platform: Platform, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [session] = await world.rows("sessions", user_id=(await world.person()).id)
    hub = Hub(platform, LiveSessions(platform))
    monkeypatch.setattr(hub, "look", _broken_once(hub.look))
    await hub.start()
    try:
        connection = Connection(Actor(session["user_id"]), session["id"])
        hub.join(connection)
        until = time.monotonic() + 5
        while not connection.frames:
            assert time.monotonic() < until, "the hub never looked again"
            await asyncio.sleep(0.01)
        assert taken(connection) == [{"type": "ready"}]
    finally:
        await hub.stop()


def _broken_once(look: Callable[[], Any]) -> Callable[[], Any]:
    calls = 0

    async def broken() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        await look()

    return broken


async def test_who_joins_while_the_hub_sweeps_is_not_forgotten_by_it(
    hub: Hub, platform: Platform, user_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a hub that has swept before, and nobody hints
    monkeypatch.setattr(platform.valkey, "here", defaultdict(list))
    await hub.look_for_unheard()
    fetch = ReadSession.all

    async def join_and_fetch(session: ReadSession, *statement: Any, **values: Any) -> Any:
        patched.undo()
        joining.append(await joined(hub, user_id))
        await commit(platform, user_id, "one")
        return await fetch(session, *statement, **values)

    # When somebody joins and an event is committed between the beginning of a sweep and its look
    joining: list[Connection] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ReadSession, "all", join_and_fetch)
        await hub.look_for_unheard()
    # Then this sweep finds it, for the next asks about what follows only
    [connection] = joining
    assert words_of(await look_to_the_end(hub, connection)) == ["one"]
    await hub.look_for_unheard()
    assert hub.waiting == 0


async def test_a_reader_further_behind_than_one_look_finds_gets_everything_in_order(
    hub: Hub, platform: Platform, user_id: UUID
) -> None:
    # Given a reader that has one event, an old one that is not committed yet, and more than a look finds
    connection = await joined(hub, user_id)
    await commit(platform, user_id, "first")
    hub.look_for([user_id])
    [first] = await look_to_the_end(hub, connection)
    async with uncommitted(platform, user_id, "old"):
        async with platform.database.write() as session:
            await session.execute(_MANY, user_id=user_id, count=AHEAD + PAGE + PAGE // 2)
        # When it resumes, and the old one is committed after the first page, and then another is written
        assert await hub.resume(connection, UUID(first["id"])) is None
        await hub.look()
        resumed, *frames = taken(connection)
    await commit(platform, user_id, "new")
    frames += await look_to_the_end(hub, connection)
    # Then all come once, each page of one snapshot and in the order of the numbers, and the old one before the new
    assert resumed["type"] == "resumed"
    assert len({frame["id"] for frame in frames}) == len(frames)
    words = words_of(frames)
    assert [word for word in words if word.isdigit()] == [str(n) for n in range(1, AHEAD + PAGE + PAGE // 2 + 1)]
    assert words[-2:] == ["old", "new"]


async def test_readers_of_the_same_words_share_their_bytes(hub: Hub, platform: Platform) -> None:
    english, hindi = (uuid7(), uuid7()), uuid7()
    connections = [await joined(hub, user_id) for user_id in english]
    other = Connection(Actor(hindi, language="hi"), uuid7())
    hub.join(other)
    await hub.look()
    taken(other)
    event = SentBack(service_request_id=hindi, reason="one", status="IN_PROGRESS")
    async with platform.database.write() as session:
        await emit(session, event, subject_type="service_request", subject_id=hindi, to=[*english, hindi])
    hub.look_for([*english, hindi])
    await hub.look()
    [one], [two] = (connection.frames for connection in connections)
    assert one is two
    assert from_json(one)["message"] != taken(other)[0]["message"]


async def test_many_who_catch_up_at_once_share_what_one_look_takes(platform: Platform, hub: Hub) -> None:
    # Given many readers that are behind by much
    users, behind = [uuid7() for _ in range(40)], PAGE + 3
    connections = [await joined(hub, user_id) for user_id in users]
    async with platform.database.write() as session:
        for user_id in users:
            await session.execute(_MANY, user_id=user_id, count=behind)
    hub.look_for(users)
    # When the hub looks for them all together
    heard = [0] * len(users)
    looks = 0
    while hub.waiting:
        await hub.look()
        looks += 1
        taken_now = [len(taken(connection)) for connection in connections]
        heard = [before + now for before, now in zip(heard, taken_now, strict=True)]
        # Then no look reads more than others may wait for
        assert sum(taken_now) <= TOGETHER
    # and in the end each has all, no look having been wasted on few
    assert heard == [behind] * len(users)
    assert looks < 2 + 1.5 * len(users) * behind / TOGETHER

"""realtime.md's promise, over processes: nothing that was committed is missed, in order for each subject."""

import asyncio
import contextlib
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from pydantic_core import from_json
from sqlalchemy import bindparam, func, select

from app.core.config import Settings
from app.core.database import Database, Statement
from app.core.ids import uuid7
from app.core.tasks import end
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.services.service_requests.events import SentBack
from tests.processes.servers import Server
from tests.support.world import Person, World

EVENTS = int(os.environ.get("LOCALBAZAAR_EVENTS", "20000"))
WRITERS = 16
CATCH_UP_SECONDS = 25  # it takes one or two; a machine may be busy with other things
SUBJECTS = [uuid7() for _ in range(40)]
_LOCK = Statement(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("key"), 0))))

Event = dict[str, Any]


@pytest.fixture
async def database(configured: Settings, platform: Platform) -> AsyncIterator[Database]:
    """A pool in which every writer has a connection."""
    settings = configured.model_copy(update={"database_pool_size": WRITERS + 2})
    opened = Database(settings, after_commit=platform.valkey.hint)
    yield opened
    await opened.close()


class Stream:
    """Events for one user, written by many transactions whose commits overtake each other."""

    def __init__(self, database: Database, user_id: UUID) -> None:
        self._database, self._user_id = database, user_id
        self.counts: defaultdict[UUID, int] = defaultdict(int)

    async def write(self, subject_id: UUID, count: int, hold_seconds: float) -> None:
        """Some events of one subject in one transaction, kept open for so long after they were numbered."""
        async with self._database.write() as session:
            # As a subject's row lock does: who comes next is numbered behind, and commits behind.
            await session.scalar(_LOCK, key=str(subject_id))
            for _ in range(count):
                self.counts[subject_id] += 1
                reason = str(self.counts[subject_id])
                event = SentBack(service_request_id=subject_id, reason=reason, status="IN_PROGRESS")
                await emit(session, event, subject_type="service_request", subject_id=subject_id, to=[self._user_id])
            await asyncio.sleep(hold_seconds)

    async def fill(self, total: int) -> None:
        left = total

        async def writer() -> None:
            nonlocal left
            while left > 0:
                count = min(left, random.randint(1, 7))
                left -= count
                await self.write(random.choice(SUBJECTS), count, random.random() * 0.02)

        await asyncio.gather(*(writer() for _ in range(WRITERS)))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def assert_whole(self, events: list[Event]) -> None:
        """Every event came, and those of each subject in order."""
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        for event in events:
            numbers[event["service_request_id"]].append(int(event["reason"]))
        wanted = {str(subject): list(range(1, count + 1)) for subject, count in self.counts.items()}
        missed = {subject: missing for subject in wanted if (missing := set(wanted[subject]) - set(numbers[subject]))}
        assert not missed
        overtaken = [subject for subject in wanted if numbers[subject] != wanted[subject]]
        assert not overtaken


class Reader:
    """A client as `app/ws/protocol.py` wants it: drops duplicates by id, and resumes after the last event it has."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.last: str | None = None
        self.duplicates = 0
        self.connections = 0

    async def read(self, person: Person, seconds: float) -> None:
        """One connection that breaks off after so long."""
        self.connections += 1
        async with person.socket() as socket:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    if self.last is not None:
                        await socket.send(json.dumps({"op": "resume", "after": self.last}))
                        while from_json(await socket.recv()) != {"type": "resumed", "after": self.last}:
                            pass
                    async for frame in socket:
                        self._take(from_json(frame))
            socket.transport.abort()

    def _take(self, event: Event) -> None:
        assert "event" in event, event
        self.last = event["id"]
        self.duplicates += event["id"] in self.events
        self.events.setdefault(event["id"], event)

    async def has(self, count: int, within_seconds: float) -> bool:
        """Wait until so many events have come."""
        until = time.monotonic() + within_seconds
        while len(self.events) < count and time.monotonic() < until:  # noqa: ASYNC110 - a poll is simpler here
            await asyncio.sleep(0.05)
        return len(self.events) >= count


async def test_a_client_that_reconnects_every_second_misses_nothing(
    world: World, servers: list[Server], database: Database
) -> None:
    # Given a reader that has heard one event, and another that stays connected
    person = await world.person()
    stream = Stream(database, person.id)
    reader, steady = Reader(), Reader()
    listening = asyncio.create_task(steady.read(servers[2].seen_by(person), 300))
    first = asyncio.create_task(reader.read(servers[0].seen_by(person), 1))
    await asyncio.sleep(0.8)
    await stream.write(SUBJECTS[0], 1, 0)
    await first
    assert len(reader.events) == 1

    # When 16 writers commit in any order, one of them after 3 seconds, and the reader goes from process to process
    began = time.monotonic()
    writing = [asyncio.create_task(stream.fill(EVENTS - 1 - 5)), asyncio.create_task(stream.write(uuid7(), 5, 3))]
    turn = 0
    while not all(task.done() for task in writing):
        await reader.read(servers[turn % 2].seen_by(person), 1)
        turn += 1
    for task in writing:
        await task
    wrote = time.monotonic() - began
    while len(reader.events) < EVENTS and time.monotonic() - began < wrote + CATCH_UP_SECONDS:
        await reader.read(servers[turn % 2].seen_by(person), 1)
        turn += 1
    caught_up = time.monotonic() - began
    assert await steady.has(EVENTS, CATCH_UP_SECONDS)
    await end(listening)

    # Then both have everything, in order for each subject
    print(
        f"{stream.total} events written in {wrote:.1f} s, caught up after {caught_up:.1f} s, "
        f"{reader.connections} connections, {reader.duplicates} duplicates, {steady.duplicates} without reconnecting"
    )
    assert stream.total == EVENTS
    stream.assert_whole(list(steady.events.values()))
    stream.assert_whole(list(reader.events.values()))
    # and nothing was sent twice to the one who did not ask for it
    assert steady.duplicates == 0

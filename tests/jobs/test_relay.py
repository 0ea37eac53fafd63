"""The relay turns every event into its jobs once, whatever dies and however many relays there are."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
from pydantic_core import from_json
from sqlalchemy import text

from app.core.config import Settings
from app.core.database import Database, Statement
from app.core.tasks import end
from app.jobs import relay
from app.kernel.events import MAILED, Event, emit
from app.kernel.platform import Platform
from tests.support.relayed import relay_everything
from tests.support.world import World

_QUEUED = Statement(text("SELECT entrypoint, payload FROM pgqueuer"))


class Noted(Event):
    """An event whose recipients get a mail."""

    name: ClassVar = "test.noted"
    messages: ClassVar = {"en": "Noted."}
    channels: ClassVar = MAILED
    user_id: UUID


class Unnoted(Event):
    name: ClassVar = "test.unnoted"
    messages: ClassVar = {"en": "Not noted."}
    user_id: UUID


@pytest.fixture(autouse=True)
async def _nothing_before(platform: Platform, world: World) -> AsyncIterator[None]:
    """What other tests left to relay is relayed, and their jobs and ours are not carried out."""
    await relay_everything(platform)
    await world.execute("DELETE FROM pgqueuer")
    yield
    await world.execute("DELETE FROM pgqueuer")


@pytest.fixture
async def database(configured: Settings) -> AsyncIterator[Database]:
    opened = Database(configured.model_copy(update={"database_pool_size": 12}), after_commit=lambda *_: None)
    yield opened
    await opened.close()


async def note(database: Database, *user_ids: UUID, hold_seconds: float = 0) -> None:
    async with database.write() as session:
        event = Noted(user_id=user_ids[0])
        await emit(session, event, subject_type="user", subject_id=user_ids[0], to=user_ids)
        await asyncio.sleep(hold_seconds)


async def mails(platform: Platform) -> Counter[str]:
    """How many mails are queued for each user."""
    async with platform.database.read() as session:
        rows = await session.all(_QUEUED)
    return Counter(from_json(row["payload"])["user_id"] for row in rows if row["entrypoint"] == "mail_event")


async def test_each_recipient_of_a_mailed_event_gets_a_job_and_others_do_not(platform: Platform) -> None:
    users = [uuid4() for _ in range(3)]
    await note(platform.database, *users)
    async with platform.database.write() as session:
        await emit(session, Unnoted(user_id=users[0]), subject_type="user", subject_id=users[0], to=users)
    assert await relay_everything(platform) == 2
    assert await mails(platform) == {str(user): 1 for user in users}
    assert await relay_everything(platform) == 0


async def test_an_event_waits_for_older_transactions_and_is_not_skipped(platform: Platform) -> None:
    early, late = uuid4(), uuid4()
    async with platform.database.write() as session:
        # Given a transaction that began before another and is not committed
        await emit(session, Noted(user_id=early), subject_type="user", subject_id=early, to=[early])
        await note(platform.database, late)
        # When the relay looks, it does not pass it
        await relay.relay_batch(platform)
        assert await mails(platform) == {}
    await relay_everything(platform)
    assert await mails(platform) == {str(early): 1, str(late): 1}


async def test_many_relays_that_are_killed_again_and_again_relay_each_event_once(
    platform: Platform, database: Database
) -> None:
    # Given writers whose commits overtake each other
    users = [uuid4() for _ in range(600)]
    left = list(users)

    async def write() -> None:
        while left:
            await note(database, left.pop(), hold_seconds=random.random() * 0.02)

    async def die_and_come_back() -> None:
        while left:
            task = asyncio.create_task(relay.run(platform))
            await asyncio.sleep(random.random() * 0.05)
            await end(task)

    # When four relays work at once, each of which is killed up to twenty times a second
    await asyncio.gather(*(write() for _ in range(8)), *(die_and_come_back() for _ in range(4)))
    # the last one killed may hold the cursor until its rollback has arrived
    await relay_everything(platform)

    # Then every mail is there, once
    assert await mails(platform) == {str(user): 1 for user in users}


async def test_a_relay_that_dies_before_its_commit_has_done_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = uuid4()
    await note(platform.database, user)

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        # right after the jobs were written, before the cursor's move is committed
        patched.setattr("app.core.database.Session.commit", killed)
        with pytest.raises(asyncio.CancelledError):
            await relay.relay_batch(platform)
    assert await mails(platform) == {}
    await relay_everything(platform)
    assert await mails(platform) == {str(user): 1}


async def test_what_breaks_in_the_relay_does_not_end_it(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    user = uuid4()
    await note(platform.database, user)
    relay_batch = relay.relay_batch
    calls = 0

    async def broken_once(platform: Platform) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return await relay_batch(platform)

    monkeypatch.setattr(relay, "relay_batch", broken_once)
    task = asyncio.create_task(relay.run(platform))
    async with asyncio.timeout(5):
        while not await mails(platform):  # noqa: ASYNC110 - a poll is simpler here
            await asyncio.sleep(0.05)
    await end(task)


async def test_a_batch_with_too_many_recipients_is_relayed_in_parts_and_nothing_twice(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_RECIPIENTS", 5)
    crowds = [[uuid4() for _ in range(count)] for count in (3, 2, 1, 9, 1)]
    for crowd in crowds:
        await note(platform.database, *crowd)
    # what comes first goes in any case, and then as much as fits; what runs elsewhere may hold up the rest
    relayed: list[int] = []
    async with asyncio.timeout(10):
        while sum(relayed) < len(crowds):
            relayed.append(await relay.relay_batch(platform))
    assert max(relayed) <= 2
    assert await mails(platform) == {str(user): 1 for crowd in crowds for user in crowd}

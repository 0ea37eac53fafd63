"""The event log for integrators: in an order that no commit slips past, each event once, and only to whom it may go."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.database import Database, Statement
from app.kernel.events import Event, emit
from app.models.users import Role
from app.services.event_log import log
from tests.api_keys.test_api_keys import asks, made
from tests.chats.steps import bought
from tests.support.world import Person, World

EVENTS = "/api/v1/events"
WRITERS = 16
WRITES = int(os.environ.get("LOCALBAZAAR_EVENT_LOG_WRITES", "12"))
"""Transactions of each writer."""
ROWS = int(os.environ.get("LOCALBAZAAR_EVENT_LOG_ROWS", "60000"))
"""Events that the log holds when its plans are looked at."""
BULK = 20_000
"""Of these, written in one statement."""


class _Numbered(Event):
    number: int


class Logged(_Numbered):
    name: ClassVar = "log_test.logged"
    messages: ClassVar = {"en": "Logged {number}.", "hi": "दर्ज {number}।"}


class Rare(_Numbered):
    name: ClassVar = "log_test_rare.seen"
    messages: ClassVar = {"en": "Seen."}


class Poller:
    """A program that polls with a key, and remembers what it got."""

    def __init__(self, world: World, key: str, **query: Any) -> None:
        self._world, self._key, self._query = world, key, query
        self.cursor: str | None = None
        self.got: list[dict[str, Any]] = []

    async def poll(self) -> dict[str, Any]:
        query = self._query | ({"after": self.cursor} if self.cursor else {})
        answer = await self._world.http.get(EVENTS, params=query, headers={"Authorization": f"Bearer {self._key}"})
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        self.got += page["items"]
        self.cursor = page["next_cursor"]
        return page

    async def drain(self) -> list[dict[str, Any]]:
        """All there is by now."""
        while (await self.poll())["has_more"]:
            pass
        return self.got

    @property
    def numbers(self) -> list[int]:
        return [event["number"] for event in self.got if "number" in event]


@pytest.fixture
async def database(configured: Settings) -> AsyncIterator[Database]:
    opened = Database(configured.model_copy(update={"database_pool_size": 20}), after_commit=lambda *_: None)
    yield opened
    await opened.close()


async def tell(
    database: Database, to: list[UUID], *numbers: int, event: type[_Numbered] = Logged, hold: float = 0
) -> None:
    """Write events in one transaction that stays open for a while."""
    async with database.write() as session:
        for number in numbers:
            await emit(session, event(number=number), subject_type="test", subject_id=uuid4(), to=to)
        await asyncio.sleep(hold)


async def key_of(person: Person, *scopes: str) -> str:
    return str((await made(person, *scopes))["key"])


async def settle(world: World) -> None:
    """Until no transaction of another is open, which would hold the log back."""
    horizon = Statement(text("SELECT pg_snapshot_xmin(s) = pg_snapshot_xmax(s) FROM pg_current_snapshot() AS s"))
    async with asyncio.timeout(10), world.platform.database.read() as session:
        while not await session.scalar(horizon):  # noqa: ASYNC110 - the database tells no other way
            await asyncio.sleep(0.02)


async def test_the_owner_gets_their_events_as_envelopes_in_their_language(world: World) -> None:
    person = await world.person(language="hi")
    await tell(world.platform.database, [person.id], 1)
    await settle(world)
    poller = Poller(world, await key_of(person), types="log_test.*")
    (event,) = await poller.drain()
    assert {name: event[name] for name in ("name", "type", "event", "number", "message")} == {
        "name": "log_test.logged",
        "type": "log_test_update",
        "event": "LOG_TEST_LOGGED",
        "number": 1,
        "message": "दर्ज 1।",
    }
    # And nothing comes twice, while the cursor goes on leading from there
    assert (await poller.poll())["items"] == []
    await tell(world.platform.database, [person.id], 2)
    await settle(world)
    await poller.drain()
    assert poller.numbers == [1, 2]


async def test_a_key_sees_nobody_elses_events(world: World) -> None:
    one, other = await world.person(), await world.person()
    await tell(world.platform.database, [one.id], 1)
    await tell(world.platform.database, [other.id], 2)
    await tell(world.platform.database, [], 3)
    await settle(world)
    poller = Poller(world, await key_of(one))
    await poller.drain()
    assert poller.numbers == [1]


async def test_an_admins_key_sees_all_in_one_order_whatever_the_pages(world: World) -> None:
    people = [await world.person() for _ in range(3)]
    numbers = [random.randrange(10**9) for _ in range(12)]
    for number in numbers:
        await tell(world.platform.database, [random.choice(people).id], number)
    await settle(world)
    key = await key_of(await world.person(Role.ADMIN), "events:read_all")
    in_pages = [Poller(world, key, types="log_test.logged", limit=limit) for limit in (1, 5, 500)]
    read = [
        [number for number in (await poller.drain(), poller.numbers)[1] if number in numbers] for poller in in_pages
    ]
    assert read == [numbers] * 3


async def test_what_people_write_to_each_other_is_read_by_them_alone(world: World) -> None:
    # Given a message between two people
    chat = await bought(world)
    await chat.say(chat.customer, "Nobody else's business")
    await settle(world)
    # When both and an admin read the log with keys of theirs
    texts = []
    admin_key = await key_of(await world.person(Role.ADMIN), "events:read_all")
    for key in (await key_of(chat.customer), await key_of(chat.provider), admin_key):
        poller = Poller(world, key, types="chat.message_sent")
        await poller.drain()
        texts.append([event["text"] for event in poller.got if event["conversation_id"] == chat.id])
    # Then the admin learns that there was one, and the two what it says
    assert texts == [["Nobody else's business"], ["Nobody else's business"], [None]]


async def test_a_cursor_answers_the_same_again(world: World) -> None:
    person = await world.person()
    for number in range(5):
        await tell(world.platform.database, [person.id], number)
    await settle(world)
    key = await key_of(person)
    poller = Poller(world, key, limit=2, types="log_test.*")
    await poller.poll()
    again = Poller(world, key, limit=2, types="log_test.*")
    again.cursor = poller.cursor
    assert (await poller.poll())["items"] == (await again.poll())["items"]


async def test_rare_types_are_found_behind_many_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given few events of a type among many of others, and little that one call looks through
    monkeypatch.setattr(log, "_SCANNED", 5)
    person = await world.person()
    await tell(world.platform.database, [person.id], *range(20))
    await tell(world.platform.database, [person.id], 77, event=Rare)
    await tell(world.platform.database, [person.id], *range(20, 40))
    await settle(world)
    # Then pages may be empty, but say that more lies ahead, and the event is found
    poller = Poller(world, await key_of(person), types="log_test_rare.*", limit=2)
    first = await poller.poll()
    assert (first["items"], first["has_more"]) == ([], True)
    await poller.drain()
    assert poller.numbers == [77]


async def test_several_types_may_be_asked_for(world: World) -> None:
    person = await world.person()
    await tell(world.platform.database, [person.id], 1)
    await tell(world.platform.database, [person.id], 2, event=Rare)
    await settle(world)
    poller = Poller(world, await key_of(person), types=["log_test.logged", "log_test_rare.*"])
    await poller.drain()
    assert poller.numbers == [1, 2]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"types": "log_test.loged"}, "event_type_unknown"),
        ({"types": "nonsense.*"}, "event_type_unknown"),
        ({"types": "*.*"}, "validation_failed"),
        ({"types": ["log_test.*"] * 51}, "validation_failed"),
        ({"types": ""}, "validation_failed"),
        ({"limit": 0}, "validation_failed"),
        ({"limit": 501}, "validation_failed"),
        ({"after": "x"}, "invalid_cursor"),
        ({"after": "_" * 27}, "invalid_cursor"),
        ({"after": "\N{SNOWMAN}"}, "invalid_cursor"),
        ({"after": "A" * 65}, "validation_failed"),
        ({"unknown": "1"}, "validation_failed"),
        # As from another cluster, whose transactions were numbered higher: it would find nothing for ever.
        ({"after": log._encode(log._Place(2**62, 1), time.time())}, "invalid_cursor"),
    ],
)
async def test_what_makes_no_sense_is_refused(world: World, query: dict[str, Any], code: str) -> None:
    key = await key_of(await world.person())
    answer = await world.http.get(EVENTS, params=query, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_cursor_from_before_the_log_begins_is_refused_instead_of_skipping(world: World) -> None:
    key = await key_of(await world.person())
    assert (await asks(world.http, key, f"{EVENTS}?after={log._encode(log._Place(1, 1), 0)}")).json()["code"] == (
        "cursor_too_old"
    )


async def test_pollers_get_each_of_many_concurrent_events_once_in_one_order(world: World, database: Database) -> None:
    # Given two owners, and an admin who sees both
    owners = [await world.person() for _ in range(2)]
    pollers = [Poller(world, await key_of(owner), types="log_test.*", limit=7) for owner in owners]
    admin_key = await key_of(await world.person(Role.ADMIN), "events:read_all")
    everything = Poller(world, admin_key, types="log_test.*", limit=11)
    await everything.drain()
    before = len(everything.got)
    writing = True

    async def write(writer: int) -> None:
        for turn in range(WRITES):
            number = writer * 10_000 + turn * 2
            to = [owners[turn % 2].id]
            await tell(database, to, number, number + 1, hold=random.choice([0, 0.002, 0.02, 0.08]))

    async def keep_polling(poller: Poller) -> None:
        while writing:
            await poller.poll()
            await asyncio.sleep(random.uniform(0, 0.05))

    # When sixteen writers hold their transactions open while all three poll
    polling = [asyncio.create_task(keep_polling(poller)) for poller in (*pollers, everything)]
    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    writing = False
    await asyncio.gather(*polling)
    await settle(world)
    for poller in (*pollers, everything):
        await poller.drain()
    # Then each event came once
    expected = {writer * 10_000 + number for writer in range(WRITERS) for number in range(WRITES * 2)}
    mine = [event["number"] for event in everything.got[before:]]
    assert (sorted(mine), len(mine)) == (sorted(expected), len(expected))
    # And each owner's events in the order of the whole log, which is that of a fresh reader
    for turn, poller in enumerate(pollers):
        assert poller.numbers == [number for number in mine if number % 10_000 // 2 % 2 == turn]
    fresh = Poller(world, admin_key, types="log_test.*", limit=500)
    await fresh.drain()
    assert [event["id"] for event in fresh.got] == [event["id"] for event in everything.got]


async def plan(database: Database, statement: Statement, **values: Any) -> tuple[str, bool]:
    """The plan for these values, and whether after five uses there is one for all values."""
    async with database.write() as session:
        for _ in range(6):
            await session.all(statement, **values)
        connection = session.driver_connection
        lines = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS OFF) {statement.sql}", *statement.arguments(values))
        kept = await connection.fetchval(
            "SELECT generic_plans > 0 FROM pg_prepared_statements WHERE statement = $1", statement.sql
        )
    return "\n".join(line[0] for line in lines), kept


async def test_both_kinds_of_key_read_by_an_index_and_no_more_than_a_page_and_are_planned_once(
    world: World, database: Database
) -> None:
    # Given a long log, a fifth of it one owner's
    owner = await world.person()
    for begun in range(0, ROWS, BULK):
        await world.execute(
            "WITH written AS (INSERT INTO events (id, name, subject_type, subject_id, payload)"
            " SELECT gen_random_uuid(), 'log_test.logged', 'bulk', :owner, '{}'::jsonb"
            " FROM generate_series(1, cast(:rows AS integer)) RETURNING id, seq)"
            " INSERT INTO notifications (user_id, event_id, seq)"
            " SELECT CASE WHEN seq % 5 = 0 THEN cast(:owner AS uuid) ELSE gen_random_uuid() END, id, seq FROM written",
            owner=owner.id,
            rows=min(BULK, ROWS - begun),
        )
    try:
        await world.define("ANALYZE events, notifications")
        await settle(world)
        page = {"xid": 1, "seq": 1, "scan": 101}
        # When either kind of key asks for page after page
        plans = {
            "notifications_user_id_xid_index": await plan(database, log._LOGS[False, False], **page, user_id=owner.id),
            "events_xid_index": await plan(database, log._LOGS[True, False], **page),
        }
        # Then an index leads to each, by a plan that is made once
        for index, (found, kept) in plans.items():
            assert index in found, found
            assert "Seq Scan" not in found, found
            assert kept, found
    finally:
        for doomed in (
            "notifications USING events WHERE event_id = id AND subject_type = 'bulk'",
            "events WHERE subject_type = 'bulk'",
        ):
            await world.define(f"SET LOCAL enable_seqscan = on; SET LOCAL statement_timeout = 0; DELETE FROM {doomed}")
        await world.define("ANALYZE events, notifications")

"""Events commit with what they tell of, or not at all, and leave in one envelope (realtime.md: Events)."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest

from app.core.database import Database
from app.core.valkey import STREAMS
from app.kernel import events
from app.kernel.events import Channel, Event, emit
from app.kernel.platform import Platform
from tests.support.world import World  # with it come all nouns, and their events


class Happened(Event):
    name: ClassVar = "test.happened_here"
    messages: ClassVar = {"en": "It happened {times} times.", "hi": "यह {times} बार हुआ।"}
    thing_id: UUID
    times: int


class Whispered(Event):
    name: ClassVar = "test.whispered"
    messages: ClassVar = {"en": "Psst."}
    withheld: ClassVar = {"secret": "…"}
    secret: str
    loud: str


class Undone(Exception):
    """What makes a transaction roll back."""


async def test_an_event_is_written_with_its_recipients_each_of_them_once(world: World, platform: Platform) -> None:
    thing, one, two = uuid4(), uuid4(), uuid4()
    async with platform.database.write() as session:
        event = Happened(thing_id=thing, times=3)
        await emit(session, event, subject_type="thing", subject_id=thing, to=[one, two, one])
    [row] = await world.rows("events", subject_id=thing)
    assert (row["name"], row["payload"]) == ("test.happened_here", {"thing_id": str(thing), "times": 3})
    notified = await world.rows("notifications", event_id=row["id"])
    assert sorted(n["user_id"] for n in notified) == sorted([one, two])
    assert {(n["seq"], n["xid"], n["read_at"]) for n in notified} == {(row["seq"], row["xid"], None)}
    assert row["horizon"] <= row["xid"]


async def test_who_is_told_aloud_is_not_told_quietly_too(world: World, platform: Platform) -> None:
    thing, one, two = uuid4(), uuid4(), uuid4()
    event = Happened(thing_id=thing, times=1)
    async with platform.database.write() as session:
        await emit(session, event, subject_type="thing", subject_id=thing, to=[one], quietly_to=[one, two])
    [row] = await world.rows("events", subject_id=thing)
    notified = await world.rows("notifications", event_id=row["id"])
    assert {each["user_id"]: each["quiet"] for each in notified} == {one: False, two: True}


async def test_an_event_without_recipients_is_in_the_log_all_the_same(world: World, platform: Platform) -> None:
    thing = uuid4()
    async with platform.database.write() as session:
        await emit(session, Happened(thing_id=thing, times=1), subject_type="thing", subject_id=thing, to=[])
    [row] = await world.rows("events", subject_id=thing)
    assert await world.rows("notifications", event_id=row["id"]) == []


async def test_what_is_rolled_back_leaves_no_event_and_no_hint(world: World, platform: Platform) -> None:
    # Given
    hinted: list[tuple[str, set[UUID]]] = []
    database = Database(platform.settings, after_commit=lambda channel, users: hinted.append((channel, users)))
    thing, user = uuid4(), uuid4()

    async def write(*, fail: bool) -> None:
        async with database.write() as session:
            await emit(session, Happened(thing_id=thing, times=1), subject_type="thing", subject_id=thing, to=[user])
            assert hinted == [], "hinted before the commit: whoever looks now sees nothing"
            if fail:
                raise Undone

    # When it fails, then nothing is left
    with pytest.raises(Undone):
        await write(fail=True)
    assert hinted == []
    assert await world.rows("events", subject_id=thing) == []
    assert await world.rows("notifications", user_id=user) == []
    # and when it does not, the recipients are hinted at
    await write(fail=False)
    assert hinted == [(STREAMS, {user})]
    assert len(await world.rows("events", subject_id=thing)) == 1
    await database.close()


def test_the_envelope_is_made_by_one_rule() -> None:
    event_id = uuid4()
    row = {
        "id": event_id,
        "name": "test.happened_here",
        "payload": {"thing_id": "t", "times": 2},
        "created_at": datetime(2026, 1, 29, 10, 30, tzinfo=UTC),
    }
    assert events.envelope(row, "en") == {
        "id": str(event_id),
        "name": "test.happened_here",
        "type": "test_update",
        "event": "TEST_HAPPENED_HERE",
        "timestamp": "2026-01-29T10:30:00+00:00",
        "thing_id": "t",
        "times": 2,
        "message": "It happened 2 times.",
    }


def test_the_envelope_says_so_where_it_notifies_nobody() -> None:
    row = {"id": uuid4(), "name": "test.happened_here", "payload": {"times": 2}, "created_at": datetime.now(UTC)}
    assert events.envelope(row, "en", quiet=True) == events.envelope(row, "en") | {"quiet": True}


def test_a_strangers_row_holds_no_confidences() -> None:
    row = {"name": "test.whispered", "payload": {"secret": "a", "loud": "b"}, "seq": 7}
    assert events.without_confidences(row) == {
        "name": "test.whispered",
        "payload": {"secret": "…", "loud": "b"},
        "seq": 7,
    }
    unknown = {"name": "test.of_a_newer_process", "payload": {"secret": "a"}}
    assert events.without_confidences(unknown) == unknown


def test_a_family_has_a_title_in_the_readers_language_or_in_english_or_its_name() -> None:
    assert Happened.family() == "test"
    events.entitle("test_titled_here", en="Things", hi="चीज़ें")
    found = [events.title("test_titled_here", language) for language in ("en", "hi", "mr")]
    assert found == ["Things", "चीज़ें", "Things"]
    assert events.title("test_untitled_things", "hi") == "Test untitled things"


def test_an_event_is_known_by_its_name() -> None:
    assert events.declaration("test.happened_here") is Happened
    assert events.declaration("test.of_a_newer_process") is None
    assert events.message("test.of_a_newer_process", {}, "en") == "test.of_a_newer_process"


def test_an_event_may_leave_by_one_way_and_by_another_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_declared", dict(events._declared))
    ways = {"channels": frozenset({Channel.MAIL}), "on_request": frozenset({Channel.PUSH}), "mandatory": True}
    made = type("Kept", (Event,), {"name": "test.kept_here", "messages": {"en": ""}, "__module__": __name__} | ways)
    assert events.declaration("test.kept_here") is made


@pytest.mark.parametrize(
    "ways",
    [
        {"mandatory": True},
        {"channels": frozenset({Channel.MAIL}), "on_request": frozenset({Channel.MAIL, Channel.PUSH})},
    ],
)
def test_an_event_by_no_way_or_by_one_in_two_manners_cannot_be_declared(ways: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"test\.lost_here: mandatory by no channel"):
        type("Lost", (Event,), {"name": "test.lost_here", "messages": {"en": ""}, "__module__": __name__} | ways)
    assert events.declaration("test.lost_here") is None


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("en", "It happened 2 times."), ("hi", "यह 2 बार हुआ।"), ("mr", "It happened 2 times.")],
)
def test_the_sentence_is_in_the_readers_language_or_in_english(language: str, sentence: str) -> None:
    assert events.message("test.happened_here", {"times": 2}, language) == sentence


def test_two_events_cannot_have_one_name() -> None:
    with pytest.raises(TypeError, match="two events are named"):
        type("Again", (Event,), {"name": "test.happened_here", "messages": {"en": ""}, "__module__": __name__})


def test_an_event_takes_no_field_that_it_does_not_declare() -> None:
    with pytest.raises(ValueError, match="more"):
        Happened(thing_id=uuid4(), times=1, more=1)  # type: ignore[call-arg]  # that is the point


@pytest.mark.parametrize(
    "event", [e for e in events.declared() if e.__module__.startswith("app.")], ids=lambda e: e.name
)
def test_every_event_has_a_sentence_in_both_languages_that_its_own_fields_fill(event: type[Event]) -> None:
    aggregate, _, fact = event.name.partition(".")
    assert aggregate
    assert fact
    assert "." not in fact
    assert {"en", "hi"} <= set(event.messages)
    filled = {name: f"<{name}>" for name in event.model_fields}
    for language in event.messages:
        sentence = events.message(event.name, filled, language)
        assert sentence.strip()
        assert "{" not in sentence
    taken = {"id", "name", "type", "event", "timestamp", "message"}
    assert not taken & set(event.model_fields), "a field would hide one of the envelope"

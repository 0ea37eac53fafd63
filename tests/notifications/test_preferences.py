"""Preferences: who gets what by which way, in which words, and what nobody can switch off."""

import asyncio
from collections import Counter, defaultdict
from typing import Any, ClassVar, NamedTuple
from uuid import UUID, uuid4

import pytest
from pydantic_core import from_json
from sqlalchemy import text

from app.adapters.messages import sent_messages
from app.core.database import Statement
from app.kernel.events import EVERYWHERE, PUSHED, Channel, Event, declared, emit, entitle, title
from app.kernel.platform import Platform
from app.services.notifications import delivery
from tests.notifications.conftest import PREFERENCES, Pushing
from tests.support.relayed import relay_everything
from tests.support.world import Person, World

entitle("test_post", en="Post", hi="डाक")


class Letter(Event):
    """By push, and by the others on request."""

    name: ClassVar = "test_post.letter_came"
    messages: ClassVar = {"en": "A letter from {sender} came.", "hi": "{sender} का पत्र आया।"}
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL, Channel.SMS})
    sender: str


class Bill(Event):
    name: ClassVar = "test_post.bill_came"
    messages: ClassVar = {"en": "A bill came.", "hi": "बिल आया।"}
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})


class Stolen(Event):
    name: ClassVar = "test_post.letter_stolen"
    messages: ClassVar = {"en": "A letter was stolen.", "hi": "पत्र चोरी हो गया।"}
    channels: ClassVar = EVERYWHERE
    mandatory: ClassVar = True


class Key(Event):
    """The only one of its family, and nobody can switch it off."""

    name: ClassVar = "test_key.copied"
    messages: ClassVar = {"en": "Your key was copied."}
    channels: ClassVar = frozenset({Channel.MAIL})
    mandatory: ClassVar = True


LETTER, BILL, STOLEN = Letter(sender="Asha"), Bill(), Stolen()
_QUEUED = Statement(text("SELECT entrypoint, payload FROM pgqueuer"))
_WAYS = {"mail_event": "mail", "text_event": "sms", "push_event": "push"}


class Chosen(NamedTuple):
    """A choice, and by which ways a letter, a bill and an alarm come then."""

    wanted: dict[str, bool]
    letter: set[str]
    bill: set[str]


MATRIX = [
    Chosen({}, {"push"}, {"push"}),
    Chosen({"mail": True}, {"push", "mail"}, {"push", "mail"}),
    Chosen({"sms": True}, {"push", "sms"}, {"push"}),
    Chosen({"push": False}, set(), set()),
    Chosen({"push": False, "mail": True, "sms": True}, {"mail", "sms"}, {"mail"}),
    Chosen({"push": True, "mail": False, "sms": False}, {"push"}, {"push"}),
]


async def choose(person: Person, wanted: dict[str, bool], family: str = "test_post") -> Any:
    preferences = [{"family": family, "channel": channel, "wanted": is_wanted} for channel, is_wanted in wanted.items()]
    answer = await person.call("PUT", PREFERENCES, json={"preferences": preferences})
    assert answer.status_code == 200, answer.text
    return answer.json()


def of_family(answer: Any, family: str = "test_post") -> Any:
    return next(shown for shown in answer["families"] if shown["family"] == family)


async def tell(platform: Platform, event: Event, *people: Person, quietly_to: tuple[Person, ...] = ()) -> UUID:
    """The subject of the event."""
    subject_id = uuid4()
    async with platform.database.write() as session:
        to, quiet = [person.id for person in people], [person.id for person in quietly_to]
        await emit(session, event, subject_type="test_post", subject_id=subject_id, to=to, quietly_to=quiet)
    return subject_id


async def ways(platform: Platform, world: World) -> dict[UUID, Counter[str]]:
    """What is relayed now: how often by which way to whom; and nothing is left of it."""
    await relay_everything(platform)
    async with platform.database.read() as session:
        rows = await session.all(_QUEUED)
    await world.execute("DELETE FROM pgqueuer")
    owners = {str(row["id"]): row["user_id"] for row in await world.rows("push_devices")}
    found: defaultdict[UUID, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row["entrypoint"] in _WAYS:
            about = from_json(row["payload"])
            user_id = UUID(about["user_id"]) if "user_id" in about else owners[about["device_id"]]
            found[user_id][_WAYS[row["entrypoint"]]] += 1
    return found


@pytest.mark.usefixtures("nothing_waits")
async def test_each_comes_by_the_ways_that_its_recipient_wants_and_an_alarm_by_all(
    platform: Platform, world: World, pushing: Pushing
) -> None:
    # Given somebody for each way to choose, each with a browser
    people = [await world.person() for _ in MATRIX]
    for person, chosen in zip(people, MATRIX, strict=True):
        await pushing.register(person)
        await choose(person, chosen.wanted)
    # When all hear of the same events, then each hears by the ways that they chose, once
    for event, expected in (
        (LETTER, [chosen.letter for chosen in MATRIX]),
        (BILL, [chosen.bill for chosen in MATRIX]),
        (STOLEN, [{"mail", "sms", "push"}] * len(MATRIX)),
    ):
        await tell(platform, event, *people)
        found = await ways(platform, world)
        for person, wanted in zip(people, expected, strict=True):
            assert found[person.id] == dict.fromkeys(wanted, 1), (event.name, wanted)


@pytest.mark.usefixtures("nothing_waits")
async def test_a_push_goes_to_each_device_and_to_none_of_a_session_that_ended(
    platform: Platform, world: World, pushing: Pushing
) -> None:
    several, left, without = [await world.person() for _ in range(3)]
    for person in (several, several, left):
        await pushing.register(person)
    await left.post("/api/v1/auth/logout")
    await tell(platform, LETTER, several, left, without)
    assert await ways(platform, world) == {several.id: {"push": 2}}


@pytest.mark.usefixtures("nothing_waits")
async def test_who_is_told_quietly_hears_it_on_the_socket_and_nowhere_else(
    platform: Platform, world: World, pushing: Pushing
) -> None:
    loud, quiet = await world.person(), await world.person()
    for person in (loud, quiet):
        await pushing.register(person)
    before = (await quiet.get("/api/v1/notifications")).json()
    async with quiet.socket() as socket, loud.socket() as other:
        await tell(platform, STOLEN, loud, quietly_to=(quiet, loud))
        assert from_json(await socket.recv())["quiet"] is True
        assert "quiet" not in from_json(await other.recv())
    assert await ways(platform, world) == {loud.id: {"mail": 1, "sms": 1, "push": 1}}
    assert (await quiet.get("/api/v1/notifications")).json() == before
    [row] = [row for row in await world.rows("notifications", user_id=quiet.id) if row["quiet"]]
    assert (await quiet.post(f"/api/v1/notifications/{row['event_id']}/read")).status_code == 404


async def test_only_what_differs_from_the_default_is_kept(world: World) -> None:
    person = await world.person()
    shown = of_family(await choose(person, {"mail": True, "sms": False, "push": True}))
    assert shown == {
        "family": "test_post",
        "title": "Post",
        "channels": [
            {"channel": "mail", "wanted": True, "default": False, "mandatory": False},
            {"channel": "push", "wanted": True, "default": True, "mandatory": False},
            {"channel": "sms", "wanted": False, "default": False, "mandatory": False},
        ],
    }
    [row] = await world.rows("notification_preferences", user_id=person.id)
    assert (row["family"], row["channel"], row["wanted"]) == ("test_post", "mail", True)
    # and what is not named any more returns to its default
    assert of_family(await choose(person, {}))["channels"][0]["wanted"] is False
    assert await world.rows("notification_preferences", user_id=person.id) == []


async def test_families_are_named_in_the_readers_language(world: World) -> None:
    hindi = await world.person(language="hi")
    answer = (await hindi.get(PREFERENCES)).json()
    assert of_family(answer)["title"] == "डाक"
    assert of_family(answer, "lead")["title"] == "लीड"
    assert of_family(answer, "test_key")["title"] == "Test key"
    assert all(shown["family"] != "notification" for shown in answer["families"])


@pytest.mark.parametrize(
    "preferences",
    [
        [{"family": "nonsense", "channel": "mail", "wanted": True}],
        [{"family": "test_key", "channel": "push", "wanted": True}],  # it never comes that way
        [{"family": "test_key", "channel": "mail", "wanted": False}],  # it is mandatory
        [{"family": "auth", "channel": "mail", "wanted": False}],
        [{"family": "test_post", "channel": "fax", "wanted": True}],
        [{"family": "test_post", "channel": "mail", "wanted": True}] * 2,
        [{"family": "test_post", "channel": "mail", "wanted": True}] * 201,
        [{"family": "test_post", "channel": "mail"}],
        [{"family": "x\x00", "channel": "mail", "wanted": True}],
    ],
)
async def test_what_cannot_be_chosen_is_refused_and_changes_nothing(world: World, preferences: list[Any]) -> None:
    person = await world.person()
    await choose(person, {"mail": True})
    right = {"family": "test_post", "channel": "sms", "wanted": True}
    async with world.unchanged():
        answer = await person.call("PUT", PREFERENCES, json={"preferences": [right, *preferences]})
        assert answer.status_code == 422, answer.text
    [row] = await world.rows("notification_preferences", user_id=person.id)
    assert row["channel"] == "mail"


async def test_of_two_devices_that_choose_at_once_one_has_it_all(world: World) -> None:
    person = await world.person()
    one, other = {"mail": True, "push": False}, {"sms": True}
    await asyncio.gather(*(choose(person, wanted) for wanted in (one, other) * 8))
    rows = await world.rows("notification_preferences", user_id=person.id)
    assert {row["channel"]: row["wanted"] for row in rows} in (one, other)


async def test_preferences_need_a_session(world: World) -> None:
    assert (await world.http.get(PREFERENCES)).status_code == 401
    assert (await world.http.put(PREFERENCES, json={"preferences": []})).status_code == 401


@pytest.mark.parametrize(("language", "sentence"), [("en", "A letter from Asha came."), ("hi", "Asha का पत्र आया।")])
async def test_mails_and_text_messages_speak_the_language_of_their_recipient(
    platform: Platform, world: World, language: str, sentence: str
) -> None:
    person = await world.person(language=language)
    [event] = await world.rows("events", subject_id=await tell(platform, LETTER, person))
    event_id = event["id"]
    await delivery.mail_event(platform, person.id, event_id)
    await delivery.text_event(platform, person.id, event_id)
    for to in (person.email, person.phone):
        [message] = await sent_messages(platform.valkey.client, to)
        assert message["body"] == sentence


async def test_nothing_is_sent_to_contacts_that_nobody_has_confirmed_or_about_what_was_not_addressed(
    platform: Platform, world: World
) -> None:
    person, other = await world.person(), await world.person()
    await tell(platform, LETTER, person)
    mine = [row["event_id"] for row in await world.rows("notifications", user_id=person.id)]
    await world.execute(
        "UPDATE users SET status = 'PENDING_VERIFICATION' WHERE id = cast(:id AS uuid)", id=str(person.id)
    )
    for user_id, event_id in [*((person.id, event_id) for event_id in mine), (other.id, mine[-1]), (uuid4(), mine[-1])]:
        await delivery.mail_event(platform, user_id, event_id)
        await delivery.text_event(platform, user_id, event_id)
    for to in (person.email, person.phone, other.email, other.phone):
        assert await sent_messages(platform.valkey.client, to) == []


def ours() -> list[type[Event]]:
    return [event for event in declared() if not event.name.startswith("test")]


def test_every_family_that_can_be_chosen_has_a_title_in_both_languages() -> None:
    families = {event.family() for event in ours() if event.channels | event.on_request}
    untitled = {family for family in families if title(family, "hi").isascii()}
    assert untitled == set()


def test_within_a_family_a_way_is_on_by_default_for_all_or_for_none() -> None:
    """Otherwise the choice "as it is by default" would switch some of it off, and nobody could have the rest."""
    chosen = [event for event in declared() if not event.mandatory]
    by_default = {(event.family(), channel) for event in chosen for channel in event.channels}
    on_request = {(event.family(), channel) for event in chosen for channel in event.on_request}
    assert by_default & on_request == set()


def test_what_concerns_the_safety_of_an_account_cannot_be_switched_off() -> None:
    mandatory = {event.name for event in ours() if event.mandatory}
    assert {
        "auth.token_reused", "auth.password_changed", "auth.suspended", "payout_profile.bank_account_changed",
    } <= mandatory  # fmt: skip


def test_an_event_that_is_mandatory_by_no_way_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="mandatory by no channel"):
        type("Lost", (Event,), {
            "__module__": __name__, "name": "test_post.lost", "messages": {"en": ""}, "mandatory": True,
            "__annotations__": {"mandatory": ClassVar, "name": ClassVar, "messages": ClassVar},
        })  # fmt: skip

"""The kernel's lifecycles, on a small table of their own: parcels that are packed, sent, and lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, Uuid, any_, select, update
from sqlalchemy.dialects.postgresql import array

from app.core.actor import CLOCK, Actor
from app.core.database import Statement
from app.core.errors import Conflict, Forbidden, NotFound, Problem
from app.core.valkey import STREAMS
from app.kernel import events
from app.kernel.lifecycle import (
    ACTOR,
    LIFECYCLES,
    Choice,
    Creation,
    Deadline,
    Emit,
    Guard,
    IllegalTransition,
    Lifecycle,
    Transition,
    actor_has,
)
from app.models.base import moment
from app.models.users import Role, users
from tests.support.world import World

# A metadata of its own: the product knows nothing of parcels.
parcels = Table(
    "test_parcels",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("status", Text, nullable=False),
    Column("owner_id", Uuid, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("label", Text),
    Column("sent_times", Integer, nullable=False, server_default="0"),
    moment("updated_at", now=True),
)


class Status(StrEnum):
    OPEN = "OPEN"
    PACKED = "PACKED"
    SENT = "SENT"
    LOST = "LOST"


class Action(StrEnum):
    PACK = "pack"
    SEND = "send"
    TOUCH = "touch"
    LOSE = "lose"
    SORT = "sort"
    WEIGH = "weigh"


class NotYours(Forbidden):
    code, title = "not_yours", "Only the owner may do this."


class TooLight(Conflict):
    code, title = "too_light", "There is nothing inside."


class TooHeavy(Conflict):
    code, title = "too_heavy", "Nobody can carry this."


class GoneAlready(Conflict):
    code, title = "gone_already", "It is on its way."


class Scratch(NamedTuple):
    """The lifecycle under test, and who acts."""

    world: World
    lifecycle: Lifecycle
    owner: Actor
    porter: Actor
    stranger: Actor

    async def make(self, weight: int = 5) -> UUID:
        async with self.world.platform.database.write() as session:
            values = {"id": uuid4(), "owner_id": self.owner.id, "weight": weight}
            row = await self.lifecycle.create(session, self.owner, values)
        return UUID(str(row["id"]))

    async def advance(self, parcel: UUID, action: Action, actor: Actor, **values: Any) -> Any:
        async with self.world.platform.database.write() as session:
            return await self.lifecycle.advance(session, parcel, action, actor, **values)

    async def row(self, parcel: UUID) -> Any:
        async with self.world.platform.database.read() as session:
            return await session.first(Statement(select(parcels).where(parcels.c.id == parcel)))

    async def refused(self, parcel: UUID, action: Action, actor: Actor, **values: Any) -> Problem:
        """The refusal, having seen that it left nothing behind."""
        before = await self.row(parcel)
        async with self.world.unchanged():
            with pytest.raises(Problem) as refusal:
                await self.advance(parcel, action, actor, **values)
        assert await self.row(parcel) == before
        return refusal.value


@pytest.fixture(scope="module")
async def people(world: World) -> AsyncIterator[Sequence[Actor]]:
    """Owner, porter, stranger; and the table of the parcels."""
    await world.define(
        """CREATE TABLE test_parcels (id uuid PRIMARY KEY, status text NOT NULL, owner_id uuid NOT NULL,
               weight int NOT NULL, label text, sent_times int NOT NULL DEFAULT 0,
               updated_at timestamptz NOT NULL DEFAULT now())"""
    )
    roles: Sequence[frozenset[Role]] = (frozenset(), frozenset({Role.DRIVER}), frozenset({Role.CUSTOMER}))
    yield [Actor((await world.person()).id, held) for held in roles]
    await world.execute("DELETE FROM deadlines WHERE subject_type = 'test_parcel'")
    await world.define("DROP TABLE test_parcels")


@pytest.fixture
def scratch(world: World, people: Sequence[Actor]) -> Iterator[Scratch]:
    """Declared, and compiled, for each test anew: how that is done is under test too."""
    known = set(events._declared)

    class Packed(events.Event):
        name: ClassVar = "test_parcel.packed"
        messages: ClassVar = {"en": "Packed: {weight}."}
        weight: int

    class Sent(events.Event):
        name: ClassVar = "test_parcel.sent"
        messages: ClassVar = {"en": "Sent."}
        label: str

    class Weighed(events.Event):
        name: ClassVar = "test_parcel.weighed"
        messages: ClassVar = {"en": "Weighed: {after} instead of {before}."}
        before: int
        after: int

    owns = Guard(parcels.c.owner_id == ACTOR, NotYours)
    lifecycle = Lifecycle(
        "test_parcel",
        parcels,
        Status,
        Creation(Status.OPEN, who="anybody", deadlines=[Deadline("pick_up", after="ticket_seconds")]),
        [
            Transition(
                Action.PACK, frozenset({Status.OPEN}), Status.PACKED, who="the owner", allowed=owns,
                guards=[Guard(parcels.c.weight > 0, TooLight), Guard(parcels.c.weight % 100 < 50, TooHeavy)],
                emits=[Emit(Packed, lambda row: row.owner_id, lambda row: {"weight": row.weight})],
                refusals={Status.SENT: GoneAlready},
            ),
            Transition(
                Action.SEND, frozenset({Status.PACKED, Status.LOST}), Status.SENT, who="the owner", allowed=owns,
                records=["label"],
                emits=[
                    Emit(
                        Sent, lambda _: select(users.c.id).order_by(users.c.id), lambda row: {"label": row.label},
                        up_to="code_wrong_tries",
                    )
                ],
                deadlines=[Deadline("pick_up", after=None), Deadline("arrive", after="ticket_seconds")],
                also=lambda row: [
                    update(users).where(users.c.id == row.owner_id).values(status_reason=row.label),
                ],
            ),
            Transition(
                Action.TOUCH, frozenset({Status.OPEN, Status.PACKED, Status.SENT}), {Status.SENT: Status.LOST},
                who="the owner, a driver", allowed=Guard(parcels.c.owner_id.is_not(None), NotYours),
                sets={"sent_times": parcels.c.sent_times + 1},
            ),
            Transition(Action.LOSE, frozenset({Status.SENT}), Status.LOST, who="the clock", allowed=None),
            Transition(
                Action.SORT, frozenset({Status.OPEN}),
                Choice([(parcels.c.weight > 20, Status.LOST), (parcels.c.weight > 10, Status.SENT)], Status.PACKED),
                who="the machine", allowed=None, sets={"weight": parcels.c.weight - 10},
            ),
            Transition(
                Action.WEIGH, frozenset({Status.OPEN}), Status.OPEN, who="the scale", allowed=None,
                records=["weight", "label"], recalls=["weight"],
                emits=[
                    Emit(
                        Weighed, lambda row: row.owner_id,
                        lambda row: {"before": row.from_weight, "after": row.weight},
                        quietly_to=lambda row: select(users.c.id).where(
                            users.c.id == any_(array([row.owner_id, ACTOR]))
                        ),
                        only_if=lambda row: row.weight != row.from_weight,
                    )
                ],
            ),
        ],
        visible=(parcels.c.owner_id == ACTOR) | actor_has(Role.DRIVER),
    )  # fmt: skip
    yield Scratch(world, lifecycle, *people)
    # What is declared here must be in no catalogue or page of another test.
    LIFECYCLES.pop("test_parcel")
    for name in set(events._declared) - known:
        events._declared.pop(name)


async def deadlines_of(scratch: Scratch, parcel: UUID) -> set[str]:
    return {row["kind"] for row in await scratch.world.rows("deadlines", subject_id=parcel)}


async def test_creation_records_who_and_sets_the_deadline(scratch: Scratch) -> None:
    parcel = await scratch.make()
    (step,) = await scratch.world.trail(str(parcel))
    assert (step["subject_type"], step["action"], step["from_status"], step["to_status"], step["actor_id"]) == (
        "test_parcel", "create", None, "OPEN", scratch.owner.id,
    )  # fmt: skip
    assert await deadlines_of(scratch, parcel) == {"pick_up"}


async def test_a_transition_writes_everything_that_follows_from_it(scratch: Scratch) -> None:
    # Given a packed parcel
    parcel = await scratch.make()
    await scratch.advance(parcel, Action.PACK, scratch.owner)
    # When it is sent, with a label and a reason
    row = await scratch.advance(parcel, Action.SEND, scratch.owner, label="fragile", reason="asked for")
    # Then the answer is the row as it is now, and where it came from
    assert (row["status"], row["from_status"], row["label"]) == ("SENT", "PACKED", "fragile")
    # and the audit row, the deadlines, the further write, the event and its bounded recipients are there
    step = (await scratch.world.trail(str(parcel)))[-1]
    assert (step["action"], step["from_status"], step["to_status"]) == ("send", "PACKED", "SENT")
    assert (step["actor_id"], step["reason"], step["details"]) == (scratch.owner.id, "asked for", {"label": "fragile"})
    assert await deadlines_of(scratch, parcel) == {"arrive"}
    (owner,) = await scratch.world.rows("users", id=scratch.owner.id)
    assert owner["status_reason"] == "fragile"
    (packed, sent) = await scratch.world.told(str(parcel))
    assert packed == ("test_parcel.packed", {scratch.owner.id})
    everybody = sorted(user["id"] for user in await scratch.world.rows("users"))
    assert sent == ("test_parcel.sent", set(everybody[:5]))
    (event,) = await scratch.world.rows("events", subject_id=parcel, name="test_parcel.sent")
    assert event["payload"] == {"label": "fragile"}


async def test_a_status_may_stay_what_it_is(scratch: Scratch) -> None:
    parcel = await scratch.make()
    row = await scratch.advance(parcel, Action.TOUCH, scratch.owner)
    assert (row["status"], row["sent_times"]) == ("OPEN", 1)
    await scratch.advance(parcel, Action.PACK, scratch.owner)
    await scratch.advance(parcel, Action.SEND, scratch.owner, label="x")
    assert (await scratch.advance(parcel, Action.TOUCH, scratch.owner))["status"] == "LOST"


def test_where_an_action_can_lead_is_told_for_each_status(scratch: Scratch) -> None:
    declared = scratch.lifecycle.declared.transitions
    assert declared[Action.PACK].targets_from("OPEN") == ["PACKED"]
    assert [declared[Action.TOUCH].targets_from(status) for status in ("OPEN", "SENT")] == [["OPEN"], ["LOST"]]
    assert declared[Action.SORT].targets_from("OPEN") == ["LOST", "SENT", "PACKED"]


@pytest.mark.parametrize(("weight", "status"), [(10, "PACKED"), (11, "SENT"), (20, "SENT"), (21, "LOST"), (30, "LOST")])
async def test_a_row_may_decide_its_next_status_by_what_it_was(scratch: Scratch, weight: int, status: str) -> None:
    parcel = await scratch.make(weight=weight)
    row = await scratch.advance(parcel, Action.SORT, CLOCK)
    assert (row["status"], row["weight"]) == (status, weight - 10)
    assert (await scratch.world.trail(str(parcel)))[-1]["to_status"] == status


async def test_an_event_knows_what_was_before_and_reaches_each_once_and_aloud_if_in_any_way(scratch: Scratch) -> None:
    parcel = await scratch.make(weight=5)
    row = await scratch.advance(parcel, Action.WEIGH, scratch.porter, weight=7, label="heavier")
    (event,) = await scratch.world.rows("events", subject_id=parcel)
    assert event["payload"] == {"before": 5, "after": 7}
    told = await scratch.world.rows("notifications", event_id=event["id"])
    assert {each["user_id"]: each["quiet"] for each in told} == {scratch.owner.id: False, scratch.porter.id: True}
    assert set(row["recipients"]) == {scratch.owner.id, scratch.porter.id}
    assert (await scratch.world.trail(str(parcel)))[-1]["details"] == {"weight": 7, "label": "heavier"}


async def test_what_has_not_happened_is_told_to_nobody(scratch: Scratch) -> None:
    parcel = await scratch.make(weight=5)
    row = await scratch.advance(parcel, Action.WEIGH, scratch.porter, weight=5, label="as before")
    assert (row["label"], row["recipients"]) == ("as before", [])
    assert await scratch.world.told(str(parcel)) == []


async def test_a_check_refuses_what_the_transition_would_and_changes_nothing(scratch: Scratch) -> None:
    async def checked(parcel: UUID, actor: Actor) -> Problem | None:
        async with scratch.world.unchanged(), scratch.world.platform.database.read() as session:
            try:
                await scratch.lifecycle.check(session, parcel, Action.PACK, actor)
            except Problem as problem:
                return problem
        return None

    sound, light, packed = await scratch.make(), await scratch.make(weight=0), await scratch.make()
    await scratch.advance(packed, Action.PACK, scratch.owner)
    for parcel in (light, packed, uuid4()):
        for actor in (scratch.owner, scratch.porter, scratch.stranger):
            found = await checked(parcel, actor)
            expected = await scratch.refused(parcel, Action.PACK, actor)
            assert found is not None
            assert (type(found), found.extra) == (type(expected), expected.extra)
    assert await checked(sound, scratch.owner) is None
    assert (await scratch.row(sound))["status"] == "OPEN"
    assert (await scratch.advance(sound, Action.PACK, scratch.owner))["status"] == "PACKED"


async def test_strangers_learn_nothing(scratch: Scratch) -> None:
    parcel = await scratch.make(weight=0)
    assert isinstance(await scratch.refused(parcel, Action.PACK, scratch.stranger), NotFound)
    assert isinstance(await scratch.refused(parcel, Action.SEND, scratch.stranger, label="x"), NotFound)
    async with scratch.world.unchanged():
        with pytest.raises(NotFound):
            await scratch.advance(uuid4(), Action.PACK, scratch.owner)


async def test_the_right_comes_before_the_guards_and_the_status(scratch: Scratch) -> None:
    parcel = await scratch.make(weight=0)
    assert isinstance(await scratch.refused(parcel, Action.PACK, scratch.porter), NotYours)
    assert isinstance(await scratch.refused(parcel, Action.SEND, scratch.porter, label="x"), NotYours)


@pytest.mark.parametrize(
    ("weight", "refusal"), [(0, TooLight), (-1, TooLight), (50, TooHeavy), (99, TooHeavy), (-50, TooLight)]
)
async def test_the_first_guard_that_does_not_hold_refuses(
    scratch: Scratch, weight: int, refusal: type[Problem]
) -> None:
    parcel = await scratch.make(weight=weight)
    assert isinstance(await scratch.refused(parcel, Action.PACK, scratch.owner), refusal)


async def test_a_wrong_status_is_named_with_what_it_allows(scratch: Scratch) -> None:
    parcel = await scratch.make(weight=5)
    problem = await scratch.refused(parcel, Action.SEND, scratch.owner, label="x")
    assert type(problem) is IllegalTransition
    assert problem.extra == {"current_status": "OPEN", "allowed_actions": ["pack", "touch"]}
    await scratch.advance(parcel, Action.PACK, scratch.owner)
    problem = await scratch.refused(parcel, Action.PACK, scratch.owner)
    assert problem.extra == {"current_status": "PACKED", "allowed_actions": ["send", "touch"]}


async def test_a_status_may_have_a_refusal_of_its_own(scratch: Scratch) -> None:
    parcel = await scratch.make()
    await scratch.advance(parcel, Action.PACK, scratch.owner)
    await scratch.advance(parcel, Action.SEND, scratch.owner, label="x")
    problem = await scratch.refused(parcel, Action.PACK, scratch.owner)
    assert isinstance(problem, GoneAlready)
    assert problem.extra == {"current_status": "SENT", "allowed_actions": ["touch"]}


async def test_what_only_the_platform_does_is_offered_to_nobody(scratch: Scratch) -> None:
    parcel = await scratch.make()
    for action in (Action.PACK, Action.SEND):
        await scratch.advance(parcel, action, scratch.owner, **({"label": "x"} if action is Action.SEND else {}))
    problem = await scratch.refused(parcel, Action.SEND, scratch.owner, label="x")
    assert "lose" not in problem.extra["allowed_actions"]
    row = await scratch.advance(parcel, Action.LOSE, CLOCK)
    assert row["status"] == "LOST"
    assert (await scratch.world.trail(str(parcel)))[-1]["actor_id"] is None


async def test_of_fifty_at_once_one_moves_the_row(scratch: Scratch) -> None:
    parcel = await scratch.make()
    outcomes = await asyncio.gather(
        *(scratch.advance(parcel, Action.PACK, scratch.owner) for _ in range(50)), return_exceptions=True
    )
    lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(lost) == 49
    assert {type(problem) for problem in lost} == {IllegalTransition}
    assert [step["action"] for step in await scratch.world.trail(str(parcel))] == ["create", "pack"]
    assert len(await scratch.world.told(str(parcel))) == 1


async def test_fifty_that_may_all_go_lose_no_update(scratch: Scratch) -> None:
    parcel = await scratch.make()
    await asyncio.gather(*(scratch.advance(parcel, Action.TOUCH, scratch.owner) for _ in range(50)))
    assert (await scratch.row(parcel))["sent_times"] == 50


async def test_recipients_are_hinted_to_after_the_commit_only(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = await scratch.make()
    hinted: list[tuple[str, set[UUID]]] = []
    monkeypatch.setattr(scratch.world.platform.database, "after_commit", lambda *hint: hinted.append(hint))
    async with scratch.world.platform.database.write() as session:
        await scratch.lifecycle.advance(session, parcel, Action.PACK, scratch.owner)
        assert hinted == []
    assert hinted == [(STREAMS, {scratch.owner.id})]


async def test_a_transaction_that_fails_later_leaves_nothing(scratch: Scratch) -> None:
    parcel = await scratch.make()

    async def die() -> None:
        async with scratch.world.platform.database.write() as session:
            await scratch.lifecycle.advance(session, parcel, Action.PACK, scratch.owner)
            raise RuntimeError("right here")

    async with scratch.world.unchanged():
        with pytest.raises(RuntimeError):
            await die()
    assert (await scratch.row(parcel))["status"] == "OPEN"


async def test_a_misspelt_value_is_an_error_and_not_a_null(scratch: Scratch) -> None:
    parcel = await scratch.make()
    await scratch.advance(parcel, Action.PACK, scratch.owner)
    for values in ({}, {"lable": "x"}, {"label": "x", "more": 1}):
        async with scratch.world.unchanged():
            with pytest.raises(TypeError):
                await scratch.advance(parcel, Action.SEND, scratch.owner, **values)


async def test_an_event_without_its_whole_payload_is_refused_when_it_is_declared(scratch: Scratch) -> None:
    packed = events._declared["test_parcel.packed"]
    with pytest.raises(TypeError, match=r"payload and model differ in \{'weight'\}"):
        Lifecycle(
            "test_misdeclared", parcels, Status,
            Creation(Status.OPEN, who="anybody"),
            [
                Transition(
                    Action.PACK, frozenset({Status.OPEN}), Status.PACKED, who="nobody", allowed=None,
                    emits=[Emit(packed, lambda row: row.owner_id, lambda _: {})],
                )
            ],
        )  # fmt: skip
    assert "test_misdeclared" not in LIFECYCLES

"""Evidence on a small table of its own: errands that are done, shown and judged, without a noun's help."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, Uuid

from app.core.actor import Actor
from app.core.errors import Conflict, NotFound
from app.kernel import deadlines, evidence, files, subjects
from app.kernel.lifecycle import ACTOR, LIFECYCLES, Creation, Guard, IllegalTransition, Lifecycle, Transition
from app.models.base import moment
from app.models.evidence import Verdict
from app.models.files import FilePurpose
from app.schemas.evidence import EvidenceRound
from app.services.work_orders.refusals import NotAReviewer
from tests.support.world import Person, World, picture

errands = Table(
    "test_errands",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("status", Text, nullable=False),
    Column("runner_id", Uuid, nullable=False),
    Column("rounds_count", Integer, nullable=False, server_default="0"),
    Column("rejection_reason", Text),
    moment("updated_at", now=True),
)
PHOTO = picture(800, 600)


class Status(StrEnum):
    OPEN = "OPEN"
    SHOWN = "SHOWN"
    DONE = "DONE"


class Action(StrEnum):
    SHOW = "show"
    SEND_BACK = "send_back"
    ACCEPT = "accept"
    OPEN_AGAIN = "open_again"


class Scratch(NamedTuple):
    world: World
    lifecycle: Lifecycle
    runner: Person
    reviewer: Actor

    async def make(self) -> UUID:
        async with self.world.platform.database.write() as session:
            values = {"id": uuid4(), "runner_id": self.runner.id}
            row = await self.lifecycle.create(session, Actor(self.runner.id), values)
        return UUID(str(row["id"]))

    async def image(self) -> UUID:
        return UUID(await self.runner.upload("evidence", PHOTO))

    async def take(self, errand: UUID, action: Action, actor: Actor, **values: Any) -> Any:
        async with self.world.platform.database.write() as session:
            return await self.lifecycle.advance(session, errand, action, actor, **values)

    async def show(self, errand: UUID, *image_ids: UUID, notes: str = "Done.") -> Any:
        shown = {"image_ids": list(image_ids), "evidence_notes": notes}
        return await self.take(errand, Action.SHOW, Actor(self.runner.id), **shown)

    async def send_back(self, errand: UUID, reason: str = "Too dark.") -> Any:
        return await self.take(errand, Action.SEND_BACK, self.reviewer, rejection_reason=reason)

    async def rounds(self, errand: UUID) -> list[EvidenceRound]:
        async with self.world.platform.database.read() as session:
            return await evidence.rounds(session, errand)

    async def clock(self, errand: UUID) -> None:
        """What the clock does with this errand's deadline, if it is due."""
        async with self.world.platform.database.write() as session:
            await evidence.erase(session, errand)


@pytest.fixture(scope="module")
async def people(world: World) -> AsyncIterator[tuple[Person, Actor]]:
    """Runner and reviewer; and the table of the errands."""
    await world.define(
        """CREATE TABLE test_errands (id uuid PRIMARY KEY, status text NOT NULL, runner_id uuid NOT NULL,
               rounds_count int NOT NULL DEFAULT 0, rejection_reason text,
               updated_at timestamptz NOT NULL DEFAULT now())"""
    )
    yield await world.person(), Actor((await world.person()).id)
    await world.execute("DELETE FROM deadlines WHERE subject_type = 'test_errand'")
    await world.define("DROP TABLE test_errands")


@pytest.fixture
def scratch(world: World, people: tuple[Person, Actor]) -> Iterator[Scratch]:
    """Declared, and compiled, for each test anew: how evidence joins a transition is under test too."""
    judging = [evidence.last_round_is_seen(errands)]
    anybody = Guard(errands.c.runner_id.is_not(None), NotFound)
    lifecycle = Lifecycle(
        "test_errand",
        errands,
        Status,
        Creation(Status.OPEN, who="anybody"),
        [
            Transition(
                Action.SHOW, frozenset({Status.OPEN}), Status.SHOWN, who="the runner",
                allowed=Guard(errands.c.runner_id == ACTOR, NotFound), guards=[evidence.IMAGES_ARE_OWN],
                sets={"rounds_count": errands.c.rounds_count + 1},
                also=lambda row: evidence.submitted(row, subject_type="test_errand"),
            ),
            Transition(
                Action.SEND_BACK, frozenset({Status.SHOWN}), Status.OPEN, who="a reviewer", allowed=anybody,
                guards=judging, records=["rejection_reason"],
                also=lambda row: [evidence.judged(row, Verdict.REJECTED, row.rejection_reason)],
            ),
            Transition(
                Action.ACCEPT, frozenset({Status.SHOWN}), Status.DONE, who="a reviewer", allowed=anybody,
                guards=judging, also=lambda row: [evidence.judged(row, Verdict.APPROVED)], deadlines=[evidence.ERASE],
            ),
            Transition(
                Action.OPEN_AGAIN, frozenset({Status.DONE}), Status.OPEN, who="a reviewer", allowed=anybody,
                deadlines=[evidence.KEEP],
            ),
        ],
    )  # fmt: skip
    subjects.register(
        subjects.Subject("test_errand", errands, readers={FilePurpose.EVIDENCE: errands.c.runner_id == ACTOR})
    )
    deadlines.when_due("test_errand", evidence.ERASE.kind, evidence.erase)
    yield Scratch(world, lifecycle, *people)
    LIFECYCLES.pop("test_errand")


async def test_every_round_is_kept_with_its_images_notes_and_verdict(scratch: Scratch) -> None:
    # given
    errand, images = await scratch.make(), [await scratch.image() for _ in range(3)]
    # when
    await scratch.show(errand, images[0], notes="First.")
    await scratch.send_back(errand)
    await scratch.show(errand, *images[1:], notes="Second.")
    await scratch.take(errand, Action.ACCEPT, scratch.reviewer)
    # then
    first, second = await scratch.rounds(errand)
    assert (first.number, first.notes, first.image_ids) == (1, "First.", images[:1])
    assert (first.verdict, first.verdict_reason) == (Verdict.REJECTED, "Too dark.")
    assert (second.number, second.notes, second.image_ids) == (2, "Second.", images[1:])
    assert (second.verdict, second.verdict_reason) == (Verdict.APPROVED, None)
    for judged in (first, second):
        assert (judged.submitted_by, judged.reviewed_by) == (scratch.runner.id, scratch.reviewer.id)
        assert judged.reviewed_at is not None
        assert judged.images_erased_at is None
    for image in images:
        (row,) = await scratch.world.rows("files", id=image)
        assert (row["subject_type"], row["subject_id"]) == ("test_errand", errand)


async def test_only_different_unused_images_of_ones_own_are_evidence(scratch: Scratch) -> None:
    # given
    world, errand, mine = scratch.world, await scratch.make(), await scratch.image()
    foreign = UUID(await (await world.person()).upload("evidence", PHOTO))
    proof, discarded, used = UUID(await scratch.runner.upload("proof")), await scratch.image(), await scratch.image()
    await world.execute("UPDATE files SET discarded_at = now() WHERE id = cast(:id AS uuid)", id=str(discarded))
    await scratch.show(await scratch.make(), used)
    hopeless = {
        "none": [], "foreign": [mine, foreign], "of another purpose": [mine, proof], "discarded": [discarded],
        "used before": [mine, used], "the same twice": [mine, mine], "unheard of": [uuid4()],
    }  # fmt: skip
    for what, images in hopeless.items():
        async with world.unchanged():
            # when
            with pytest.raises(evidence.EvidenceRefused):
                await scratch.show(errand, *images)
        # then
        assert await scratch.rounds(errand) == [], what
    (row,) = await world.rows("files", id=mine)
    assert row["subject_id"] is None


async def test_of_twenty_subjects_one_gets_the_image(scratch: Scratch) -> None:
    # given
    errands_, image = [await scratch.make() for _ in range(20)], await scratch.image()
    # when
    outcomes = await asyncio.gather(*(scratch.show(errand, image) for errand in errands_), return_exceptions=True)
    # then
    refused = [outcome for outcome in outcomes if isinstance(outcome, evidence.EvidenceRefused)]
    assert len(refused) == 19
    assert sum([len(await scratch.rounds(errand)) for errand in errands_]) == 1


async def test_an_image_is_evidence_or_discarded_and_never_both(scratch: Scratch) -> None:
    world = scratch.world
    for _ in range(10):
        # given
        errand, image = await scratch.make(), await scratch.image()
        # when
        outcomes: tuple[Any, ...] = await asyncio.gather(
            scratch.show(errand, image),
            files.discard(world.platform, Actor(scratch.runner.id), image),
            return_exceptions=True,
        )
        # then
        rows = await world.rows("files", id=image)
        if isinstance(outcomes[0], BaseException):
            assert isinstance(outcomes[0], evidence.EvidenceRefused)
            assert rows == []
        else:
            assert (rows[0]["subject_id"], rows[0]["discarded_at"]) == (errand, None)


async def test_of_twenty_verdicts_one_counts(scratch: Scratch) -> None:
    # given
    errand = await scratch.make()
    await scratch.show(errand, await scratch.image())
    # when
    outcomes = await asyncio.gather(
        *(scratch.send_back(errand, reason=f"Reason {number}.") for number in range(10)),
        *(scratch.take(errand, Action.ACCEPT, scratch.reviewer) for _ in range(10)),
        return_exceptions=True,
    )
    # then
    (won,) = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert {type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)} == {IllegalTransition}
    (only,) = await scratch.rounds(errand)
    assert (only.verdict == Verdict.APPROVED) == (won["status"] == Status.DONE)


async def test_nobody_judges_what_is_handed_in_while_they_do(scratch: Scratch) -> None:
    # given: evidence that is being handed in, in a transaction that is not committed
    world, errand, image = scratch.world, await scratch.make(), await scratch.image()
    async with world.platform.database.write() as session:
        shown: dict[str, Any] = {"image_ids": [image], "evidence_notes": "Done."}
        await scratch.lifecycle.advance(session, errand, Action.SHOW, Actor(scratch.runner.id), **shown)
        # when a verdict waits for its lock
        verdict = asyncio.create_task(scratch.take(errand, Action.ACCEPT, scratch.reviewer))
        await world.waits(1)
    # then it is refused, instead of ending the errand with a round that nobody has judged
    with pytest.raises(Conflict):
        await verdict
    assert [judged.verdict for judged in await scratch.rounds(errand)] == [None]
    await scratch.take(errand, Action.ACCEPT, scratch.reviewer)
    assert [judged.verdict for judged in await scratch.rounds(errand)] == [Verdict.APPROVED]


async def test_nobody_judges_the_own_work(scratch: Scratch) -> None:
    errand = await scratch.make()
    await scratch.show(errand, await scratch.image())
    with pytest.raises(NotAReviewer):  # the wall behind it is `evidence_rounds_reviewed_by_another`
        await scratch.take(errand, Action.ACCEPT, Actor(scratch.runner.id))
    assert [judged.verdict for judged in await scratch.rounds(errand)] == [None]


async def test_images_are_erased_when_their_time_has_come_and_the_rounds_stay(scratch: Scratch) -> None:
    # given an errand that has ended, with two rounds
    world, errand, images = scratch.world, await scratch.make(), [await scratch.image() for _ in range(2)]
    await scratch.show(errand, images[0])
    await scratch.send_back(errand)
    await scratch.show(errand, images[1])
    await scratch.take(errand, Action.ACCEPT, scratch.reviewer)
    (due,) = await world.rows("deadlines", subject_id=errand)
    assert due["kind"] == "erase_evidence"
    assert timedelta(days=29) < due["due_at"] - datetime.now(UTC) <= timedelta(days=30)
    # when it is not due yet
    await scratch.clock(errand)
    # then
    assert (await scratch.runner.get(f"/api/v1/files/{images[0]}")).status_code == 200
    # when it is
    await world.execute("UPDATE deadlines SET due_at = now() WHERE subject_id = cast(:id AS uuid)", id=str(errand))
    await scratch.clock(errand)
    # then nobody can open the images, from this moment on
    for image in images:
        assert (await scratch.runner.get(f"/api/v1/files/{image}")).status_code == 404
    # and the sweep removes rows and objects
    await files.sweep(world.platform)
    keys = await world.platform.storage.keys()
    for image in images:
        assert await world.rows("files", id=image) == []
        assert not [key for key in keys if key.startswith(str(image))]
    erased = await scratch.rounds(errand)
    assert [(judged.notes, judged.image_ids) for judged in erased] == [("Done.", images[:1]), ("Done.", images[1:])]
    assert all(judged.images_erased_at is not None for judged in erased)


async def test_what_is_opened_again_keeps_its_images(scratch: Scratch) -> None:
    # given
    world, errand, image = scratch.world, await scratch.make(), await scratch.image()
    await scratch.show(errand, image)
    await scratch.take(errand, Action.ACCEPT, scratch.reviewer)
    await world.execute("UPDATE deadlines SET due_at = now() WHERE subject_id = cast(:id AS uuid)", id=str(errand))
    # when
    await scratch.take(errand, Action.OPEN_AGAIN, scratch.reviewer)
    await scratch.clock(errand)
    # then
    assert (await scratch.runner.get(f"/api/v1/files/{image}")).status_code == 200
    assert [judged.images_erased_at for judged in await scratch.rounds(errand)] == [None]

"""Evidence for every kind of subject: rounds of private images and notes, a verdict on each, erasure on schedule.

A noun builds it into its own transitions (`kernel/lifecycle.py`), whose one statement then does all of it:

    Transition(Action.SUBMIT, …, guards=[evidence.IMAGES_ARE_OWN],
               sets={"rounds_count": table.c.rounds_count + 1},
               also=lambda row: evidence.submitted(row, subject_type="work_order"))
    Transition(Action.REJECT, …, records=["rejection_reason"], guards=[evidence.last_round_is_seen(table)],
               also=lambda row: [evidence.judged(row, Verdict.REJECTED, row.rejection_reason)])
    Transition(Action.APPROVE, …, guards=[evidence.last_round_is_seen(table)],
               also=lambda row: [evidence.judged(row, Verdict.APPROVED)], deadlines=[evidence.ERASE])

    deadlines.when_due("work_order", evidence.ERASE.kind, evidence.erase)

`advance` is then given `image_ids` and `evidence_notes`. The table needs a column `rounds_count`, 0 at first; the
subject registers who reads files of the purpose `evidence` (`kernel/subjects.py`).

A round stays without a verdict where the subject ends otherwise, by a cancellation or by the resolution of a dispute:
nobody has judged the work then. It keeps its place, and is judged after all if a dispute leads back to the review.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Insert,
    Table,
    Text,
    Update,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    insert,
    null,
    select,
    update,
)

from app.core.database import ReadSession, Session, Statement
from app.core.errors import Unprocessable
from app.core.sql import constant
from app.kernel import deadlines
from app.kernel.transitions import ACTOR, Columns, Deadline, Guard, IllegalTransition
from app.models.evidence import Verdict, evidence_rounds
from app.models.files import FilePurpose, files
from app.schemas.evidence import EvidenceRound

ERASE: Final = Deadline("erase_evidence", after="evidence_retention_seconds")
"""For the transitions that end the subject: its images are erased then."""
KEEP: Final = Deadline("erase_evidence", after=None)
"""For a transition that opens an ended subject again."""


class EvidenceRefused(Unprocessable):
    code, title = (
        "evidence_refused",
        "Evidence is one or more different files of yours with the purpose `evidence`, used for nothing else.",
    )


_image_ids: Final[ColumnElement[Any]] = bindparam("image_ids", type_=ARRAY(Uuid))
# Locked in one order, so that a file which is at this moment attached elsewhere or discarded is waited for, and then
# refused.
_own = (
    select(files.c.id)
    .where(
        files.c.id == any_(_image_ids),
        files.c.owner_id == ACTOR,
        files.c.purpose == constant(FilePurpose.EVIDENCE),
        files.c.subject_id.is_(None),
        files.c.discarded_at.is_(None),
    )
    .order_by(files.c.id)
    .with_for_update(key_share=True)
    .subquery("own")
)
IMAGES_ARE_OWN: Final = Guard(
    select(func.count()).select_from(_own).scalar_subquery() == func.nullif(func.cardinality(_image_ids), 0),
    EvidenceRefused,
)


def last_round_is_seen(table: Table) -> Guard:
    """For whatever judges: nobody judges what was handed in while they did, and what they cannot have looked at.

    Without it a verdict that waited for the row's lock would move the subject, and not find the round, which is newer
    than its statement's snapshot.
    """
    last = select(evidence_rounds.c.number).where(
        evidence_rounds.c.subject_id == table.c.id, evidence_rounds.c.number == table.c.rounds_count
    )
    return Guard(last.correlate(table).exists(), IllegalTransition)


def submitted(row: Columns, *, subject_type: str) -> list[Insert | Update]:
    """The next round, with the actor's images, which belong to the subject from now on."""
    made = insert(evidence_rounds).from_select(
        ["subject_id", "number", "subject_type", "submitted_by", "image_ids", "notes"],
        select(
            row.id, row.rounds_count, constant(subject_type), ACTOR, _image_ids, bindparam("evidence_notes", type_=Text)
        ),
    )
    attached = (
        update(files)
        .where(files.c.id == any_(_image_ids))
        .values(subject_type=constant(subject_type), subject_id=row.id)
    )
    return [made, attached]


def judged(row: Columns, verdict: Verdict, reason: ColumnElement[Any] | None = None) -> Update:
    """The actor's verdict on the last round; on one that was judged before, where the noun lets that be overruled.

    A rejection needs its reason. The transition's compare-and-set decides between two reviewers; behind it stands the
    check `evidence_rounds_reviewed_by_another`.
    """
    return (
        update(evidence_rounds)
        .where(evidence_rounds.c.subject_id == row.id, evidence_rounds.c.number == row.rounds_count)
        .values(
            verdict=constant(verdict),
            verdict_reason=cast(null(), Text) if reason is None else reason,
            reviewed_by=ACTOR,
            reviewed_at=func.now(),
        )
    )


_ROUNDS = Statement(
    select(*evidence_rounds.c)
    .where(evidence_rounds.c.subject_id == bindparam("subject_id"))
    .order_by(evidence_rounds.c.number)
)


async def rounds(session: ReadSession, subject_id: UUID) -> list[EvidenceRound]:
    """Every round, the first one first. The caller has made sure that the reader may see them."""
    return [EvidenceRound.model_validate(dict(row)) for row in await session.all(_ROUNDS, subject_id=subject_id)]


_subject_id: Final[ColumnElement[Any]] = bindparam("subject_id", type_=Uuid)
_erased = (
    update(evidence_rounds)
    .where(
        evidence_rounds.c.subject_id == _subject_id,
        evidence_rounds.c.images_erased_at.is_(None),
        deadlines.still_due(_subject_id, ERASE.kind),
    )
    .values(images_erased_at=func.now())
    .returning(evidence_rounds.c.image_ids)
    .cte("erased")
)
_ERASE = Statement(
    update(files)
    .where(
        files.c.id.in_(select(func.unnest(_erased.c.image_ids))),
        files.c.subject_id == _subject_id,
        files.c.discarded_at.is_(None),
    )
    .values(discarded_at=func.now())
)


async def erase(session: Session, subject_id: UUID) -> None:
    """For `deadlines.when_due`: nobody can open the images any more, and the next sweep removes them.

    The rounds stay, with what was said of them. Nothing happens if somebody has moved the deadline in the meantime.
    """
    await session.execute(_ERASE, subject_id=subject_id)

"""Deadlines: rows that the clock works off. Transitions set and clear them in their own statement (`lifecycle.py`).

A noun registers what is to happen when a kind of deadline falls due; the database's time decides when. Its transition
is guarded by `still_due`, because somebody may be moving the deadline at the very moment at which it falls due.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Text, bindparam, cast, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.database import Session, Statement
from app.core.errors import NotFound
from app.core.sql import constant
from app.kernel.transitions import IllegalTransition
from app.models.deadlines import deadlines

Handler = Callable[[Session, UUID], Awaitable[None]]

_handlers: Final[dict[tuple[str, str], Handler]] = {}


def when_due(subject_type: str, kind: str, handler: Handler) -> None:
    """Register the noun's function for one kind of deadline; it runs in the transaction that removes the deadline.

    It begins with the transition that may come too late: `IllegalTransition` and `NotFound` mean that nothing is to do.
    """
    _handlers[subject_type, kind] = handler


def still_due(subject_id: ColumnElement[Any], kind: str) -> ColumnElement[bool]:
    """For the guard of a transition that the clock takes: nobody has moved or cleared the deadline in the meantime.

    It locks the deadline, after the subject as every transition does, and so waits for whoever is moving it.
    """
    due = select(deadlines.c.due_at).where(
        deadlines.c.subject_id == subject_id, deadlines.c.kind == constant(kind), deadlines.c.due_at <= func.now()
    )
    return due.correlate_except(deadlines).with_for_update().exists()


_named = (deadlines.c.subject_id == bindparam("subject_id"), deadlines.c.kind == bindparam("kind"))
_is_due = deadlines.c.due_at <= func.now()
_longest_due = (
    select(deadlines.c.subject_type, deadlines.c.subject_id, deadlines.c.kind)
    .where(_is_due)
    .order_by(deadlines.c.due_at)
    .limit(literal_column("100"))
    .subquery()
)
# Clocks keep apart by an advisory lock each instead of the row's: transitions lock their subject first and then its
# deadlines, so a clock that held the deadline while it waited for the subject would be one half of a deadlock. The
# seed 1 keeps these locks apart from those of the idempotency keys.
_TAKE = Statement(
    select(_longest_due)
    .where(
        func.pg_try_advisory_xact_lock(
            func.hashtextextended(cast(_longest_due.c.subject_id, Text) + _longest_due.c.kind, literal_column("1"))
        )
    )
    .limit(literal_column("1"))
)
_IS_DUE = Statement(select(deadlines.c.due_at).where(*_named, _is_due))
_REMOVE = Statement(delete(deadlines).where(*_named, _is_due))
_POSTPONE = Statement(
    update(deadlines)
    # Not one that somebody has moved since it failed: it must not fall due earlier than they said.
    .where(*_named, _is_due)
    .values(
        failures=deadlines.c.failures + 1,
        # Twelve doublings are more than an hour; without a bound the power itself would overflow one day.
        due_at=func.now()
        + literal_column("interval '1 second'") * func.least(func.power(2, func.least(deadlines.c.failures, 12)), 3600),
    )
)


_set = upsert(deadlines).values(
    {name: bindparam(name, type_=deadlines.c[name].type) for name in ("subject_id", "kind", "subject_type", "due_at")}
)
_SET = Statement(
    _set.on_conflict_do_update(
        index_elements=["subject_id", "kind"], set_={"due_at": _set.excluded.due_at, "failures": 0}
    )
)
_CLEAR = Statement(delete(deadlines).where(*_named))


async def set_at(session: Session, subject: tuple[str, UUID], kind: str, due_at: datetime) -> None:
    """Set or move a deadline to a time of the calendar, which no number of seconds from now would name.

    The caller holds the lock of the subject's row, as a transition does.
    """
    await session.execute(_SET, subject_type=subject[0], subject_id=subject[1], kind=kind, due_at=due_at)


async def clear(session: Session, subject_id: UUID, kind: str) -> None:
    """Take a deadline away. The caller holds the lock of the subject's row."""
    await session.execute(_CLEAR, subject_id=subject_id, kind=kind)


async def work_off_one(session: Session) -> tuple[UUID, str] | None:
    """Do what is longest due; None when nothing is. The caller commits, and calls `postpone` if this raises."""
    due = await session.first(_TAKE)
    # Another clock may have finished it and let go of the lock between this statement's snapshot and its lock.
    while due is not None and not await session.first(_IS_DUE, subject_id=due["subject_id"], kind=due["kind"]):
        due = await session.first(_TAKE)
    if due is None:
        return None
    try:
        await _handlers[due["subject_type"], due["kind"]](session, due["subject_id"])
    except (IllegalTransition, NotFound):
        # The subject moved on while the deadline was on its way: whoever moved it was in time. No other conflict may
        # pass here: it could come after a part of the work, which would then be committed without the rest.
        pass
    except Exception as error:
        raise DeadlineFailed(due["subject_id"], due["kind"]) from error
    # A handler that set the same deadline anew has moved it into the future, where this does not reach.
    await session.execute(_REMOVE, subject_id=due["subject_id"], kind=due["kind"])
    return due["subject_id"], due["kind"]


class DeadlineFailed(Exception):
    """The noun's function broke; the deadline stays and is tried again later, so that it blocks no other."""

    def __init__(self, subject_id: UUID, kind: str) -> None:
        super().__init__(f"deadline {kind} of {subject_id}")
        self.subject_id, self.kind = subject_id, kind


async def postpone(session: Session, failed: DeadlineFailed) -> None:
    """Try again after 1, 2, 4 … seconds, an hour at most."""
    await session.execute(_POSTPONE, subject_id=failed.subject_id, kind=failed.kind)

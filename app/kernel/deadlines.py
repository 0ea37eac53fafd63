"""Deadlines: rows that the clock works off. Transitions set and clear them in their own statement (`lifecycle.py`).

A noun registers what is to happen when a kind of deadline falls due; the database's time decides when.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, func, literal_column, select, update

from app.core.database import Session, Statement
from app.core.errors import Conflict, NotFound
from app.models.deadlines import deadlines

Handler = Callable[[Session, UUID], Awaitable[None]]

_handlers: Final[dict[tuple[str, str], Handler]] = {}


def when_due(subject_type: str, kind: str, handler: Handler) -> None:
    """Register the noun's function for one kind of deadline; it runs in the transaction that removes the deadline."""
    _handlers[subject_type, kind] = handler


# SKIP LOCKED: any number of clocks share the work, none waits for a deadline that another has in hand.
_TAKE = Statement(
    select(deadlines.c.subject_type, deadlines.c.subject_id, deadlines.c.kind)
    .where(deadlines.c.due_at <= func.now())
    .order_by(deadlines.c.due_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_REMOVE = Statement(
    delete(deadlines).where(
        deadlines.c.subject_id == bindparam("subject_id"),
        deadlines.c.kind == bindparam("kind"),
        deadlines.c.due_at <= func.now(),
    )
)
_POSTPONE = Statement(
    update(deadlines)
    .where(deadlines.c.subject_id == bindparam("subject_id"), deadlines.c.kind == bindparam("kind"))
    .values(
        failures=deadlines.c.failures + 1,
        due_at=func.now()
        + literal_column("interval '1 second'") * func.least(func.power(2, deadlines.c.failures), 3600),
    )
)


async def work_off_one(session: Session) -> tuple[UUID, str] | None:
    """Do what is longest due; None when nothing is. The caller commits, and calls `postpone` if this raises."""
    due = await session.first(_TAKE)
    if due is None:
        return None
    try:
        await _handlers[due["subject_type"], due["kind"]](session, due["subject_id"])
    except (Conflict, NotFound):
        # The subject moved on while the deadline was on its way: whoever moved it was in time.
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

"""Where a reader is in its user's stream, and what comes next: in order, missing nothing.

A look finds every event that is visible and was not sent yet, also those that committed out of the order of their
numbers (`docs/adr/0002-transaction-horizon.md`). One statement serves many readers.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Integer,
    Uuid,
    any_,
    bindparam,
    column,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.types import UserDefinedType

from app.core.database import ReadSession, Row, Statement
from app.models.events import TransactionId, events, notifications

PAGE: Final = 100
"""Events that one look takes for one reader; also what may wait for a slow one, so it bounds memory."""

Snapshot = tuple[int, int, tuple[int, ...]]
"""PostgreSQL's `pg_snapshot`: every transaction below the first number had ended, none from the second on, and of those
between them the listed ones had not."""


class _SnapshotType(UserDefinedType[Snapshot]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "PG_SNAPSHOT"


_waiting = (
    func.unnest(
        bindparam("indexes", type_=ARRAY(Integer)),
        bindparam("users", type_=ARRAY(Uuid)),
        bindparam("horizons", type_=ARRAY(TransactionId)),
        bindparam("sent", type_=ARRAY(_SnapshotType)),
        bindparam("taking", type_=ARRAY(_SnapshotType)),
        bindparam("afters", type_=ARRAY(BigInteger)),
    )
    .table_valued(
        column("index", Integer),
        column("user_id", Uuid),
        column("horizon", TransactionId),
        column("sent", _SnapshotType),
        column("taking", _SnapshotType),
        column("after", BigInteger),
    )
    .render_derived(name="waiting")
)
_next = (
    select(notifications.c.seq, notifications.c.event_id)
    .where(
        notifications.c.user_id == _waiting.c.user_id,
        # This follows from the next condition, but it is the one that an index can serve.
        notifications.c.xid >= _waiting.c.horizon,
        ~func.pg_visible_in_snapshot(notifications.c.xid, _waiting.c.sent, type_=Boolean),
        or_(
            _waiting.c.taking.is_(None),
            func.pg_visible_in_snapshot(notifications.c.xid, _waiting.c.taking, type_=Boolean),
        ),
        notifications.c.seq > _waiting.c.after,
    )
    .order_by(notifications.c.seq)
    .limit(literal_column(str(PAGE)))
    .lateral("upcoming")
)
_found = (
    select(_waiting.c.index, _next.c.seq, events.c.id, events.c.name, events.c.payload, events.c.created_at)
    .select_from(_waiting)
    .join(_next, true())
    .join(events, events.c.id == _next.c.event_id)
    .subquery("found")
)
_snapshot = select(func.pg_current_snapshot(type_=_SnapshotType).label("snapshot")).subquery("snapshot")
# The very snapshot that the events were found in; one row even if none was.
_LOOK: Final = Statement(
    select(_snapshot.c.snapshot, _found)
    .select_from(_snapshot.outerjoin(_found, true()))
    .order_by(_found.c.index, _found.c.seq)
)
# One condition for all readers, whatever the position of each: a fraction of what looking for them would cost.
_news = (
    select(notifications.c.user_id)
    .distinct()
    .where(
        notifications.c.user_id == any_(bindparam("users", type_=ARRAY(Uuid))),
        notifications.c.xid >= bindparam("horizon", type_=TransactionId),
        ~func.pg_visible_in_snapshot(notifications.c.xid, bindparam("seen", type_=_SnapshotType), type_=Boolean),
    )
    .subquery("news")
)
_SWEEP: Final = Statement(select(_snapshot.c.snapshot, _news).select_from(_snapshot.outerjoin(_news, true())))
_RESUME_POINT: Final = Statement(
    select(
        events.c.seq,
        events.c.horizon,
        (events.c.created_at < func.now() - bindparam("seconds") * literal_column("interval '1 second'")).label("old"),
    )
    .join(notifications, notifications.c.event_id == events.c.id)
    .where(events.c.id == bindparam("event_id"), notifications.c.user_id == bindparam("user_id"))
)


class Position(NamedTuple):
    """Where a reader is in its user's stream: all that is visible in `sent` lies behind it.

    Ahead lies a pass: what a newer snapshot shows on top of that, in the order of the numbers, page by page. `taking`
    holds that snapshot until the last page, for what becomes visible in the meantime belongs to the next pass. Sent in
    this one, an event could overtake another that committed before it, and whoever resumed after it would never get
    the other.
    """

    sent: Snapshot
    taking: Snapshot | None = None
    after: int = 0


_THE_END: Final = 2**63 - 1
FROM_NOW_ON: Final = Position((_THE_END, _THE_END, ()))
"""Finds nothing, and thereby the snapshot to go on from."""


async def look(
    session: ReadSession, readers: Sequence[tuple[UUID, Position]]
) -> tuple[Snapshot, defaultdict[int, list[Row]]]:
    """The next page of each reader by its index, and the snapshot in which all of them were found."""
    positions = [position for _, position in readers]
    rows = await session.all(
        _LOOK,
        indexes=list(range(len(readers))),
        users=[user_id for user_id, _ in readers],
        horizons=[position.sent[0] for position in positions],
        sent=[position.sent for position in positions],
        taking=[position.taking for position in positions],
        afters=[position.after for position in positions],
    )
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row["index"] is not None:
            found[row["index"]].append(row)
    return rows[0]["snapshot"], found


async def sweep(session: ReadSession, users: Sequence[UUID], seen: Snapshot) -> tuple[Snapshot, list[UUID]]:
    """Those of the users for whom something has become visible since `seen`, and the snapshot that shows it."""
    rows = await session.all(_SWEEP, users=users, horizon=seen[0], seen=seen)
    return rows[0]["snapshot"], [row["user_id"] for row in rows if row["user_id"] is not None]


async def resume_point(session: ReadSession, user_id: UUID, event_id: UUID, seconds: float) -> Row | None:
    """`seq` and `horizon` of an event that was addressed to the user, and whether it is `old`er than these seconds."""
    return await session.first(_RESUME_POINT, event_id=event_id, user_id=user_id, seconds=seconds)

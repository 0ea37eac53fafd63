"""Where a reader is in its user's stream, and what comes next: in order, missing nothing.

A look finds every event that is visible and was not sent yet, also those that committed out of the order of their
numbers (`docs/adr/0002-transaction-horizon.md`). One statement serves many readers.
"""

from array import array
from collections.abc import Mapping, Sequence
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
    case,
    cast,
    column,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.types import UserDefinedType

from app.core.database import ReadSession, Row, Statement
from app.core.sql import given
from app.models.events import TransactionId, events, notifications

PAGE: Final = 100
"""Events that one look takes for one reader; also what may wait for a slow one, so it bounds memory."""

TOGETHER: Final = 1_000
"""Events that one look takes for all its readers, or one for each: while they are read and encoded, others wait."""

AHEAD: Final = 4_000
"""Numbers that one look finds for one reader. A look goes through all that lies ahead, which may be a week's events:
were it a page only, a reader far behind would pay for the rest again at each page."""

Snapshot = tuple[int, int, tuple[int, ...]]
"""PostgreSQL's `pg_snapshot`: every transaction below the first number had ended, none from the second on, and of those
between them the listed ones had not."""


class _SnapshotType(UserDefinedType[Snapshot]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "PG_SNAPSHOT"


_waiting = given(
    "waiting",
    indexes=column("index", Integer),
    users=column("user_id", Uuid),
    horizons=column("horizon", TransactionId),
    sent=column("sent", _SnapshotType),
    taking=column("taking", _SnapshotType),
    afters=column("after", BigInteger),
)
# Below zero stands the number of an event that this reader is told of quietly: many readers may share its content.
_signed = case((notifications.c.quiet, -notifications.c.seq), else_=notifications.c.seq)
_newest = select(cast(func.pg_snapshot_xmax(func.pg_current_snapshot()), TransactionId).label("xid")).scalar_subquery()
_upcoming = (
    select(_signed)
    .where(
        notifications.c.user_id == _waiting.c.user_id,
        # This follows from the next condition, but it is the one that an index can serve.
        notifications.c.xid >= _waiting.c.horizon,
        # And this is true of all that is visible: a range that is bounded on both sides is known to be a narrow one.
        notifications.c.xid < _newest,
        ~func.pg_visible_in_snapshot(notifications.c.xid, _waiting.c.sent, type_=Boolean),
        or_(
            _waiting.c.taking.is_(None),
            func.pg_visible_in_snapshot(notifications.c.xid, _waiting.c.taking, type_=Boolean),
        ),
        notifications.c.seq > _waiting.c.after,
    )
    .order_by(notifications.c.seq)
    .limit(literal_column(str(AHEAD)))
    .scalar_subquery()
)
_numbers = (
    select(
        func.pg_current_snapshot(type_=_SnapshotType).label("snapshot"),
        _waiting.c.index,
        func.array(_upcoming, type_=ARRAY(BigInteger)).label("numbers"),
    )
    .select_from(_waiting)
    .cte("numbers")
)
_event = (events.c.seq, events.c.id, events.c.name, events.c.payload, events.c.created_at)
_page = select(
    func.unnest(_numbers.c.numbers[1 : bindparam("page", type_=Integer)], type_=BigInteger).label("signed")
).subquery("page")
_wanted = select(func.abs(_page.c.signed).label("seq")).distinct().subquery("wanted")
# One by one, by the index: how many there are is more than the planner can guess.
_content = select(*_event).where(events.c.seq == _wanted.c.seq).limit(literal_column("1")).lateral("content")
# The numbers of each reader, and each event once, however many it is for: it may be long, and they may be thousands.
_LOOK: Final = Statement(
    union_all(
        select(_numbers, *(null().label(column.name) for column in _event)),
        select(*(null().label(column.name) for column in _numbers.c), *_content.c).select_from(
            _wanted.join(_content, true())
        ),
    )
)
_CONTENT: Final = Statement(select(*_event).where(events.c.seq == any_(bindparam("numbers", type_=ARRAY(BigInteger)))))
_snapshot = select(func.pg_current_snapshot(type_=_SnapshotType).label("snapshot")).subquery("snapshot")
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

    `ahead` are the numbers of this pass that were found already; those above `after` are yet to be looked for. A number
    below zero is one that the reader is told of quietly.
    """

    sent: Snapshot
    taking: Snapshot | None = None
    after: int = 0
    ahead: Sequence[int] = ()


_THE_END: Final = 2**63 - 1
FROM_NOW_ON: Final = Position((_THE_END, _THE_END, ()))
"""Finds nothing, and thereby the snapshot to go on from."""


class Step(NamedTuple):
    """The next page of a reader, each event with whether it comes quietly, and where the reader stands behind it."""

    events: list[tuple[Row, bool]]
    position: Position

    @property
    def is_last(self) -> bool:
        """Whether this was the last page of the pass."""
        return self.position.taking is None


async def look(session: ReadSession, readers: Sequence[tuple[UUID, Position]]) -> list[Step]:
    """The next step of each reader; the positions of all that look anew are of one snapshot."""
    page_size = max(1, min(PAGE, TOGETHER // max(1, len(readers))))
    numbers: dict[int, Sequence[int]] = {}
    snapshots: dict[int, Snapshot] = {}
    content: dict[int, Row] = {}
    anew = [(index, *each) for index, each in enumerate(readers) if not each[1].ahead]
    for row in await _look(session, anew, page_size):
        if row["seq"] is None:
            # As an array, they take a fifth of a list's memory while they wait for a reader that is slow.
            numbers[row["index"]], snapshots[row["index"]] = array("q", row["numbers"]), row["snapshot"]
        else:
            content[row["seq"]] = row
    steps = [
        _step(position, numbers.get(index, position.ahead), snapshots.get(index), page_size)
        for index, (_, position) in enumerate(readers)
    ]
    missing = {abs(number) for page, _ in steps for number in page} - content.keys()
    if missing:
        content |= {row["seq"]: row for row in await session.all(_CONTENT, numbers=list(missing))}
    return [Step(_told(page, content), position) for page, position in steps]


def _told(page: Sequence[int], content: Mapping[int, Row]) -> list[tuple[Row, bool]]:
    return [(content[abs(number)], number < 0) for number in page if abs(number) in content]


async def _look(session: ReadSession, readers: Sequence[tuple[int, UUID, Position]], page_size: int) -> list[Row]:
    if not readers:
        return []
    indexes, users, positions = zip(*readers, strict=True)
    return await session.all(
        _LOOK,
        indexes=indexes,
        users=users,
        horizons=[position.sent[0] for position in positions],
        sent=[position.sent for position in positions],
        taking=[position.taking for position in positions],
        afters=[position.after for position in positions],
        page=page_size,
    )


def _step(
    position: Position, numbers: Sequence[int], snapshot: Snapshot | None, page_size: int
) -> tuple[Sequence[int], Position]:
    """The page that comes first among these numbers, and the position behind it; `snapshot` if they were just found."""
    page, ahead = numbers[:page_size], numbers[page_size:]
    if snapshot is None:
        return page, position._replace(ahead=ahead)
    taking = position.taking or snapshot
    if len(numbers) == AHEAD or ahead:
        return page, Position(position.sent, taking, abs(numbers[-1]), ahead)
    return page, Position(taking)


async def sweep(session: ReadSession, users: Sequence[UUID], seen: Snapshot) -> tuple[Snapshot, list[UUID]]:
    """Those of the users for whom something has become visible since `seen`, and the snapshot that shows it."""
    rows = await session.all(_SWEEP, users=users, horizon=seen[0], seen=seen)
    return rows[0]["snapshot"], [row["user_id"] for row in rows if row["user_id"] is not None]


async def resume_point(session: ReadSession, user_id: UUID, event_id: UUID, seconds: float) -> Row | None:
    """`seq` and `horizon` of an event that was addressed to the user, and whether it is `old`er than these seconds."""
    return await session.first(_RESUME_POINT, event_id=event_id, user_id=user_id, seconds=seconds)

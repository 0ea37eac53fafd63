"""The event log (realtime.md: Event log for integrators): in an order that no commit slips past, page by page.

It is read up to the oldest running transaction: below that nothing can appear any more, so (xid, seq) is one order for
all readers and for ever, and a place in it is a cursor (`docs/adr/0002-transaction-horizon.md`).
"""

import binascii
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from itertools import product
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
    tuple_,
)

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import ReadSession, Statement
from app.core.errors import Unprocessable
from app.core.pagination import InvalidCursor
from app.kernel import event_types
from app.kernel.events import envelope, without_confidences
from app.models.events import TransactionId, events, notifications
from app.schemas.event_log import LOG_LIMIT, LoggedEvents, LogQuery

_SCANNED: Final = 2000
"""Events that one call looks through for those of the wanted types, however few they are. No page is longer."""
_SHAPE: Final = struct.Struct(">QQI")
_LIMIT: Final = 2**63


class CursorTooOld(Unprocessable):
    """What came right behind it may be forgotten by now: begin anew without a cursor, and fetch the lists."""

    code, title = "cursor_too_old", "This cursor is older than the log reaches back."


class _Place(NamedTuple):
    xid: int
    seq: int


def _decode(cursor: str | None, now: float) -> _Place:
    if cursor is None:
        return _Place(0, 0)
    try:
        xid, seq, given_at = _SHAPE.unpack(urlsafe_b64decode(cursor + "=="))
    except (binascii.Error, ValueError, struct.error) as error:
        raise InvalidCursor() from error
    if xid >= _LIMIT or seq >= _LIMIT:
        raise InvalidCursor()
    if given_at < now - settings().event_retention_seconds:
        raise CursorTooOld()
    return _Place(xid, seq)


def _encode(place: _Place, now: float) -> str:
    return urlsafe_b64encode(_SHAPE.pack(*place, int(now))).rstrip(b"=").decode()


def settled(xid: ColumnElement[Any]) -> ColumnElement[bool]:
    """Nothing can appear any more at this transaction number or below it."""
    return xid < cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), TransactionId)


_CONTENT: Final = (events.c.id, events.c.name, events.c.payload, events.c.created_at)


def _log(everything: bool, of_types: bool) -> Statement:
    """All events or those of a user, and of all types or of some, each planned for good.

    That takes a limit that the planner knows below the one that is asked for, and never reached before it (`newest` in
    `app/core/pagination.py` says why; this log goes the other way, by another key and further in a page).
    """
    source, event_id = (events, events.c.id) if everything else (notifications, notifications.c.event_id)
    # What is looked through is all told, and need not be looked up again.
    whole = everything and not of_types
    place = tuple_(source.c.xid, source.c.seq)
    after = tuple_(bindparam("xid", type_=TransactionId), bindparam("seq", type_=BigInteger))
    few = (
        select(source.c.xid, source.c.seq, *(_CONTENT if whole else (event_id.label("event_id"),)))
        .where(place > after, settled(source.c.xid))
        .order_by(source.c.xid, source.c.seq)
        .limit(literal_column(str(_SCANNED if of_types else LOG_LIMIT + 1)))
    )
    if not everything:
        few = few.where(notifications.c.user_id == bindparam("user_id", type_=Uuid))
    page = few.subquery("few")
    scanned = select(page).order_by(page.c.xid, page.c.seq).limit(bindparam("scan", type_=Integer)).cte("scanned")
    found = (select(scanned) if whole else _looked_up(scanned, of_types)).subquery("found")
    newest = (scanned.c.xid.desc(), scanned.c.seq.desc())
    tail = select(
        select(scanned.c.xid).order_by(*newest).limit(literal_column("1")).scalar_subquery().label("xid"),
        select(scanned.c.seq).order_by(*newest).limit(literal_column("1")).scalar_subquery().label("seq"),
        select(func.count()).select_from(scanned).scalar_subquery().label("count"),
        (~settled(bindparam("xid", type_=TransactionId))).label("ahead"),
    ).subquery("tail")
    return Statement(
        select(tail.c.xid.label("last_xid"), tail.c.seq.label("last_seq"), tail.c.count, tail.c.ahead, found)
        .select_from(tail.outerjoin(found, true()))
        .order_by(found.c.xid, found.c.seq)
    )


def _looked_up(scanned: CTE, of_types: bool) -> Select[Any]:
    found = select(scanned.c.xid, scanned.c.seq, *_CONTENT).join(events, events.c.id == scanned.c.event_id)
    if not of_types:
        return found
    return (
        found.where(event_types.matches(events.c.name, bindparam("types", type_=ARRAY(Text))))
        .order_by(scanned.c.xid, scanned.c.seq)
        .limit(bindparam("rows", type_=Integer))
    )


_LOGS: Final = {which: _log(*which) for which in product((False, True), repeat=2)}


async def page(session: ReadSession, actor: Actor, wanted: LogQuery, *, everything: bool) -> LoggedEvents:
    """What comes after the cursor: of the events that were addressed to the actor, or of all, without confidences.

    Of rare types a page may hold few or none although more lie ahead: `has_more` tells, and the cursor has moved on.
    """
    event_types.check(wanted.types)
    now = time.time()
    place = _decode(wanted.after, now)
    rows_wanted = wanted.limit + 1
    of_types = event_types.EVERY not in wanted.types
    scan = _SCANNED if of_types else rows_wanted
    statement = _LOGS[everything, of_types]
    rows = await session.all(
        statement,
        xid=place.xid,
        seq=place.seq,
        scan=scan,
        **statement.known(user_id=actor.user_id, types=list(wanted.types), rows=rows_wanted),
    )
    if rows[0]["ahead"]:
        raise InvalidCursor("This cursor is from before the database was restored; begin anew without one.")
    found = [row for row in rows if row["id"] is not None]
    items = found[: wanted.limit]
    if len(found) > wanted.limit:
        place, has_more = _Place(items[-1]["xid"], items[-1]["seq"]), True
    elif rows[0]["count"]:
        place, has_more = _Place(rows[0]["last_xid"], rows[0]["last_seq"]), rows[0]["count"] == scan
    else:
        has_more = False
    return LoggedEvents(
        items=[envelope(without_confidences(row) if everything else row, actor.language) for row in items],
        next_cursor=_encode(place, now),
        has_more=has_more,
    )

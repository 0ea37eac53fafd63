"""The event log (realtime.md: Event log for integrators): in an order that no commit slips past, page by page.

It is read up to the oldest running transaction: below that nothing can appear any more, so (xid, seq) is one order for
all readers and for ever, and a place in it is a cursor (`docs/adr/0002-transaction-horizon.md`).
"""

import binascii
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Table,
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
from app.schemas.event_log import LoggedEvents, LogQuery

_SCANNED: Final = 2000
"""Events that one call looks through for those of the wanted types, however few they are."""
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


def _log(source: Table, event_id: ColumnElement[Any], *conditions: ColumnElement[bool]) -> Statement:
    place = tuple_(source.c.xid, source.c.seq)
    after = tuple_(bindparam("xid", type_=TransactionId), bindparam("seq", type_=BigInteger))
    scanned = (
        select(source.c.xid, source.c.seq, event_id.label("event_id"))
        .where(*conditions, place > after, settled(source.c.xid))
        .order_by(source.c.xid, source.c.seq)
        .limit(bindparam("scan", type_=Integer))
        .cte("scanned")
    )
    found = _wanted(select(scanned.c.xid, scanned.c.seq).join(events, events.c.id == scanned.c.event_id)).subquery(
        "found"
    )
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


def _wanted(scanned: Select[Any]) -> Select[Any]:
    return (
        scanned.add_columns(events.c.id, events.c.name, events.c.payload, events.c.created_at)
        .where(event_types.matches(events.c.name, bindparam("types", type_=ARRAY(Text))))
        .order_by(*scanned.selected_columns)
        .limit(bindparam("rows", type_=Integer))
    )


_OWN: Final = _log(notifications, notifications.c.event_id, notifications.c.user_id == bindparam("user_id", type_=Uuid))
_ALL: Final = _log(events, events.c.id)


async def page(session: ReadSession, actor: Actor, wanted: LogQuery, *, everything: bool) -> LoggedEvents:
    """What comes after the cursor: of the events that were addressed to the actor, or of all, without confidences.

    Of rare types a page may hold few or none although more lie ahead: `has_more` tells, and the cursor has moved on.
    """
    event_types.check(wanted.types)
    now = time.time()
    place = _decode(wanted.after, now)
    rows_wanted = wanted.limit + 1
    scan = rows_wanted if event_types.EVERY in wanted.types else max(_SCANNED, rows_wanted)
    statement, whose = (_ALL, {}) if everything else (_OWN, {"user_id": actor.user_id})
    rows = await session.all(
        statement, **whose, xid=place.xid, seq=place.seq, scan=scan, rows=rows_wanted, types=list(wanted.types)
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

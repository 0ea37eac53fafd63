"""Events that a conversation's statements write by themselves, with their recipients."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, func, insert, select, true
from sqlalchemy.sql.selectable import CTE

from app.kernel.events import Event
from app.kernel.lifecycle import constant
from app.models.events import events, notifications

SUBJECT = "conversation"


def told(
    event: type[Event],
    event_id: ColumnElement[Any],
    source: FromClause,
    payload: Mapping[str, ColumnElement[Any]],
    to: Select[Any],
    quiet: Callable[[ColumnElement[Any]], ColumnElement[bool]],
) -> tuple[CTE, CTE]:
    """The event for the one row of `source`, or none, and its recipients; the second one returns their `user_id`.

    `quiet` says of whom that they are not notified: their devices get it, so that their lists follow.
    """
    if set(payload) != set(event.model_fields):
        raise TypeError(f"{event.name}: payload and model differ in {set(payload) ^ set(event.model_fields)}")
    pairs = [part for key, value in payload.items() for part in (constant(key), value)]
    row = select(
        event_id,
        constant(event.name),
        constant(SUBJECT),
        payload["conversation_id"],
        func.jsonb_build_object(*pairs),
    ).select_from(source)
    written = (
        insert(events)
        .from_select(["id", "name", "subject_type", "subject_id", "payload"], row)
        .returning(events.c.id, events.c.seq)
        .cte("event")
    )
    reader = to.subquery("reader")
    readers = select(reader.c[0], written.c.id, written.c.seq, quiet(reader.c[0])).select_from(
        reader.join(written, true())
    )
    notified = (
        insert(notifications)
        .from_select(["user_id", "event_id", "seq", "quiet"], readers)
        .returning(notifications.c.user_id)
        .cte("notified")
    )
    return written, notified

"""The feed: events that were addressed to a user, newest first, with what was read (realtime.md: Feed)."""

from functools import cache
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, literal_column, select, update

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, next_cursor
from app.kernel.events import envelope
from app.models.events import events, notifications
from app.schemas.notifications import Feed, FeedPage, Notification

_COUNTED = 1000


@cache
def _page(unread: bool) -> Statement:
    query = (
        select(
            events.c.id,
            events.c.name,
            events.c.payload,
            events.c.created_at,
            notifications.c.read_at.is_not(None).label("read"),
        )
        .join(events, events.c.id == notifications.c.event_id)
        .where(
            notifications.c.user_id == bindparam("user_id"), notifications.c.event_id < bindparam("before", type_=Uuid)
        )
    )
    if unread:
        query = query.where(notifications.c.read_at.is_(None))
    return Statement(query.order_by(notifications.c.event_id.desc()).limit(bindparam("rows")))


_UNREAD = Statement(
    select(func.count()).select_from(
        select(notifications.c.seq)
        .where(notifications.c.user_id == bindparam("user_id"), notifications.c.read_at.is_(None))
        .limit(literal_column(str(_COUNTED)))
        .subquery()
    )
)
_MARK = Statement(
    update(notifications)
    .where(notifications.c.user_id == bindparam("user_id"), notifications.c.event_id == bindparam("event_id"))
    .values(read_at=func.coalesce(notifications.c.read_at, func.now()))
)
_MARK_ALL = Statement(
    update(notifications)
    .where(notifications.c.user_id == bindparam("user_id"), notifications.c.read_at.is_(None))
    .values(read_at=func.now())
)


async def page(session: ReadSession, actor: Actor, wanted: FeedPage) -> Feed:
    rows = await session.all(
        _page(wanted.unread), user_id=actor.user_id, before=decode(wanted.cursor), rows=wanted.limit + 1
    )
    return Feed(
        items=[Notification(event=envelope(row, actor.language), read=row["read"]) for row in rows[: wanted.limit]],
        next_cursor=next_cursor(rows, wanted.limit),
        unread_count=await session.scalar(_UNREAD, user_id=actor.user_id),
    )


async def mark_read(session: Session, actor: Actor, event_id: UUID) -> int:
    """Mark one event as read; `NotFound` if it was not addressed to the actor."""
    if not await session.execute(_MARK, user_id=actor.user_id, event_id=event_id):
        raise NotFound()
    return 1


async def mark_all_read(session: Session, actor: Actor) -> int:
    return await session.execute(_MARK_ALL, user_id=actor.user_id)

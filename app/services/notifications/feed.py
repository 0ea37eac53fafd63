"""The feed: events that were addressed to a user, newest first, with what was read (realtime.md: Feed)."""

from functools import cache
from uuid import UUID

from sqlalchemy import ColumnElement, Update, Uuid, bindparam, exists, func, literal_column, select, update

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest, next_cursor
from app.kernel.events import emit, envelope
from app.models.events import events, notifications
from app.schemas.notifications import Feed, FeedPage, Notification
from app.services.notifications import events as about

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
            notifications.c.user_id == bindparam("user_id"),
            notifications.c.event_id < bindparam("before", type_=Uuid),
            ~notifications.c.quiet,
        )
    )
    if unread:
        query = query.where(notifications.c.read_at.is_(None))
    return Statement(newest(query, events.c.id))


# Word for word the predicate of `notifications_unread_index`.
_unread = (
    notifications.c.user_id == bindparam("user_id"),
    notifications.c.read_at.is_(None),
    ~notifications.c.quiet,
)
_UNREAD = Statement(
    select(func.count()).select_from(
        select(notifications.c.seq).where(*_unread).limit(literal_column(str(_COUNTED))).subquery()
    )
)


def _marking(*which: ColumnElement[bool]) -> Update:
    """Mark as read what is not; of two that mark the same, the row's lock lets one have it."""
    return update(notifications).where(*_unread, *which).values(read_at=func.now()).returning(notifications.c.event_id)


_named = notifications.c.event_id == bindparam("event_id")
_MARK = Statement(_marking(_named))
_IS_THERE = Statement(
    select(exists().where(notifications.c.user_id == bindparam("user_id"), _named, ~notifications.c.quiet))
)
_marked = _marking().cte("marked")
_few = select(_marked.c.event_id).limit(literal_column(str(about.NAMED_LIMIT))).subquery()
_MARK_ALL = Statement(
    select(
        select(func.count()).select_from(_marked).scalar_subquery().label("count"),
        func.array(select(_few.c.event_id).scalar_subquery()).label("event_ids"),
    )
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
    """Mark one event as read; `NotFound` if it is not in the actor's feed."""
    if await session.first(_MARK, user_id=actor.user_id, event_id=event_id):
        await _tell(session, actor.user_id, [event_id], 1)
    elif not await session.scalar(_IS_THERE, user_id=actor.user_id, event_id=event_id):
        raise NotFound()
    return 1


async def mark_all_read(session: Session, actor: Actor) -> int:
    """Mark what is in the feed by now; how many that were."""
    row = await session.first(_MARK_ALL, user_id=actor.user_id)
    count: int = row["count"] if row else 0
    if row and count:
        await _tell(session, actor.user_id, row["event_ids"] if count <= about.NAMED_LIMIT else None, count)
    return count


async def _tell(session: Session, user_id: UUID, event_ids: list[UUID] | None, count: int) -> None:
    """Name what became read: what arrives at this very moment is not among it, and no order of numbers would tell."""
    read = about.Read(event_ids=event_ids, count=count)
    await emit(session, read, subject_type="feed", subject_id=user_id, to=(), quietly_to=[user_id])

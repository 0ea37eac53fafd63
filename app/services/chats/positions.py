"""How far a participant has read: it moves forward only, and the others hear of it (realtime.md: Chat)."""

from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Uuid, bindparam, func, literal_column, select, true, update
from sqlalchemy.sql.selectable import CTE

from app.core.actor import Actor
from app.core.database import Session, Statement
from app.core.errors import NotFound
from app.core.ids import uuid7
from app.core.valkey import STREAMS
from app.kernel.events import emission, log_entry
from app.kernel.lifecycle import ACTOR
from app.models.chats import conversation_participants, messages
from app.models.events import notifications
from app.schemas.chats import ReadPosition
from app.services.chats import access
from app.services.chats.events import SUBJECT, Read
from app.services.chats.sending import COUNTED, locked, talk_of

_mine = conversation_participants.c


def _before(old: CTE, everybody: CTE) -> CTE:
    """The actor's row under its lock, how far they want to have read, and how many are then left."""
    wanted: ColumnElement[Any] = func.least(bindparam("number", type_=Integer), old.c.last_number)
    return (
        select(
            _mine.conversation_id,
            _mine.read_number,
            _mine.unread_count,
            wanted.label("wanted"),
            # Asked of a function, which looks anew and so sees what was sent while this waited for the lock.
            func.chat_unread(old.c.id, ACTOR, wanted).label("left"),
        )
        .select_from(conversation_participants.join(old, old.c.id == _mine.conversation_id))
        .where(_mine.user_id == ACTOR, select(everybody.c.user_id).where(everybody.c.user_id == ACTOR).exists())
        .with_for_update(of=conversation_participants, key_share=True)
        .cte("before")
    )


def _read_in_feed(moved: CTE) -> CTE:
    """What told of the messages in the actor's feed counts as read, too."""
    seen = (
        select(messages.c.id)
        .where(
            messages.c.conversation_id == moved.c.conversation_id,
            messages.c.number > moved.c["from"],
            messages.c.number <= moved.c.read_number,
        )
        .order_by(messages.c.number.desc())
        .limit(literal_column(str(COUNTED)))
        .subquery("seen")
    )
    return (
        update(notifications)
        .where(
            notifications.c.user_id == ACTOR, notifications.c.event_id == seen.c.id, notifications.c.read_at.is_(None)
        )
        .values(read_at=func.now())
        .cte("in_feed")
    )


@cache
def _move() -> Statement:
    """The conversation is locked first, as a sender does; then what the actor's row says is what the last one left."""
    old = locked()
    everybody = access.everybody(talk_of(old), old.c.id).cte("everybody")
    before = _before(old, everybody)
    moved = (
        update(conversation_participants)
        .where(
            _mine.conversation_id == before.c.conversation_id,
            _mine.user_id == ACTOR,
            before.c.read_number < before.c.wanted,
        )
        .values(read_number=before.c.wanted, unread_count=before.c.left)
        .returning(_mine.conversation_id, _mine.read_number, _mine.unread_count, before.c.read_number.label("from"))
        .cte("moved")
    )
    payload = {
        "conversation_id": moved.c.conversation_id,
        "user_id": ACTOR,
        "read_number": moved.c.read_number,
        "unread_count": moved.c.unread_count,
    }
    event, notified = emission(
        log_entry(Read, bindparam("event_id", type_=Uuid), (SUBJECT, moved.c.conversation_id), payload),
        select(everybody.c.user_id, true().label("quiet")).select_from(everybody.join(moved, true())),
    )
    return Statement(
        select(
            func.coalesce(moved.c.read_number, before.c.read_number).label("read_number"),
            func.coalesce(moved.c.unread_count, before.c.unread_count).label("unread_count"),
            func.array(select(notified.c.user_id).scalar_subquery()).label("recipients"),
        )
        .select_from(before.outerjoin(moved, true()))
        .add_cte(event, notified, _read_in_feed(moved))
    )


async def mark_read(session: Session, actor: Actor, conversation_id: UUID, number: int) -> ReadPosition:
    """The actor has read up to this message; what told of them in the feed counts as read, too.

    Two at once never move it backwards: the row is compared under its lock. `NotFound` for who takes no part.
    """
    row = await session.first(
        _move(), conversation_id=conversation_id, actor_id=actor.id, number=number, event_id=uuid7()
    )
    if row is None:
        raise NotFound()
    session.tell(STREAMS, row["recipients"])
    return ReadPosition(read_number=row["read_number"], unread_count=row["unread_count"])

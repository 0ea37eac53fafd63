"""Deleting a message: it keeps its number, the parties lose its content, staff still see it (realtime.md: Chat)."""

from functools import cache
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, func, select, update

from app.core.actor import Actor
from app.core.database import Session, Statement
from app.core.errors import NotFound
from app.kernel import events
from app.kernel.lifecycle import ACTOR
from app.models.chats import conversations, messages
from app.services.chats import access
from app.services.chats.events import SUBJECT, MessageDeleted
from app.services.chats.opening import UNSAY
from app.services.chats.sending import talk_of


@cache
def _delete() -> Statement:
    """The conversation's lock first, so that events about it are in the order of what happened."""
    own = (
        select(messages.c.conversation_id)
        .where(messages.c.id == bindparam("message_id", type_=Uuid), messages.c.sender_id == ACTOR)
        .cte("own")
    )
    old = (
        select(conversations)
        .where(conversations.c.id == own.c.conversation_id, conversations.c.deleted_at.is_(None))
        .with_for_update(of=conversations, key_share=True)
        .cte("old")
    )
    everybody = access.everybody(talk_of(old), old.c.id).cte("everybody")
    takes_part = select(everybody.c.user_id).where(everybody.c.user_id == ACTOR).exists()
    gone = (
        update(messages)
        .where(
            messages.c.id == bindparam("message_id", type_=Uuid),
            messages.c.conversation_id == old.c.id,
            messages.c.deleted_at.is_(None),
            takes_part,
        )
        .values(deleted_at=func.now())
        .returning(messages.c.conversation_id, messages.c.number)
        .cte("gone")
    )
    others = select(everybody.c.user_id).where(everybody.c.user_id != ACTOR)
    return Statement(select(*gone.c, func.array(others.scalar_subquery(), type_=ARRAY(Uuid)).label("others")))


async def delete(session: Session, actor: Actor, message_id: UUID) -> None:
    """The author takes the message back. `NotFound` for anybody else's, and for one that is gone already."""
    gone = await session.first(_delete(), message_id=message_id, actor_id=actor.id)
    if gone is None:
        raise NotFound()
    await session.execute(UNSAY, message_id=message_id)
    event = MessageDeleted(conversation_id=gone["conversation_id"], message_id=message_id, number=gone["number"])
    await events.emit(session, event, subject_type=SUBJECT, subject_id=gone["conversation_id"], to=gone["others"])

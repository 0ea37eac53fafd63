"""Who wants no messages from whom (realtime.md: Chat). A block works in both directions and never against staff."""

from typing import Final
from uuid import UUID

from sqlalchemy import Uuid, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR
from app.models.chats import conversation_participants, conversations, user_blocks
from app.schemas.base import Page, PageQuery, page_of
from app.schemas.chats import BlockedUser
from app.services.chats import access

_other = bindparam("user_id", type_=Uuid)
_mine, _theirs = conversation_participants.alias("mine"), conversation_participants.alias("theirs")
# Whoever is sending there at this moment comes before the block, and whoever waits for the lock finds it. In the order
# of their ids, so that two who block each other do not wait for each other.
_LOCK_SHARED: Final = Statement(
    select(conversations.c.id)
    .join(_mine, _mine.c.conversation_id == conversations.c.id)
    .join(_theirs, _theirs.c.conversation_id == conversations.c.id)
    .where(_mine.c.user_id == ACTOR, _theirs.c.user_id == _other, _theirs.c.role == access.PARTY)
    .order_by(conversations.c.id)
    .with_for_update(of=conversations, key_share=True)
)
_BLOCK: Final = Statement(upsert(user_blocks).values(blocker_id=ACTOR, blocked_id=_other).on_conflict_do_nothing())
_UNBLOCK: Final = Statement(
    delete(user_blocks).where(user_blocks.c.blocker_id == ACTOR, user_blocks.c.blocked_id == _other)
)
_blocked = select(user_blocks.c.blocked_id.label("id"), user_blocks.c.created_at).where(
    user_blocks.c.blocker_id == ACTOR, user_blocks.c.blocked_id < bindparam("before", type_=Uuid)
)
_LISTED: Final = Statement(newest(_blocked, user_blocks.c.blocked_id))


async def block(session: Session, actor: Actor, user_id: UUID) -> None:
    """No new messages between the two from the moment at which this commits; `NotFound` if they never met in a chat."""
    if user_id == actor.id or not await session.all(_LOCK_SHARED, actor_id=actor.id, user_id=user_id):
        raise NotFound()
    await session.execute(_BLOCK, actor_id=actor.id, user_id=user_id)


async def unblock(session: Session, actor: Actor, user_id: UUID) -> None:
    """Take the actor's own block back; the other one's, if there is one, stays."""
    if not await session.execute(_UNBLOCK, actor_id=actor.id, user_id=user_id):
        raise NotFound()


async def listed(session: ReadSession, actor: Actor, wanted: PageQuery) -> Page[BlockedUser]:
    """Whom the actor has blocked."""
    rows = await session.all(_LISTED, actor_id=actor.id, before=decode(wanted.cursor), rows=wanted.limit + 1)
    return page_of(rows, wanted.limit, lambda row: BlockedUser.model_validate(dict(row)))

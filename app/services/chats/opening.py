"""How a conversation begins, who joins it, and how it is deleted (realtime.md: Chat)."""

import json
from functools import cache
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.actor import Actor
from app.core.database import Session, Statement
from app.core.errors import Forbidden, NotFound
from app.core.ids import uuid7
from app.kernel import events, subjects
from app.kernel.lifecycle import ACTOR, constant
from app.kernel.platform import Platform
from app.models.chats import ParticipantRole, conversation_participants, conversations, messages
from app.models.events import events as event_log
from app.models.users import users
from app.schemas.chats import Conversation, OpenConversation
from app.services.chats import access, reading
from app.services.chats.events import SUBJECT, ConversationDeleted, MessageSent, ParticipantJoined
from app.services.chats.refusals import AlreadyTakesPart, ConversationClosed
from app.services.chats.sending import locked, talk_of

_FOUND = Statement(
    select(conversations.c.id).where(
        conversations.c.subject_type == bindparam("subject_type"),
        conversations.c.subject_id == bindparam("subject_id"),
        conversations.c.counterpart_id.is_not_distinct_from(bindparam("counterpart_id", type_=Uuid)),
        conversations.c.deleted_at.is_(None),
    )
)


@cache
def _list() -> Statement:
    """From now on the conversation is in the list of a party who opens it, though nothing was written yet."""
    row = select(conversations.c.id, ACTOR, conversations.c.id).where(
        conversations.c.id == bindparam("conversation_id", type_=Uuid), access.is_party()
    )
    statement = upsert(conversation_participants).from_select(["conversation_id", "user_id", "activity_id"], row)
    activity = func.coalesce(conversation_participants.c.activity_id, statement.excluded.activity_id)
    return Statement(
        statement.on_conflict_do_update(index_elements=["conversation_id", "user_id"], set_={"activity_id": activity})
    )


@cache
def _begin() -> Statement:
    """Nothing where the actor is not one of at least two people, or where there is one already."""
    wanted = select(
        bindparam("subject_type", type_=Text).label("subject_type"),
        bindparam("subject_id", type_=Uuid).label("subject_id"),
        bindparam("counterpart_id", type_=Uuid).label("counterpart_id"),
    ).cte("wanted")
    talk = access.Talk(wanted.c.subject_type, wanted.c.subject_id, wanted.c.counterpart_id)
    people = access.people(talk).cte("people")
    may_begin = select(
        func.bool_or(people.c.user_id == ACTOR) & (func.count(people.c.user_id.distinct()) > literal_column("1"))
    ).scalar_subquery()
    made = (
        upsert(conversations)
        .from_select(
            ["id", "subject_type", "subject_id", "counterpart_id", "region_id"],
            select(bindparam("id", type_=Uuid), *wanted.c, access.region(talk)).where(may_begin),
        )
        .on_conflict_do_nothing()
        .returning(conversations.c.id)
        .cte("made")
    )
    joined = (
        insert(conversation_participants)
        .from_select(
            ["conversation_id", "user_id", "activity_id"],
            select(made.c.id, people.c.user_id, case((people.c.user_id == ACTOR, made.c.id), else_=null())).select_from(
                made.join(people, true())
            ),
        )
        .cte("joined")
    )
    return Statement(select(made.c.id).add_cte(joined))


async def begin(session: Session, platform: Platform, actor: Actor, wanted: OpenConversation) -> Conversation:
    """Open the conversation about a subject, or find the one that there is; the others see it with the first message.

    The index `conversations_one_alive` lets one of many that begin at once make it. Raises `TooManyRequests`, and
    `NotFound` for who does not take part in the subject, or would be alone.
    """
    await platform.limits.hit(platform.settings.conversations_per_user, "conversation", str(actor.user_id))
    subject = subjects.talked_about().get(wanted.subject_type)
    if subject is None or subject.conversation is None:
        raise NotFound()
    counterpart_id = wanted.counterpart_id
    if subject.conversation.host is None:
        if counterpart_id is not None:
            raise NotFound()
    elif counterpart_id is None:
        counterpart_id = actor.id
    about = {"subject_type": wanted.subject_type, "subject_id": wanted.subject_id, "counterpart_id": counterpart_id}
    conversation_id = await session.scalar(_FOUND, **about)
    if conversation_id is None:
        made = await session.scalar(_begin(), **about, id=uuid7(), actor_id=actor.id)
        if made is not None:
            return await reading.conversation(session, actor, made)
        conversation_id = await session.scalar(_FOUND, **about)
    if conversation_id is None:
        raise NotFound()
    await session.execute(_list(), conversation_id=conversation_id, actor_id=actor.id)
    return await reading.conversation(session, actor, conversation_id)


_LOOKED_ON = Statement(
    select(conversations.c.deleted_at)
    .where(conversations.c.id == bindparam("conversation_id"), access.is_staff)
    .with_for_update(key_share=True)
)


@cache
def _join() -> Statement:
    """The lock makes it wait for messages that are being written; later ones are told to who joins, too."""
    old = locked()
    joined = (
        upsert(conversation_participants)
        .from_select(
            ["conversation_id", "user_id", "role", "read_number", "activity_id"],
            select(
                old.c.id,
                ACTOR,
                bindparam("role", type_=Text),
                old.c.last_number,
                func.coalesce(
                    select(messages.c.id)
                    .where(messages.c.conversation_id == old.c.id, messages.c.number == old.c.last_number)
                    .scalar_subquery(),
                    old.c.id,
                ),
            ),
        )
        .on_conflict_do_nothing()
        .returning(conversation_participants.c.read_number)
        .cte("joined")
    )
    everybody = access.everybody(talk_of(old), old.c.id).subquery("everybody")
    return Statement(
        select(
            joined.c.read_number,
            select(users.c.name).where(users.c.id == ACTOR).scalar_subquery().label("user_name"),
            func.array(
                select(everybody.c.user_id).where(everybody.c.user_id != ACTOR).scalar_subquery(), type_=ARRAY(Uuid)
            ).label("others"),
        )
    )


_ROLE = Statement(
    select(conversation_participants.c.role).where(
        conversation_participants.c.conversation_id == bindparam("conversation_id"),
        conversation_participants.c.user_id == ACTOR,
    )
)


async def join(session: Session, conversation_id: UUID, actor: Actor) -> Conversation:
    """Staff take part from now on, in sight of the parties; once more changes nothing.

    Raises `NotFound` for a conversation of other regions, `AlreadyTakesPart` for a party, `ConversationClosed`.
    """
    role = access.as_staff(actor)
    if role is None:
        raise Forbidden()
    known = {"conversation_id": conversation_id, "actor_id": actor.id}
    looked_on = await session.first(_LOOKED_ON, **known, actor_roles=list(actor.roles))
    if looked_on is None:
        raise NotFound()
    if looked_on["deleted_at"] is not None:
        raise ConversationClosed()
    joined = await session.first(_join(), **known, role=role.value)
    if joined is not None:
        event = ParticipantJoined(
            conversation_id=conversation_id,
            user_id=actor.user_id,
            user_name=joined["user_name"],
            role=role.value,
            read_number=joined["read_number"],
        )
        await events.emit(session, event, subject_type=SUBJECT, subject_id=conversation_id, to=joined["others"])
    elif await session.scalar(_ROLE, **known) == ParticipantRole.PARTY:
        raise AlreadyTakesPart()
    return await reading.conversation(session, actor, conversation_id)


# In the order of their ids, as whoever blocks somebody locks them.
_alive = (
    select(conversations.c.id)
    .where(
        conversations.c.subject_type == bindparam("subject_type"),
        conversations.c.subject_id == bindparam("subject_id"),
        conversations.c.deleted_at.is_(None),
    )
    .order_by(conversations.c.id)
    .with_for_update(key_share=True)
    .cte("alive")
)
_DELETE = Statement(
    update(conversations)
    .where(conversations.c.id == _alive.c.id)
    .values(deleted_at=func.now(), deleted_by=ACTOR)
    .returning(
        conversations.c.id,
        func.array(
            select(conversation_participants.c.user_id)
            .where(conversation_participants.c.conversation_id == literal_column("conversations.id", Uuid))
            .scalar_subquery(),
            type_=ARRAY(Uuid),
        ).label("participants"),
    )
)
_CONTENT = cast(constant(json.dumps(MessageSent.withheld)), JSONB)
_told = update(event_log).where(event_log.c.name == constant(MessageSent.name))
_told = _told.values(payload=event_log.c.payload.op("||")(_CONTENT))
_UNSAY_ALL = Statement(_told.where(event_log.c.subject_id == bindparam("conversation_id", type_=Uuid)))
UNSAY: Statement = Statement(_told.where(event_log.c.id == bindparam("message_id", type_=Uuid)))
"""Takes what a message said out of its event, because feeds and streams that are read later show that, too."""


async def soft_delete(session: Session, subject: tuple[str, UUID], actor: Actor) -> int:
    """Take the conversations about a subject away from its parties, as a flow does when a provider rejects a job.

    They are gone from lists, feeds and streams; staff of the region still read them, and later parties of the subject
    begin a new one. Each row's lock makes it wait for a message that is being written. How many there were.
    """
    gone = await session.all(_DELETE, subject_type=subject[0], subject_id=subject[1], actor_id=actor.id)
    for row in gone:
        await session.execute(_UNSAY_ALL, conversation_id=row["id"])
        event = ConversationDeleted(conversation_id=row["id"], subject_type=subject[0], subject_id=subject[1])
        await events.emit(session, event, subject_type=SUBJECT, subject_id=row["id"], to=row["participants"])
    return len(gone)

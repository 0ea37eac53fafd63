"""Sending a message: one statement locks the conversation, decides, numbers, writes and tells (realtime.md: Chat)."""

from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.selectable import CTE

from app.core.actor import Actor
from app.core.database import Row, Session, Statement, refuse_violation
from app.core.errors import NotFound, Problem
from app.core.ids import uuid7
from app.core.valkey import STREAMS
from app.kernel.events import emission, log_entry
from app.kernel.files import UnknownFile
from app.kernel.lifecycle import ACTOR, constant
from app.kernel.platform import Platform
from app.models.chats import conversation_participants, conversations, messages
from app.models.files import FilePurpose, files
from app.schemas.chats import Message, SendMessage
from app.services.chats import access, masking, reading
from app.services.chats.events import SUBJECT, MessageSent
from app.services.chats.refusals import (
    AlreadySent,
    ClientMessageIdReused,
    ContactsNotOpen,
    JoinFirst,
    MessagesBlocked,
    NobodyThere,
)

COUNTED: Final = 1000
"""So many unread messages are counted, no more."""

# The wall behind "sent again, it is there once".
refuse_violation("messages_once", AlreadySent)

_id = bindparam("id", type_=Uuid)
_images = bindparam("image_ids", type_=ARRAY(Uuid))
_original: ColumnElement[Any] = bindparam("original_text", type_=Text)
_masked: ColumnElement[Any] = bindparam("masked_text", type_=Text)


def locked() -> CTE:
    """The conversation under its lock: it comes first and alone, and whoever comes later finds what was left behind."""
    return (
        select(conversations)
        .where(conversations.c.id == bindparam("conversation_id", type_=Uuid), conversations.c.deleted_at.is_(None))
        .with_for_update(key_share=True)
        .cte("old")
    )


def talk_of(conversation: CTE) -> access.Talk:
    """What the conversation is about and with whom."""
    columns = conversation.c
    return access.Talk(columns.subject_type, columns.subject_id, columns.counterpart_id)


def _usable_images() -> CTE:
    """The sender's own, unused images: locked, so that one which is being used or discarded is waited for."""
    return (
        select(files.c.id)
        .where(
            files.c.id == any_(_images),
            files.c.owner_id == ACTOR,
            files.c.purpose == constant(FilePurpose.CHAT_IMAGE),
            files.c.subject_id.is_(None),
            files.c.discarded_at.is_(None),
        )
        .with_for_update(key_share=True)
        .cte("images")
    )


def _decided(old: CTE, parties: CTE, everybody: CTE) -> CTE:
    """The conversation, and everything that may stand against the message."""
    images = _usable_images()
    others = select(parties.c.user_id).where(parties.c.user_id != ACTOR)
    is_party = exists(select(1).where(parties.c.user_id == ACTOR))
    facts = select(
        *old.c,
        exists(select(1).where(everybody.c.user_id == ACTOR)).label("takes_part"),
        exists(others).label("has_others"),
        case(
            # Asked of a function, which looks anew: who blocks waits for the conversation's lock, or is waited for.
            (is_party, func.chat_blocked(ACTOR, func.array(others.scalar_subquery()))),
            else_=false(),
        ).label("blocked"),
        (select(func.count()).select_from(images).scalar_subquery() == func.cardinality(_images)).label("images_fit"),
        access.contacts_open(talk_of(old)).label("contacts_open"),
        access.looks_on(old.c.region_id).label("may_join"),
    ).cte("facts")
    may_send = facts.c.takes_part & facts.c.has_others & ~facts.c.blocked & facts.c.images_fit
    unlocked = or_(facts.c.contacts_open, func.cardinality(_images) == literal_column("0"))
    return select(facts, (may_send & unlocked).label("may_send")).cte("decided")


def _written_down(decided: CTE) -> CTE:
    """The message under the conversation's next number, if it may be sent; masked while contacts are not open."""
    moved = (
        update(conversations)
        .where(conversations.c.id == decided.c.id, decided.c.may_send)
        .values(last_number=conversations.c.last_number + literal_column("1"))
        .returning(conversations.c.id, conversations.c.last_number)
        .cte("moved")
    )
    is_masked = ~decided.c.contacts_open & _original.is_distinct_from(_masked)
    return (
        insert(messages)
        .from_select(
            ["id", "conversation_id", "number", "sender_id", "text", "original_text", "image_ids", "client_message_id"],
            select(
                _id,
                moved.c.id,
                moved.c.last_number,
                ACTOR,
                case((is_masked, _masked), else_=_original),
                case((is_masked, _original), else_=null()),
                _images,
                bindparam("client_message_id", type_=Uuid),
            ).select_from(moved.join(decided, true())),
        )
        .returning(*(messages.c[name] for name in reading.MESSAGE_COLUMNS))
        .cte("message")
    )


def _touched(message: CTE, everybody: CTE) -> CTE:
    """The rows of all who take part: those who are new come in just before the message."""
    mine = conversation_participants.c
    row = select(
        message.c.conversation_id,
        everybody.c.user_id,
        message.c.number - 1,
        cast(everybody.c.user_id != message.c.sender_id, Integer),
        message.c.id,
    ).select_from(message.join(everybody, true()))
    statement = upsert(conversation_participants).from_select(
        ["conversation_id", "user_id", "read_number", "unread_count", "activity_id"], row
    )
    return (
        statement.on_conflict_do_update(
            index_elements=["conversation_id", "user_id"],
            set_={
                "unread_count": func.least(
                    literal_column(str(COUNTED)), mine.unread_count + statement.excluded.unread_count
                ),
                "activity_id": func.greatest(mine.activity_id, statement.excluded.activity_id),
            },
        )
        .returning(mine.user_id, mine.role, mine.read_number)
        .cte("touched")
    )


@cache
def _send() -> Statement:
    old = locked()
    parties = access.people(talk_of(old)).cte("parties")
    staff = select(func.chat_staff(old.c.id, type_=Uuid).label("user_id"))
    everybody = select(parties.c.user_id).union(staff).cte("everybody")
    decided = _decided(old, parties, everybody)
    message = _written_down(decided)
    used = (
        update(files)
        .where(files.c.id == any_(message.c.image_ids))
        .values(subject_type=constant("message"), subject_id=message.c.id)
        .cte("used")
    )
    touched = _touched(message, everybody)
    people = reading.participants(touched, decided.c.contacts_open).scalar_subquery()
    payload = {
        **{name: decided.c[name] for name in ("subject_type", "subject_id", "counterpart_id", "contacts_open")},
        **{name: message.c[name] for name in ("conversation_id", "number", "sender_id", "text", "image_ids")},
        "conversation_created_at": decided.c.created_at,
        "participants": people,
        "message_id": message.c.id,
        "masked": message.c.original_text.is_not(None),
    }
    entry = log_entry(MessageSent, _id, (SUBJECT, message.c.conversation_id), payload)
    event, notified = emission(
        entry.select_from(message.join(decided, true())),
        select(everybody.c.user_id, (everybody.c.user_id == ACTOR).label("quiet")),
    )
    facts = ("takes_part", "has_others", "blocked", "images_fit", "may_join")
    return Statement(
        select(
            *(decided.c[name] for name in facts),
            *message.c,
            func.array(select(notified.c.user_id).scalar_subquery()).label("recipients"),
        )
        .select_from(decided.outerjoin(message, true()))
        .add_cte(used, event, notified)
    )


async def send(
    session: Session, platform: Platform, actor: Actor, conversation_id: UUID, wanted: SendMessage
) -> Message:
    """Write a message, number it, and tell everybody else who takes part; masked while contacts are not open.

    The conversation's row lock makes senders queue up: numbers have no gap, and `messages_number_follows` stands behind
    it. Raises `TooManyRequests`, `NotFound`, `JoinFirst`, `NobodyThere`, `MessagesBlocked`, `UnknownFile`,
    `ContactsNotOpen`, `ClientMessageIdReused`.
    """
    await platform.limits.hit(platform.settings.messages_per_user, "message", str(actor.user_id))
    try:
        row = await session.first(
            _send(),
            id=uuid7(),
            conversation_id=conversation_id,
            actor_id=actor.id,
            actor_roles=list(actor.roles),
            original_text=wanted.text,
            masked_text=None if wanted.text is None else masking.masked(wanted.text),
            image_ids=wanted.image_ids,
            client_message_id=wanted.client_message_id,
        )
    except AlreadySent:
        return await _first(session, actor, conversation_id, wanted)
    if row is None or row["id"] is None:
        raise _refusal(row)
    session.tell(STREAMS, row["recipients"])
    return reading.message(row)


def _refusal(row: Row | None) -> Problem:
    if row is None:
        return NotFound()
    if not row["takes_part"]:
        return JoinFirst() if row["may_join"] else NotFound()
    if not row["has_others"]:
        return NobodyThere()
    if row["blocked"]:
        return MessagesBlocked()
    return UnknownFile() if not row["images_fit"] else ContactsNotOpen()


_FIRST = Statement(
    select(
        *(messages.c[name] for name in reading.MESSAGE_COLUMNS),
        func.coalesce(messages.c.original_text, messages.c.text).is_not_distinct_from(_original).label("same_text"),
    ).where(
        messages.c.conversation_id == bindparam("conversation_id"),
        messages.c.sender_id == ACTOR,
        messages.c.client_message_id == bindparam("client_message_id"),
    )
)


async def _first(session: Session, actor: Actor, conversation_id: UUID, wanted: SendMessage) -> Message:
    """The message that was sent with this id before."""
    row = await session.first(
        _FIRST,
        conversation_id=conversation_id,
        actor_id=actor.id,
        client_message_id=wanted.client_message_id,
        original_text=wanted.text,
    )
    if row is None:
        raise NotFound()
    if not row["same_text"] or list(row["image_ids"]) != wanted.image_ids:
        raise ClientMessageIdReused()
    return reading.message(row)

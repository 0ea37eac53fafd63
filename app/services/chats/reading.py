"""Reading conversations and messages; what a reader may see is decided here, in the statement (realtime.md: Chat)."""

from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
)

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR
from app.models.chats import conversation_participants, conversations, messages
from app.models.users import users
from app.schemas.base import Page, PageQuery, page_of
from app.schemas.chats import Conversation, ConversationsPage, Message, SubjectsConversations
from app.services.chats import access

MESSAGE_COLUMNS: Final = (
    "id", "conversation_id", "number", "sender_id", "text", "original_text", "image_ids", "created_at", "deleted_at",
)  # fmt: skip

_before = bindparam("before", type_=Uuid)
_conversation_id = bindparam("conversation_id", type_=Uuid)


def message(row: Row, *, for_staff: bool = False) -> Message:
    """A message as parties read it, or as staff do: these see what was deleted and what was masked."""
    deleted, shown = row["deleted_at"] is not None, row["deleted_at"] is None or for_staff
    return Message(
        id=row["id"],
        conversation_id=row["conversation_id"],
        number=row["number"],
        sender_id=row["sender_id"],
        text=row["text"] if shown else None,
        original_text=row["original_text"] if for_staff else None,
        image_ids=row["image_ids"] if shown else [],
        masked=row["original_text"] is not None,
        deleted=deleted,
        created_at=row["created_at"],
    )


_last = messages.alias("last_message")
_mine = conversation_participants.alias("mine")


def participants(rows: FromClause, contacts_open: ColumnElement[bool]) -> Select[Any]:
    """Rows of participants as one list of `Participant`; parties have no name until contacts are open."""
    name = case((or_(contacts_open, rows.c.role != access.PARTY), users.c.name), else_=null())
    one = func.jsonb_build_object(
        "user_id", rows.c.user_id, "name", name, "role", rows.c.role, "read_number", rows.c.read_number
    )
    return select(func.jsonb_agg(one)).select_from(rows.join(users, users.c.id == rows.c.user_id))


@cache
def _shown() -> Select[Any]:
    """Conversations with their newest message, joined to the actor's own row as a participant, if there is one."""
    contacts_open = access.contacts_open(access.STORED)
    everybody = participants(conversation_participants, contacts_open).where(
        conversation_participants.c.conversation_id == literal_column("conversations.id", Uuid)
    )
    return (
        select(
            *(conversations.c[name] for name in ("subject_type", "subject_id", "counterpart_id", "created_at")),
            conversations.c.id.label("conversation_id"),
            conversations.c.deleted_at.label("conversation_deleted_at"),
            contacts_open.label("contacts_open"),
            everybody.scalar_subquery().label("participants"),
            func.coalesce(_mine.c.unread_count, literal_column("0")).label("unread_count"),
            access.is_staff.label("for_staff"),
            *(_last.c[name].label(f"last_{name}") for name in MESSAGE_COLUMNS),
        )
        .select_from(
            conversations.outerjoin(
                _mine, and_(_mine.c.conversation_id == conversations.c.id, _mine.c.user_id == ACTOR)
            ).outerjoin(
                _last,
                and_(_last.c.conversation_id == conversations.c.id, _last.c.number == conversations.c.last_number),
            )
        )
        .where(access.is_reader())
    )


def _conversation(row: Row) -> Conversation:
    last = {name: row[f"last_{name}"] for name in MESSAGE_COLUMNS}
    return Conversation.model_validate(
        {
            "id": row["conversation_id"],
            **{name: row[name] for name in Conversation.model_fields if name in row and name != "id"},
            "last_message": None if last["id"] is None else message(last, for_staff=row["for_staff"]),
            "deleted_at": row["conversation_deleted_at"],
        }
    )


@cache
def _one() -> Statement:
    return Statement(_shown().where(conversations.c.id == _conversation_id))


async def conversation(session: ReadSession, actor: Actor, conversation_id: UUID) -> Conversation:
    """One conversation for whoever takes part or looks on as staff; `NotFound` for everybody else."""
    row = await session.first(_one(), conversation_id=conversation_id, actor_id=actor.id, actor_roles=list(actor.roles))
    if row is None:
        raise NotFound()
    return _conversation(row)


@cache
def _listed(of_subject: bool) -> Statement:
    """Those in which something happened for the actor, the latest first; `id` is what they are sorted by."""
    takes_part = case(
        (_mine.c.role == access.PARTY, access.is_party()),
        else_=and_(conversations.c.deleted_at.is_(None), access.is_staff),
    )
    query = _shown().where(takes_part, _mine.c.activity_id < _before)
    if of_subject:
        query = query.where(conversations.c.subject_id == bindparam("subject_id", type_=Uuid))
    return Statement(newest(query.add_columns(_mine.c.activity_id.label("id")), _mine.c.activity_id))


async def own(session: ReadSession, actor: Actor, wanted: ConversationsPage) -> Page[Conversation]:
    """The conversations in which the actor takes part, latest activity first."""
    rows = await session.all(
        _listed(wanted.subject_id is not None),
        actor_id=actor.id,
        actor_roles=list(actor.roles),
        before=decode(wanted.cursor),
        rows=wanted.limit + 1,
        **({"subject_id": wanted.subject_id} if wanted.subject_id else {}),
    )
    return page_of(rows, wanted.limit, _conversation)


@cache
def _of_subject() -> Statement:
    query = _shown().where(
        conversations.c.subject_id == bindparam("subject_id", type_=Uuid),
        conversations.c.id < _before,
        access.is_staff,
    )
    return Statement(newest(query.add_columns(conversations.c.id.label("id")), conversations.c.id))


async def of_subject(session: ReadSession, actor: Actor, wanted: SubjectsConversations) -> Page[Conversation]:
    """For staff: all conversations about a subject, deleted ones too; a manager sees those of the own regions."""
    rows = await session.all(
        _of_subject(),
        actor_id=actor.id,
        actor_roles=list(actor.roles),
        subject_id=wanted.subject_id,
        before=decode(wanted.cursor),
        rows=wanted.limit + 1,
    )
    return page_of(rows, wanted.limit, _conversation)


# The cursor names the last message of the page before; by its number, because that is the order of messages.
_behind = (
    select(messages.c.number)
    .where(messages.c.id == _before, messages.c.conversation_id == _conversation_id)
    .scalar_subquery()
)
_MESSAGES = Statement(
    newest(
        select(*(messages.c[name] for name in MESSAGE_COLUMNS)).where(
            messages.c.conversation_id == _conversation_id,
            messages.c.number < func.coalesce(_behind, literal_column(str(2**31 - 1))),
        ),
        messages.c.number,
    )
)


@cache
def _may_read() -> Statement:
    return Statement(
        select(access.is_staff.label("for_staff")).where(conversations.c.id == _conversation_id, access.is_reader())
    )


async def listed_messages(
    session: ReadSession, actor: Actor, conversation_id: UUID, wanted: PageQuery
) -> Page[Message]:
    """The conversation's messages, newest first; `NotFound` for who may not read them."""
    reader = await session.first(
        _may_read(), conversation_id=conversation_id, actor_id=actor.id, actor_roles=list(actor.roles)
    )
    if reader is None:
        raise NotFound()
    rows = await session.all(
        _MESSAGES, conversation_id=conversation_id, before=decode(wanted.cursor), rows=wanted.limit + 1
    )
    return page_of(rows, wanted.limit, lambda row: message(row, for_staff=reader["for_staff"]))


_AROUND = Statement(
    select(*(messages.c[name] for name in MESSAGE_COLUMNS))
    .where(
        messages.c.conversation_id == _conversation_id,
        messages.c.number.between(bindparam("lowest"), bindparam("highest")),
    )
    .order_by(messages.c.number)
)
_NUMBER = Statement(select(messages.c.number).where(messages.c.id == bindparam("message_id", type_=Uuid)))
_AROUND_REACH: Final = 10


async def around(session: ReadSession, conversation_id: UUID, message_id: UUID) -> list[Message]:
    """For staff: the message and what was written just before and after it, in its order."""
    number = await session.scalar(_NUMBER, message_id=message_id)
    rows = await session.all(
        _AROUND, conversation_id=conversation_id, lowest=number - _AROUND_REACH, highest=number + _AROUND_REACH
    )
    return [message(row, for_staff=True) for row in rows]

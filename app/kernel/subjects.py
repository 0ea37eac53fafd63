"""Subjects: what files and escrows, chat and live topics hang on, without knowing which noun it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, Uuid, any_, bindparam, select, true

from app.core.actor import Actor
from app.core.database import ReadSession, Statement
from app.kernel.transitions import Columns, constants
from app.models.files import FilePurpose
from app.models.ledger import AccountKind, accounts

Reader = ColumnElement[bool] | Callable[[], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Conversation:
    """How people talk about a subject (`services/chats`). As it stands: all its parties together, contacts open."""

    host: Callable[[Columns], ColumnElement[Any]] | None = None
    """The one who talks with each counterpart apart from the others, who must not read each other."""
    counterpart: Callable[[Columns, ColumnElement[Any]], ColumnElement[bool]] | None = None
    """With a host: whether somebody may be a counterpart, for a row and a user id."""
    contacts_open: Callable[[Columns, ColumnElement[Any]], ColumnElement[bool]] = lambda *_: true()
    """Whether contact details may be exchanged, for a row and the id of the counterpart (NULL without a host)."""
    region: Callable[[Columns], ColumnElement[Any]] = lambda row: row.region_id
    """The region whose managers may look on."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An aggregate that others may attach to. `readers` says per purpose who may open its files."""

    name: str
    table: Table
    readers: Mapping[FilePurpose, Reader]
    """A condition, or what makes it when it is first asked for: where it depends on what other nouns declare."""
    closed: frozenset[StrEnum] = frozenset()
    """For a noun with an escrow: the final statuses, in which nothing may be held any more (`kernel/books.py`)."""
    parties: Callable[[Columns], Select[Any]] | None = None
    """Who takes part in it, as a SELECT of user ids for a row: they talk about it and follow it live, staff do not."""
    conversation: Conversation | None = None
    """For what its parties may talk about."""


_readers: Final[dict[tuple[str, FilePurpose], tuple[Table, Reader]]] = {}
_parties: Final[dict[str, Statement]] = {}
_held_after_the_end: Final[dict[str, Statement]] = {}
_talked_about: Final[dict[str, Subject]] = {}


def register(subject: Subject) -> None:
    """Declare a subject, beside its lifecycle."""
    if subject.closed:
        _held_after_the_end[subject.name] = _held(subject)
    if subject.conversation is not None:
        _talked_about[subject.name] = subject
    if subject.parties is not None:
        row = select(subject.table).where(subject.table.c.id == bindparam("subject_id", type_=Uuid)).cte("subject")
        ids = subject.parties(row.c).subquery("ids")
        _parties[subject.name] = Statement(select(ids.c[0].label("user_id")))
    for purpose, condition in subject.readers.items():
        _readers[subject.name, purpose] = subject.table, condition


def _held(subject: Subject) -> Statement:
    table = subject.table
    return Statement(
        select(table.c.id.label("subject_id"), table.c.status, accounts.c.balance, accounts.c.currency)
        .join(accounts, accounts.c.owner_id == table.c.id)
        .where(
            accounts.c.kind == AccountKind.ESCROW.value,
            accounts.c.balance != 0,
            table.c.status == any_(constants(subject.closed)),
        )
        .limit(100)
    )


def held_after_the_end() -> Mapping[str, Statement]:
    """For each kind of subject that declares when it is closed: what finds money that is held for a closed one."""
    return _held_after_the_end


def talked_about() -> Mapping[str, Subject]:
    """The kinds of subjects that people may talk about, by name."""
    return _talked_about


@cache
def _reading(subject_type: str, purpose: FilePurpose) -> Statement | None:
    if (subject_type, purpose) not in _readers:
        return None
    table, condition = _readers[subject_type, purpose]
    allowed = condition() if callable(condition) else condition
    return Statement(select(allowed).where(table.c.id == bindparam("subject_id", type_=Uuid)))


async def may_read(
    session: ReadSession, actor: Actor, subject_type: str, subject_id: UUID, purpose: FilePurpose
) -> bool:
    """Whether the actor may open files of this purpose that are attached to the subject: denied unless declared."""
    statement = _reading(subject_type, purpose)
    if statement is None:
        return False
    values = statement.known(subject_id=subject_id, actor_id=actor.id, actor_roles=list(actor.roles))
    return bool(await session.scalar(statement, **values))


async def parties(session: ReadSession, subject_type: str, subject_id: UUID) -> frozenset[UUID]:
    """The users who take part in the subject at this moment; nobody, where it or its kind is unknown."""
    statement = _parties.get(subject_type)
    if statement is None:
        return frozenset()
    return frozenset([row["user_id"] for row in await session.all(statement, subject_id=subject_id)])

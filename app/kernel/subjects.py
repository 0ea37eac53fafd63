"""Subjects: what files and escrows, chat and live topics hang on, without knowing which noun it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, Uuid, any_, bindparam, select

from app.core.actor import Actor
from app.core.database import ReadSession, Statement
from app.kernel.transitions import Columns, constants
from app.models.files import FilePurpose
from app.models.ledger import AccountKind, accounts


@dataclass(frozen=True, slots=True)
class Subject:
    """An aggregate that others may attach to. `readers` says per purpose who may open its files."""

    name: str
    table: Table
    readers: Mapping[FilePurpose, ColumnElement[bool]]
    closed: frozenset[StrEnum] = frozenset()
    """For a noun with an escrow: the final statuses, in which nothing may be held any more (`kernel/books.py`)."""
    parties: Callable[[Columns], Select[Any]] | None = None
    """Who takes part in it, as a SELECT of user ids for a row: they talk about it and follow it live, staff do not."""


_statements: Final[dict[tuple[str, FilePurpose], Statement]] = {}
_parties: Final[dict[str, Statement]] = {}
_held_after_the_end: Final[dict[str, Statement]] = {}


def register(subject: Subject) -> None:
    """Declare a subject, beside its lifecycle."""
    if subject.closed:
        _held_after_the_end[subject.name] = _held(subject)
    if subject.parties is not None:
        row = select(subject.table).where(subject.table.c.id == bindparam("subject_id", type_=Uuid)).cte("subject")
        ids = subject.parties(row.c).subquery("ids")
        _parties[subject.name] = Statement(select(ids.c[0].label("user_id")))
    for purpose, condition in subject.readers.items():
        _statements[subject.name, purpose] = Statement(
            select(condition).where(subject.table.c.id == bindparam("subject_id", type_=Uuid))
        )


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


async def may_read(
    session: ReadSession, actor: Actor, subject_type: str, subject_id: UUID, purpose: FilePurpose
) -> bool:
    """Whether the actor may open files of this purpose that are attached to the subject: denied unless declared."""
    statement = _statements.get((subject_type, purpose))
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

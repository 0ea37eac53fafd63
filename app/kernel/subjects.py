"""Subjects: what files and escrows, and later chat, reviews and disputes, hang on, without knowing which noun it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Table, Uuid, any_, bindparam, select

from app.core.actor import Actor
from app.core.database import ReadSession, Statement
from app.kernel.transitions import constants
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


_statements: Final[dict[tuple[str, FilePurpose], Statement]] = {}
_held_after_the_end: Final[dict[str, Statement]] = {}


def register(subject: Subject) -> None:
    """Declare a subject, beside its lifecycle."""
    if subject.closed:
        _held_after_the_end[subject.name] = _held(subject)
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

"""Subjects: what files, and later chat, reviews and disputes, hang on, without knowing which noun it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Table, Uuid, bindparam, select

from app.core.actor import Actor
from app.core.database import ReadSession, Statement
from app.models.files import FilePurpose


@dataclass(frozen=True, slots=True)
class Subject:
    """An aggregate that others may attach to. `readers` says per purpose who may open its files."""

    name: str
    table: Table
    readers: Mapping[FilePurpose, ColumnElement[bool]]


_statements: Final[dict[tuple[str, FilePurpose], Statement]] = {}


def register(subject: Subject) -> None:
    """Declare a subject, beside its lifecycle."""
    for purpose, condition in subject.readers.items():
        _statements[subject.name, purpose] = Statement(
            select(condition).where(subject.table.c.id == bindparam("subject_id", type_=Uuid))
        )


async def may_read(
    session: ReadSession, actor: Actor, subject_type: str, subject_id: UUID, purpose: FilePurpose
) -> bool:
    """Whether the actor may open files of this purpose that are attached to the subject: denied unless declared."""
    statement = _statements.get((subject_type, purpose))
    if statement is None:
        return False
    values = statement.known(subject_id=subject_id, actor_id=actor.id, actor_roles=list(actor.roles))
    return bool(await session.scalar(statement, **values))

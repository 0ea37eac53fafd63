"""Subjects: what files and escrows, chat and live topics hang on, without knowing which noun it is."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Uuid,
    and_,
    any_,
    bindparam,
    column,
    false,
    literal_column,
    select,
    true,
)

from app.core.actor import Actor
from app.core.database import ReadSession, Statement
from app.core.sql import constants, given
from app.kernel.transitions import Columns
from app.models.files import FilePurpose
from app.models.ledger import AccountKind, accounts

Reader = ColumnElement[bool] | Callable[[], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Conversation:
    """How people talk about a subject (`services/chats`). As it stands: all its parties together, contacts open."""

    host: Callable[[Columns], ColumnElement[Any]] | None = None
    """The one who talks with each counterpart apart from the others, who must neither read nor see each other live."""
    counterpart: Callable[[Columns, ColumnElement[Any]], ColumnElement[bool]] | None = None
    """With a host: whether somebody may be a counterpart, for a row and a user id."""
    contacts_open: Callable[[Columns, ColumnElement[Any]], ColumnElement[bool]] = lambda *_: true()
    """Whether contact details may be exchanged, for a row and the id of the counterpart (NULL without a host)."""
    region: Callable[[Columns], ColumnElement[Any]] = lambda row: row.region_id
    """The region whose managers may look on; NULL for none."""


@dataclass(frozen=True, slots=True)
class Located:
    """Who of the parties shows the others where they are, and in which statuses."""

    who: Callable[[Columns], ColumnElement[Any]]
    """A column of the subject's row that holds the user's id."""
    statuses: frozenset[StrEnum]


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
    located: Located | None = None
    """Whose live position the parties see; nobody's, unless declared."""
    conversation: Conversation | None = None
    """For what its parties may talk about."""


class Party(NamedTuple):
    """Somebody who takes part in a subject."""

    user_id: UUID
    is_located: bool
    """Whether they may show where they are now."""
    meets_all: bool
    """Whether they and all others see each other: where a host talks with each counterpart apart, the host alone."""


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
        _parties[subject.name] = _of_many(subject, subject.parties)
    for purpose, condition in subject.readers.items():
        _readers[subject.name, purpose] = subject.table, condition


def _of_many(subject: Subject, parties: Callable[[Columns], Select[Any]]) -> Statement:
    """The parties of each of many subjects.

    `parties` is written for a relation of one row, so it is asked once for each id, beside it in the same statement.
    """
    wanted = given("wanted", subject_ids=column("subject_id", Uuid))
    # As text: SQLAlchemy correlates no CTE, and would put `wanted` into its FROM once more.
    wanted_id = literal_column("wanted.subject_id", Uuid)
    row = select(subject.table).where(subject.table.c.id == wanted_id).cte("subject", nesting=True)
    ids = parties(row.c).subquery("ids")
    is_located: ColumnElement[bool] = false()
    if subject.located is not None:
        statuses = constants(subject.located.statuses)
        is_located = and_(row.c.status == any_(statuses), ids.c[0] == subject.located.who(row.c))
    meets_all: ColumnElement[bool] = true()
    if subject.conversation is not None and subject.conversation.host is not None:
        meets_all = ids.c[0] == subject.conversation.host(row.c)
    who = (ids.c[0].label("user_id"), is_located.label("is_located"), meets_all.label("meets_all"))
    party = select(*who).select_from(ids, row).add_cte(row, nest_here=True).lateral("party")
    statement = Statement(select(wanted.c.subject_id, party).select_from(wanted, party))
    if others := statement.names - {"subject_ids"}:
        raise TypeError(f"the parties of {subject.name} depend on {sorted(others)}, not on its row alone")
    return statement


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
    found = await parties_of(session, subject_type, [subject_id])
    return frozenset(party.user_id for party in found[subject_id])


async def parties_of(
    session: ReadSession, subject_type: str, subject_ids: Collection[UUID]
) -> defaultdict[UUID, frozenset[Party]]:
    """Who takes part in each of these subjects at this moment."""
    found: defaultdict[UUID, frozenset[Party]] = defaultdict(frozenset)
    statement = _parties.get(subject_type)
    if statement is not None:
        for row in await session.all(statement, subject_ids=list(subject_ids)):
            found[row["subject_id"]] |= {Party(row["user_id"], row["is_located"], row["meets_all"])}
    return found

"""Who takes part in a conversation, told by its subject at the moment of reading or writing, whatever its noun.

Built when they are first asked for, because by then every noun has declared whether it is talked about.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Uuid,
    and_,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.selectable import CTE

from app.core.actor import Actor
from app.kernel import subjects
from app.kernel.lifecycle import ACTOR, actor_has, constant
from app.models.chats import ParticipantRole, conversations
from app.models.regions import region_managers
from app.models.users import Role
from app.services.regions.queries import managed_by_actor

STAFF: Final = {
    Role.ADMIN: ParticipantRole.ADMIN,
    Role.SUPPORT: ParticipantRole.SUPPORT,
    Role.MANAGER: ParticipantRole.MANAGER,
}
"""As what staff join, the farthest reaching role first."""
PARTY: Final = constant(ParticipantRole.PARTY)


def looks_on(region_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """The actor is staff who may read conversations of this region, join them and decide about them."""
    return or_(actor_has(Role.ADMIN, Role.SUPPORT), managed_by_actor.where(region_managers.c.region_id == region_id))


is_staff: Final = looks_on(conversations.c.region_id)


class Talk(NamedTuple):
    """The columns of a conversation that say what it is about and with whom."""

    subject_type: ColumnElement[Any]
    subject_id: ColumnElement[Any]
    counterpart_id: ColumnElement[Any]


# As text, so that a query inside a query means the conversation of the outer one instead of reading the table anew.
STORED: Final = Talk(
    literal_column("conversations.subject_type", Text),
    literal_column("conversations.subject_id", Uuid),
    literal_column("conversations.counterpart_id", Uuid),
)


def _rows(name: str, subject: subjects.Subject, talk: Talk) -> CTE:
    about = select(subject.table, talk.counterpart_id.label("talk_counterpart_id")).where(
        subject.table.c.id == talk.subject_id, talk.subject_type == constant(name)
    )
    return about.cte(f"about_{name}", nesting=True)


def _of_each(talk: Talk, ask: Callable[[subjects.Subject, CTE], Select[Any]]) -> list[Select[Any]]:
    """What is asked of the subject, for each kind that it may be; all but one of them find no row."""
    asked = []
    for name, subject in sorted(subjects.talked_about().items()):
        rows = _rows(name, subject, talk)
        asked.append(select(ask(subject, rows).add_cte(rows, nest_here=True).subquery(f"of_{name}")))
    return asked


def _people(subject: subjects.Subject, rows: CTE) -> Select[Any]:
    declared = _declared(subject)
    if declared.host is not None and declared.counterpart is not None:
        counterpart = rows.c.talk_counterpart_id
        both = union_all(
            select(declared.host(rows.c).label("user_id")),
            select(counterpart.label("user_id")).where(declared.counterpart(rows.c, counterpart)),
        )
        return select(both.subquery("both").c.user_id)
    if subject.parties is None:
        raise TypeError(f"{subject.name} is talked about by nobody: it declares no parties")
    ids = subject.parties(rows.c).subquery("parties")
    return select(ids.c[0].label("user_id"))


def _declared(subject: subjects.Subject) -> subjects.Conversation:
    if subject.conversation is None:
        raise TypeError(f"{subject.name} is not talked about")
    return subject.conversation


def people(talk: Talk) -> Select[Any]:
    """The parties of the conversation, as a SELECT of user ids."""
    return select(union_all(*_of_each(talk, _people)).subquery("people").c.user_id)


def region(talk: Talk) -> ColumnElement[Any]:
    """The region of what the conversation is about."""
    found = union_all(
        *_of_each(
            talk,
            lambda subject, rows: select(_declared(subject).region(rows.c).label("region_id")).select_from(rows),
        )
    )
    return select(found.subquery("region").c.region_id).scalar_subquery()


def contacts_open(talk: Talk) -> ColumnElement[bool]:
    """Whether contact details may be exchanged in the conversation."""
    found = union_all(
        *_of_each(
            talk,
            lambda subject, rows: select(
                _declared(subject).contacts_open(rows.c, rows.c.talk_counterpart_id).label("open")
            ).select_from(rows),
        )
    ).subquery("contacts")
    return func.coalesce(select(found.c.open).scalar_subquery(), false())


@cache
def is_party() -> ColumnElement[bool]:
    """The actor is a party of the stored conversation, which nobody has deleted."""
    found = people(STORED).subquery("parties")
    return and_(conversations.c.deleted_at.is_(None), exists(select(1).where(found.c.user_id == ACTOR)))


@cache
def is_reader() -> ColumnElement[bool]:
    """The actor may read the stored conversation."""
    return or_(is_party(), is_staff)


def everybody(talk: Talk, conversation_id: ColumnElement[UUID]) -> Select[Any]:
    """The parties and the staff who joined. Those are asked of a function, which looks anew: the statement's own
    snapshot is older than its wait for the conversation's lock, and would miss who joined in the meantime."""
    staff = func.chat_staff(conversation_id, type_=Uuid)
    both = people(talk).union(select(staff.label("user_id")))
    return select(both.subquery("everybody").c.user_id)


def as_staff(actor: Actor) -> ParticipantRole | None:
    """As what the actor would join; None for who is no staff."""
    return next((joined for role, joined in STAFF.items() if role in actor.roles), None)

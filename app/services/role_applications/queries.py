"""Reading applications for roles: the own ones, and the review queue."""

from functools import cache
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, func, select

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR
from app.models.files import FilePurpose, files
from app.models.role_applications import role_applications
from app.models.users import users
from app.schemas.base import Page, PageQuery, page_of
from app.schemas.role_applications import ListRoleApplications, RoleApplication

_documents = func.array(
    select(files.c.id)
    .where(files.c.subject_id == role_applications.c.id, files.c.purpose == FilePurpose.DOCUMENT.value)
    .order_by(files.c.id)
    .scalar_subquery()
).label("document_ids")
_seen = select(
    *(column for column in role_applications.c if column.name not in {"decided_by", "deleted_at", "updated_at"}),
    users.c.name.label("user_name"),
    _documents,
).join(users, users.c.id == role_applications.c.user_id)
_ONE = Statement(_seen.where(role_applications.c.id == bindparam("application_id")))
_behind = _seen.where(role_applications.c.id < bindparam("before", type_=Uuid))
_OWN = Statement(newest(_behind.where(role_applications.c.user_id == ACTOR), role_applications.c.id))


@cache
def _queue(of_one_role: bool) -> Statement:
    queue = _behind.where(role_applications.c.status == bindparam("status", type_=Text))
    if of_one_role:
        queue = queue.where(role_applications.c.role == bindparam("role", type_=Text))
    return Statement(newest(queue, role_applications.c.id))


def _application(row: Row) -> RoleApplication:
    return RoleApplication.model_validate(dict(row))


async def application(session: ReadSession, application_id: UUID) -> RoleApplication:
    """One of them, for its applicant and for reviewers, or `NotFound`."""
    row = await session.first(_ONE, application_id=application_id)
    if row is None:
        raise NotFound()
    return _application(row)


async def own(session: ReadSession, actor: Actor, wanted: PageQuery) -> Page[RoleApplication]:
    """What the actor ever applied for, newest first, with the reasons of refusals."""
    rows = await session.all(_OWN, actor_id=actor.id, before=decode(wanted.cursor), rows=wanted.limit + 1)
    return page_of(rows, wanted.limit, _application)


async def queue(session: ReadSession, wanted: ListRoleApplications) -> Page[RoleApplication]:
    """Applications in one state, newest first."""
    filters = {"status": wanted.status.value} | ({"role": wanted.role.value} if wanted.role else {})
    rows = await session.all(
        _queue(wanted.role is not None), before=decode(wanted.cursor), rows=wanted.limit + 1, **filters
    )
    return page_of(rows, wanted.limit, _application)

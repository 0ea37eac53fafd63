"""Reading accounts."""

from uuid import UUID

from sqlalchemy import bindparam, func, select

from app.core.database import ReadSession, Statement
from app.core.errors import NotFound
from app.models.users import user_roles, users
from app.schemas.users import User

_roles = func.array(
    select(user_roles.c.role).where(user_roles.c.user_id == users.c.id).order_by(user_roles.c.role).scalar_subquery()
)
_USER = Statement(
    select(
        users.c.id,
        users.c.name,
        users.c.email,
        users.c.phone,
        users.c.status,
        users.c.language,
        users.c.requested_role,
        users.c.created_at,
        _roles.label("roles"),
    ).where(users.c.id == bindparam("user_id"))
)
_BY_EMAIL = Statement(select(users.c.id).where(users.c.email == bindparam("email")))


async def user(session: ReadSession, user_id: UUID) -> User:
    """The account as its owner sees it, or `NotFound`."""
    row = await session.first(_USER, user_id=user_id)
    if row is None:
        raise NotFound()
    return User.model_validate(dict(row))


async def id_by_email(session: ReadSession, email: str) -> UUID | None:
    found: UUID | None = await session.scalar(_BY_EMAIL, email=email)
    return found

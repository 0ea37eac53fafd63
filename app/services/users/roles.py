"""Who holds a role, for the recipients of events."""

from typing import Any

from sqlalchemy import Select, select

from app.core.sql import constant
from app.models.users import Role, user_roles


def holding(role: Role) -> Select[Any]:
    """The ids of all who hold the role."""
    return select(user_roles.c.user_id).where(user_roles.c.role == constant(role))

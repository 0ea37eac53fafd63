"""The states of an account, and who may change them (identity.md: Sign-up, Sessions)."""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, insert, select

from app.core.errors import Forbidden
from app.kernel.lifecycle import ACTOR, Columns, Creation, Emit, Guard, Lifecycle, Transition, actor_has, constant
from app.models.users import Role, UserStatus, user_roles, users
from app.services.users import events


class Action(StrEnum):
    VERIFY = "verify"
    SUSPEND = "suspend"
    REINSTATE = "reinstate"
    BAN = "ban"


_admin = Guard(actor_has(Role.ADMIN), Forbidden)
_themselves = Guard(users.c.id == ACTOR, Forbidden)


def _with_reason(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"user_id": row.id, "reason": row.status_reason}


_active, _suspended = UserStatus.ACTIVE, UserStatus.SUSPENDED

LIFECYCLE = Lifecycle(
    "user",
    users,
    UserStatus,
    Creation(
        UserStatus.PENDING_VERIFICATION,
        who="anybody",
        emits=[
            Emit(events.Registered, lambda row: row.id, lambda row: {"user_id": row.id, "user_name": row.name}),
        ],
        also=lambda row: [
            insert(user_roles).from_select(["user_id", "role"], select(row.id, constant(Role.CUSTOMER))),
        ],
    ),
    [
        Transition(
            Action.VERIFY, frozenset({UserStatus.PENDING_VERIFICATION}), _active,
            who="the user, with both codes", allowed=_themselves,
            emits=[Emit(events.Verified, lambda row: row.id, lambda row: {"user_id": row.id})],
        ),
        Transition(
            Action.SUSPEND, frozenset({_active}), _suspended,
            who="admin, with reason", allowed=_admin, records=["status_reason"],
            emits=[Emit(events.Suspended, lambda row: row.id, _with_reason)],
        ),
        Transition(
            Action.REINSTATE, frozenset({_suspended}), _active,
            who="admin", allowed=_admin, sets={"status_reason": None},
            emits=[Emit(events.Reinstated, lambda row: row.id, lambda row: {"user_id": row.id})],
        ),
        Transition(
            Action.BAN, frozenset({_active, _suspended}), UserStatus.BANNED,
            who="admin, with reason", allowed=_admin, records=["status_reason"],
            emits=[Emit(events.Banned, lambda row: row.id, _with_reason)],
        ),
    ],
)  # fmt: skip

"""The states of an application for a role, and who may change them (identity.md: Roles and onboarding)."""

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.errors import Forbidden
from app.kernel import subjects
from app.kernel.lifecycle import ACTOR, Columns, Creation, Emit, Guard, Lifecycle, Transition, actor_has, constant
from app.models.files import FilePurpose
from app.models.role_applications import ReviewedRole, RoleApplicationStatus, role_applications
from app.models.users import Role, user_roles, users
from app.services.role_applications import events
from app.services.users import roles


class Action(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    REVOKE = "revoke"
    READMIT = "readmit"


is_reviewer = actor_has(Role.ADMIN, Role.SUPPORT)
_of_another = role_applications.c.user_id != ACTOR
"""Nobody decides about themselves; staff may apply like everybody else."""
_reviewer = Guard(is_reviewer & _of_another, Forbidden)
_admin = Guard(actor_has(Role.ADMIN) & _of_another, Forbidden)
_pending, _approved, _rejected, _revoked = (
    RoleApplicationStatus.PENDING,
    RoleApplicationStatus.APPROVED,
    RoleApplicationStatus.REJECTED,
    RoleApplicationStatus.REVOKED,
)
_HINDI: Final = {
    ReviewedRole.BOOSTER: "बूस्टर",
    ReviewedRole.ADVERTISER: "विज्ञापनदाता",
    ReviewedRole.DRIVER: "ड्राइवर",
}


def to_reviewers(_: Columns) -> Select[Any]:
    """Support and admins; who is both, once."""
    both = roles.holding(Role.SUPPORT).union(roles.holding(Role.ADMIN)).subquery()
    return select(both.c.user_id)


def _applicant(row: Columns) -> ColumnElement[Any]:
    return row.user_id


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    hindi = case(*((row.role == constant(role), constant(word)) for role, word in _HINDI.items()))
    return {"application_id": row.id, "role": row.role, "role_name_hi": hindi}


def _submitted(row: Columns) -> dict[str, ColumnElement[Any]]:
    name = select(users.c.name).where(users.c.id == row.user_id).scalar_subquery()
    return _about(row) | {"user_name": name}


def _for_status(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _about(row) | {"reason": row.status_reason}


LIFECYCLE = Lifecycle(
    "role_application",
    role_applications,
    RoleApplicationStatus,
    Creation(_pending, who="a verified user", emits=[Emit(events.SubmittedForReview, to_reviewers, _submitted)]),
    [
        Transition(
            Action.APPROVE, frozenset({_pending}), _approved,
            who="support, admin", allowed=_reviewer,
            sets={"decided_by": ACTOR, "approved_at": func.now()},
            also=lambda row: [
                upsert(user_roles)
                .from_select(["user_id", "role"], select(row.user_id, row.role))
                .on_conflict_do_nothing(),
            ],
            emits=[Emit(events.Approved, _applicant, _about)],
        ),
        Transition(
            Action.REJECT, frozenset({_pending}), _rejected,
            who="support, admin, with reason", allowed=_reviewer,
            records=["rejection_reason"], sets={"decided_by": ACTOR, "deleted_at": func.now()},
            emits=[
                Emit(events.Rejected, _applicant, lambda row: _about(row) | {"reason": row.rejection_reason}),
            ],
        ),
        Transition(
            Action.REVOKE, frozenset({_approved}), _revoked,
            who="admin, with reason", allowed=_admin,
            records=["status_reason"], sets={"decided_by": ACTOR, "deleted_at": func.now()},
            also=lambda row: [
                delete(user_roles).where(user_roles.c.user_id == row.user_id, user_roles.c.role == row.role),
            ],
            emits=[Emit(events.Revoked, _applicant, _for_status)],
        ),
        Transition(
            Action.READMIT, frozenset({_rejected, _revoked}), RoleApplicationStatus.LAPSED,
            who="support, admin, with reason: one may apply anew", allowed=_reviewer,
            records=["status_reason"], sets={"decided_by": ACTOR},
            emits=[Emit(events.Readmitted, _applicant, _for_status)],
        ),
    ],
    visible=or_(role_applications.c.user_id == ACTOR, is_reviewer),
)  # fmt: skip

subjects.register(subjects.Subject("role_application", role_applications, readers={FilePurpose.DOCUMENT: is_reviewer}))

"""The states of a provider, and who may change them (identity.md: Roles and onboarding)."""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.errors import Forbidden
from app.kernel import subjects
from app.kernel.lifecycle import ACTOR, Columns, Creation, Emit, Guard, Lifecycle, Transition, actor_has, constant
from app.models.files import FilePurpose
from app.models.providers import ProviderStatus, providers
from app.models.regions import region_managers
from app.models.users import Role, user_roles
from app.services.providers import events
from app.services.regions.queries import managed_by_actor


class Action(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    SUSPEND = "suspend"
    REINSTATE = "reinstate"
    BAN = "ban"


is_reviewer = or_(actor_has(Role.ADMIN), managed_by_actor.where(region_managers.c.region_id == providers.c.region_id))
_of_another = providers.c.id != ACTOR
"""Nobody decides about themselves, a manager who is a provider too included."""
_reviewer = Guard(and_(is_reviewer, _of_another), Forbidden)
_admin = Guard(and_(actor_has(Role.ADMIN), _of_another), Forbidden)
_pending, _approved, _suspended = ProviderStatus.PENDING, ProviderStatus.APPROVED, ProviderStatus.SUSPENDED


def _self(row: Columns) -> ColumnElement[Any]:
    return row.id


def _id(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"provider_id": row.id}


def _with_reason(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"provider_id": row.id, "reason": row.status_reason}


LIFECYCLE = Lifecycle(
    "provider",
    providers,
    ProviderStatus,
    Creation(
        _pending,
        who="a verified user",
        emits=[
            Emit(
                events.SubmittedForReview,
                lambda row: select(region_managers.c.user_id).where(region_managers.c.region_id == row.region_id),
                lambda row: {
                    "provider_id": row.id, "business_name": row.business_name, "region_id": row.region_id,
                },
            ),
        ],
    ),
    [
        Transition(
            Action.APPROVE, frozenset({_pending}), _approved,
            who="the region's manager, admin", allowed=_reviewer,
            sets={"approved_at": func.now(), "status_reason": None},
            also=lambda row: [
                upsert(user_roles)
                .from_select(["user_id", "role"], select(row.id, constant(Role.PROVIDER)))
                .on_conflict_do_nothing(),
            ],
            emits=[Emit(events.Approved, _self, _id)],
        ),
        Transition(
            Action.REJECT, frozenset({_pending}), ProviderStatus.REJECTED,
            who="the region's manager, admin, with reason", allowed=_reviewer,
            records=["rejection_reason"], sets={"deleted_at": func.now()},
            emits=[
                Emit(events.Rejected, _self, lambda row: {"provider_id": row.id, "reason": row.rejection_reason}),
            ],
        ),
        Transition(
            Action.SUSPEND, frozenset({_approved}), _suspended,
            who="the region's manager, admin, with reason", allowed=_reviewer, records=["status_reason"],
            emits=[Emit(events.Suspended, _self, _with_reason)],
        ),
        Transition(
            Action.REINSTATE, frozenset({_suspended}), _approved,
            who="the region's manager, admin", allowed=_reviewer, sets={"status_reason": None},
            emits=[Emit(events.Reinstated, _self, _id)],
        ),
        Transition(
            Action.BAN, frozenset({_approved, _suspended}), ProviderStatus.BANNED,
            who="admin, with reason", allowed=_admin, records=["status_reason"], sets={"deleted_at": func.now()},
            also=lambda row: [
                delete(user_roles).where(user_roles.c.user_id == row.id, user_roles.c.role == constant(Role.PROVIDER)),
            ],
            emits=[Emit(events.Banned, _self, _with_reason)],
        ),
    ],
    visible=or_(providers.c.id == ACTOR, is_reviewer),
)  # fmt: skip

# The owner may open the own files anyway; nobody else but the reviewers may see proofs of identity.
subjects.register(subjects.Subject("provider", providers, readers={FilePurpose.DOCUMENT: is_reviewer}))

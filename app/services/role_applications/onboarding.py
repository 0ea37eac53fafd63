"""Applying for a role that staff reviews, and the review (identity.md: Roles and onboarding)."""

from uuid import UUID

from sqlalchemy import bindparam, or_, select

from app.core.actor import Actor
from app.core.database import Session, Statement, refuse_violation
from app.core.ids import uuid7
from app.core.valkey import SESSIONS
from app.kernel import files
from app.kernel.lifecycle import constant
from app.kernel.platform import Platform
from app.models.files import FilePurpose
from app.models.role_applications import RoleApplicationStatus, role_applications
from app.models.users import Role, user_roles
from app.schemas.role_applications import ApplyForRole, RoleApplication
from app.services.role_applications import queries
from app.services.role_applications.events import ReapplicationRefused
from app.services.role_applications.lifecycle import LIFECYCLE, Action
from app.services.users.applications import AlreadyApplied, PreviouslyRejected, tell_of_reapplication

# Two at once, or one that overtakes a decision: while there is one that has not lapsed, there is no second one.
refuse_violation("role_applications_one_for_each_role", AlreadyApplied)

_BEFORE = Statement(
    select(role_applications.c.id, role_applications.c.status).where(
        role_applications.c.user_id == bindparam("user_id"),
        role_applications.c.role == bindparam("role"),
        role_applications.c.status != constant(RoleApplicationStatus.LAPSED),
    )
)
_REVIEWERS = Statement(
    select(user_roles.c.user_id)
    .where(or_(user_roles.c.role == constant(Role.SUPPORT), user_roles.c.role == constant(Role.ADMIN)))
    .distinct()
)
_TURNED_DOWN = frozenset({RoleApplicationStatus.REJECTED, RoleApplicationStatus.REVOKED})


async def apply(session: Session, platform: Platform, actor: Actor, wanted: ApplyForRole) -> RoleApplication:
    """Apply for the role of a booster, an advertiser or a driver; support and admins are told.

    `AlreadyApplied` while an application is pending or approved; `PreviouslyRejected` once turned down or stripped of
    the role, until staff readmits; `UnknownFile`.
    """
    before = await session.first(_BEFORE, user_id=actor.user_id, role=wanted.role.value)
    if before is not None and before["status"] in _TURNED_DOWN:
        await session.close()  # nobody may hold one connection while waiting for another
        event = ReapplicationRefused(application_id=before["id"], role=wanted.role)
        await tell_of_reapplication(platform, event, ("role_application", before["id"]), _REVIEWERS, {})
        raise PreviouslyRejected()
    application_id = uuid7()
    await LIFECYCLE.create(
        session,
        actor,
        {
            "id": application_id,
            "user_id": actor.user_id,
            "role": wanted.role.value,
            "statement": wanted.statement,
        },
    )
    subject = ("role_application", application_id)
    await files.attach(session, actor, wanted.document_ids, FilePurpose.DOCUMENT, subject)
    return await queries.application(session, application_id)


async def decide(
    session: Session, actor: Actor, application_id: UUID, action: Action, reason: str | None = None
) -> RoleApplication:
    """A reviewer's decision; its reason is kept and shown to the applicant.

    Who loses the role sells, assigns and reviews nothing from then on (`is_on_sale` of advertised services,
    `is_team_mate` of teams); open orders go on in the hands of team mates and staff.
    """
    recorded: dict[str, str] = {}
    if reason is not None:
        recorded = {"rejection_reason" if action is Action.REJECT else "status_reason": reason}
    row = await LIFECYCLE.advance(session, application_id, action, actor, reason=reason, **recorded)
    session.tell(SESSIONS, [row["user_id"]])  # the role came or went
    return await queries.application(session, application_id)

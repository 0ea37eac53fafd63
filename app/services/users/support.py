"""Making accounts support, and taking that back: an admin decides, and the audit trail keeps why (identity.md)."""

from uuid import UUID

from sqlalchemy import CTE, Text, bindparam, cast, delete, insert, null, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.actor import Actor
from app.core.database import Session, Statement
from app.core.errors import Forbidden, NotFound
from app.core.valkey import SESSIONS
from app.kernel.events import emit
from app.kernel.lifecycle import ACTOR, constant
from app.models.audit import audit_trail
from app.models.users import Role, UserStatus, user_roles, users
from app.services.users.events import SupportAppointed, SupportDismissed

_user_id = bindparam("user_id", type_=users.c.id.type)
_support = constant(Role.SUPPORT)
_appointed = (
    upsert(user_roles)
    .from_select(
        ["user_id", "role"],
        select(users.c.id, _support).where(users.c.id == _user_id, users.c.status == constant(UserStatus.ACTIVE)),
    )
    .on_conflict_do_nothing()
    .returning(user_roles.c.user_id)
    .cte("moved")
)
_dismissed = (
    delete(user_roles)
    .where(user_roles.c.user_id == _user_id, user_roles.c.role == _support)
    .returning(user_roles.c.user_id)
    .cte("moved")
)
_HOLDS = Statement(select(user_roles.c.user_id).where(user_roles.c.user_id == _user_id, user_roles.c.role == _support))


def _with_trail(moved: CTE, action: str) -> Statement:
    columns = ["subject_type", "subject_id", "action", "from_status", "to_status", "actor_id", "reason"]
    unknown = cast(null(), Text)
    row = select(
        constant("user"), moved.c.user_id, constant(action), unknown, unknown, ACTOR, bindparam("reason", type_=Text)
    )
    return Statement(select(moved.c.user_id).add_cte(insert(audit_trail).from_select(columns, row).cte("trail")))


_APPOINT, _DISMISS = _with_trail(_appointed, "appoint_support"), _with_trail(_dismissed, "dismiss_support")


async def appoint(session: Session, actor: Actor, user_id: UUID, reason: str) -> None:
    """Give an active account the role; nothing happens if it holds it. `NotFound`; `Forbidden` about oneself."""
    if user_id == actor.id:
        raise Forbidden()
    if await session.first(_APPOINT, user_id=user_id, actor_id=actor.id, reason=reason):
        session.tell(SESSIONS, [user_id])
        await emit(session, SupportAppointed(user_id=user_id), subject_type="user", subject_id=user_id, to=[user_id])
    elif not await session.scalar(_HOLDS, user_id=user_id):
        raise NotFound()


async def dismiss(session: Session, actor: Actor, user_id: UUID, reason: str) -> None:
    """Take the role away, at once for tokens that are out. `NotFound` without it; `Forbidden` about oneself."""
    if user_id == actor.id:
        raise Forbidden()
    if not await session.first(_DISMISS, user_id=user_id, actor_id=actor.id, reason=reason):
        raise NotFound()
    session.tell(SESSIONS, [user_id])
    event = SupportDismissed(user_id=user_id, reason=reason)
    await emit(session, event, subject_type="user", subject_id=user_id, to=[user_id])

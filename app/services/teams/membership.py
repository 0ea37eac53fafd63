"""Inviting advertisers to a team, joining and leaving it (work-orders.md: Who may review)."""

from uuid import UUID

from sqlalchemy import Integer, Text, Uuid, any_, bindparam, exists, func, or_, select

from app.core.actor import Actor
from app.core.database import Session, Statement
from app.core.ids import uuid7
from app.kernel.events import emit
from app.kernel.lifecycle import constant, constants
from app.kernel.platform import Platform
from app.models.teams import TeamMembershipStatus, team_memberships
from app.models.users import Role, UserStatus, user_roles, users
from app.schemas.teams import Invitee, TeamMembership
from app.services.teams.events import MemberInvited
from app.services.teams.lifecycle import LIFECYCLE, Action
from app.services.teams.locks import lock_own, lock_team_of

_team_id = bindparam("team_id", type_=Uuid)
_is_meant = or_(
    users.c.id == bindparam("user_id", type_=Uuid),
    users.c.email == bindparam("email", type_=Text),
)
_INVITED = constant(TeamMembershipStatus.INVITED)
_living = exists().where(
    team_memberships.c.team_id == _team_id,
    team_memberships.c.user_id == users.c.id,
    team_memberships.c.status == any_(constants({TeamMembershipStatus.INVITED, TeamMembershipStatus.ACTIVE})),
)
_pending = (
    select(func.count()).where(team_memberships.c.team_id == _team_id, team_memberships.c.status == _INVITED)
).scalar_subquery()
_CAN_BE_INVITED = Statement(
    select(users.c.id).where(
        _is_meant,
        users.c.status == constant(UserStatus.ACTIVE),
        exists().where(user_roles.c.user_id == users.c.id, user_roles.c.role == constant(Role.ADVERTISER)),
        ~_living,
        _pending < bindparam("pending_limit", type_=Integer),
    )
)
_INVITATION = Statement(
    select(team_memberships.c.id)
    .join(users, users.c.id == team_memberships.c.user_id)
    .where(_is_meant, team_memberships.c.team_id == _team_id, team_memberships.c.status == _INVITED)
)
_NAME = Statement(select(users.c.name).where(users.c.id == bindparam("user_id")))


async def invite(session: Session, platform: Platform, actor: Actor, team_id: UUID, invitee: Invitee) -> None:
    """Invite an advertiser. Nothing tells the owner whether the account exists, is an advertiser or was invited.

    Invitations above `team_invitations_pending` are not delivered, which is not told either. `NotFound`,
    `NotTheOwner`, `TooManyRequests`.
    """
    await platform.limits.hit(platform.settings.team_invitations, "team-invitation", str(actor.user_id))
    team = await lock_own(session, actor, team_id)
    user_id = await session.scalar(
        _CAN_BE_INVITED,
        team_id=team_id,
        pending_limit=platform.settings.team_invitations_pending,
        **invitee.model_dump(),
    )
    if user_id is not None:
        membership = {"id": uuid7(), "team_id": team_id, "user_id": user_id, "invited_by": actor.user_id}
        await LIFECYCLE.create(session, actor, membership)
        return
    # The same writes and the same commit, addressed to nobody: the time of the answer tells nothing either.
    name = await session.scalar(_NAME, user_id=actor.user_id)
    event = MemberInvited(team_id=team_id, team_name=team["name"], invited_by_name=name)
    await emit(session, event, subject_type="team_membership", subject_id=uuid7(), to=[])


async def withdraw(session: Session, actor: Actor, team_id: UUID, invitee: Invitee) -> None:
    """Take an invitation back, if there is one, which is not told. `NotFound`, `NotTheOwner`."""
    await lock_own(session, actor, team_id)
    membership_id = await session.scalar(_INVITATION, team_id=team_id, **invitee.model_dump())
    if membership_id is not None:
        await LIFECYCLE.advance(session, membership_id, Action.WITHDRAW, actor)


async def accept(session: Session, platform: Platform, actor: Actor, membership_id: UUID) -> TeamMembership:
    """Join the team that one was invited to. `NotFound`, `TeamFull`, `IllegalTransition`."""
    await lock_team_of(session, membership_id)
    limit = platform.settings.members_per_team
    row = await LIFECYCLE.advance(session, membership_id, Action.ACCEPT, actor, members_limit=limit)
    return TeamMembership.model_validate(dict(row))


async def end(session: Session, actor: Actor, membership_id: UUID, action: Action) -> TeamMembership:
    """Decline, leave or remove: from now on the one does not review for the others, nor they for the one.

    Services that the member published under the team lose it in the same statement; open orders keep the frozen team,
    which means nobody for them any more (`access.is_team_mate`). `NotFound`, `NotTheOwner`, `OwnerStays`.
    """
    await lock_team_of(session, membership_id)
    row = await LIFECYCLE.advance(session, membership_id, action, actor)
    return TeamMembership.model_validate(dict(row))

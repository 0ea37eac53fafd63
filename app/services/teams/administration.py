"""Making, renaming, handing over and deleting teams: their owner's deeds (work-orders.md: Who may review)."""

from uuid import UUID

from sqlalchemy import bindparam, func, insert, or_, select, update

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import Session, Statement
from app.core.errors import Conflict, Unprocessable
from app.core.ids import uuid7
from app.kernel.events import Event, emit
from app.kernel.lifecycle import constant
from app.kernel.locks import lock_account
from app.models.teams import TeamMembershipStatus, team_memberships, teams
from app.models.users import users
from app.schemas.teams import MyTeam
from app.services.teams import events, queries
from app.services.teams.lifecycle import LIFECYCLE, Action
from app.services.teams.locks import lock_own


class TooManyTeams(Conflict):
    code, title = "too_many_teams", "This account owns as many teams as it may."


class NotAMember(Unprocessable):
    code, title = "not_a_member", "This is no active member of the team."


_OWNED = Statement(
    select(func.count())
    .select_from(teams)
    .where(teams.c.owner_id == bindparam("owner_id"), teams.c.deleted_at.is_(None))
)
_CREATE = Statement(
    insert(teams).values(id=bindparam("team_id"), owner_id=bindparam("owner_id"), name=bindparam("name"))
)
_team = update(teams).where(teams.c.id == bindparam("team_id"))
_RENAME = Statement(_team.values(name=bindparam("name"), updated_at=func.now()))
_HAND_OVER = Statement(_team.values(owner_id=bindparam("owner_id"), updated_at=func.now()))
_DELETE = Statement(_team.values(deleted_at=func.now(), updated_at=func.now()))
_is_active = team_memberships.c.status == constant(TeamMembershipStatus.ACTIVE)
_MEMBERS = Statement(
    select(team_memberships.c.user_id, users.c.name)
    .join(users, users.c.id == team_memberships.c.user_id)
    .where(team_memberships.c.team_id == bindparam("team_id"), _is_active)
)
_LIVING = Statement(
    select(team_memberships.c.id)
    .where(
        team_memberships.c.team_id == bindparam("team_id"),
        or_(_is_active, team_memberships.c.status == constant(TeamMembershipStatus.INVITED)),
    )
    .order_by(team_memberships.c.id)
)


async def create(session: Session, actor: Actor, name: str) -> MyTeam:
    """A new team, whose only member is its owner. `TooManyTeams`."""
    owner_id, team_id = actor.user_id, uuid7()
    await lock_account(session, owner_id)
    await _leave_room(session, owner_id)
    await session.execute(_CREATE, team_id=team_id, owner_id=owner_id, name=name)
    membership = {"id": uuid7(), "team_id": team_id, "user_id": owner_id, "invited_by": owner_id}
    await LIFECYCLE.create(session, actor, membership)
    await LIFECYCLE.advance(session, membership["id"], Action.FOUND, actor)
    return await queries.team(session, actor, team_id)


async def rename(session: Session, actor: Actor, team_id: UUID, name: str) -> MyTeam:
    """`NotFound`, `NotTheOwner`."""
    await lock_own(session, actor, team_id)
    await session.execute(_RENAME, team_id=team_id, name=name)
    await _tell_members(session, team_id, events.Renamed(team_id=team_id, team_name=name))
    return await queries.team(session, actor, team_id)


async def transfer(session: Session, actor: Actor, team_id: UUID, user_id: UUID) -> MyTeam:
    """Hand the team to another active member. `NotFound`, `NotTheOwner`, `NotAMember`, `TooManyTeams`."""
    await lock_account(session, user_id)
    team = await lock_own(session, actor, team_id)
    names = {row["user_id"]: row["name"] for row in await session.all(_MEMBERS, team_id=team_id)}
    if user_id not in names:
        raise NotAMember()
    if user_id != team["owner_id"]:
        await _leave_room(session, user_id)
    await session.execute(_HAND_OVER, team_id=team_id, owner_id=user_id)
    event = events.OwnershipTransferred(
        team_id=team_id, team_name=team["name"], user_id=user_id, user_name=names[user_id]
    )
    await _tell_members(session, team_id, event)
    return await queries.team(session, actor, team_id)


async def delete(session: Session, actor: Actor, team_id: UUID) -> None:
    """Dissolve the team; services that were published under it go on as their advertisers' own. `NotTheOwner`."""
    await lock_own(session, actor, team_id)
    await session.execute(_DELETE, team_id=team_id)
    for membership in await session.all(_LIVING, team_id=team_id):
        await LIFECYCLE.advance(session, membership["id"], Action.DISBAND, actor)


async def _leave_room(session: Session, owner_id: UUID) -> None:
    limit = settings().teams_per_owner
    if await session.scalar(_OWNED, owner_id=owner_id) >= limit:
        raise TooManyTeams(limit=limit)


async def _tell_members(session: Session, team_id: UUID, event: Event) -> None:
    members = [row["user_id"] for row in await session.all(_MEMBERS, team_id=team_id)]
    await emit(session, event, subject_type="team", subject_id=team_id, to=members)

"""Reading teams: members see their team and each other, whoever is invited sees the team, nobody else anything."""

from uuid import UUID

from sqlalchemy import Text, Uuid, any_, bindparam, func, select

from app.core.actor import Actor
from app.core.database import ReadSession, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR, constant, constants
from app.models.teams import TeamMembershipStatus, team_memberships, teams
from app.models.users import users
from app.schemas.base import Page, PageQuery, page_of
from app.schemas.teams import ListTeams, MyTeam, TeamMember
from app.services.teams.access import teams_of_actor

_ACTIVE = constant(TeamMembershipStatus.ACTIVE)
_members = team_memberships.alias("members")
_members_count = (
    select(func.count()).where(_members.c.team_id == teams.c.id, _members.c.status == _ACTIVE).scalar_subquery()
)
_own = (
    select(
        teams.c.id,
        teams.c.name,
        teams.c.owner_id,
        users.c.name.label("owner_name"),
        _members_count.label("members_count"),
        teams.c.created_at,
        team_memberships.c.id.label("membership_id"),
        team_memberships.c.status.label("membership_status"),
    )
    .join(users, users.c.id == teams.c.owner_id)
    .join(team_memberships, team_memberships.c.team_id == teams.c.id)
    .where(team_memberships.c.user_id == ACTOR)
)
_ONE = Statement(
    _own.where(
        teams.c.id == bindparam("team_id"),
        team_memberships.c.status == any_(constants({TeamMembershipStatus.INVITED, TeamMembershipStatus.ACTIVE})),
    )
)
_in_status = _own.where(
    team_memberships.c.status == bindparam("status", type_=Text),
    team_memberships.c.team_id < bindparam("before", type_=Uuid),
)
_LIST = Statement(newest(_in_status, teams.c.id))
_members_of_team = (
    select(
        team_memberships.c.id,
        team_memberships.c.user_id,
        users.c.name.label("user_name"),
        (teams.c.owner_id == team_memberships.c.user_id).label("is_owner"),
        team_memberships.c.joined_at,
    )
    .join(users, users.c.id == team_memberships.c.user_id)
    .join(teams, teams.c.id == team_memberships.c.team_id)
    .where(
        team_memberships.c.team_id == bindparam("team_id"),
        team_memberships.c.status == _ACTIVE,
        team_memberships.c.id < bindparam("before", type_=Uuid),
    )
)
_MEMBERS = Statement(newest(_members_of_team, team_memberships.c.id))
_IS_MEMBER = Statement(teams_of_actor.where(team_memberships.c.team_id == bindparam("team_id")))


async def team(session: ReadSession, actor: Actor, team_id: UUID) -> MyTeam:
    """A team that the actor is in or invited to, or `NotFound`."""
    row = await session.first(_ONE, team_id=team_id, actor_id=actor.id)
    if row is None:
        raise NotFound()
    return MyTeam.model_validate(dict(row))


async def own(session: ReadSession, actor: Actor, wanted: ListTeams) -> Page[MyTeam]:
    """The teams that the actor is in, or is invited to; the newest team first."""
    status = TeamMembershipStatus.INVITED if wanted.invited else TeamMembershipStatus.ACTIVE
    rows = await session.all(
        _LIST, actor_id=actor.id, status=status.value, before=decode(wanted.cursor), rows=wanted.limit + 1
    )
    return page_of(rows, wanted.limit, lambda row: MyTeam.model_validate(dict(row)))


async def members(session: ReadSession, actor: Actor, team_id: UUID, wanted: PageQuery) -> Page[TeamMember]:
    """The active members, for themselves; `NotFound` for everybody else."""
    if not await session.scalar(_IS_MEMBER, team_id=team_id, actor_id=actor.id):
        raise NotFound()
    rows = await session.all(_MEMBERS, team_id=team_id, before=decode(wanted.cursor), rows=wanted.limit + 1)
    return page_of(rows, wanted.limit, lambda row: TeamMember.model_validate(dict(row)))

"""The lock on a team's row: whoever changes a team or its members holds it, and then looks.

Whoever publishes a service under the team holds it shared, so that no service stays behind when its advertiser leaves.
Order of locks: user → team → membership → services.
"""

from uuid import UUID

from sqlalchemy import bindparam, select

from app.core.actor import Actor
from app.core.database import Row, Session, Statement
from app.core.errors import NotFound, Unprocessable
from app.models.teams import team_memberships, teams
from app.services.teams.access import teams_of_actor
from app.services.teams.lifecycle import NotTheOwner


class UnknownTeam(Unprocessable):
    code, title = "unknown_team", "You are not in such a team."


_team = select(teams.c.id, teams.c.name, teams.c.owner_id).where(
    teams.c.id == bindparam("team_id"), teams.c.deleted_at.is_(None)
)
_LOCK = Statement(_team.with_for_update(key_share=True))
_HOLD = Statement(_team.with_for_update(read=True), writes=True)
_LOCK_OF = Statement(
    select(teams.c.id)
    .join(team_memberships, team_memberships.c.team_id == teams.c.id)
    .where(team_memberships.c.id == bindparam("membership_id"))
    .with_for_update(of=teams, key_share=True)
)
_IS_MEMBER = Statement(teams_of_actor.where(team_memberships.c.team_id == bindparam("team_id")))


async def lock_own(session: Session, actor: Actor, team_id: UUID) -> Row:
    """The team, locked for its owner. `NotFound` for strangers, `NotTheOwner` for its other members."""
    team = await session.first(_LOCK, team_id=team_id)
    if team is not None and team["owner_id"] == actor.id:
        return team
    if team is not None and await session.scalar(_IS_MEMBER, team_id=team_id, actor_id=actor.id):
        raise NotTheOwner()
    raise NotFound()


async def lock_team_of(session: Session, membership_id: UUID) -> None:
    """Lock the team that the membership belongs to, if there is one."""
    await session.first(_LOCK_OF, membership_id=membership_id)


async def stay(session: Session, actor: Actor, team_id: UUID) -> None:
    """Keep the actor in the team until the end of the transaction. `UnknownTeam` for who is no active member.

    The look comes after the lock, in a statement of its own: one that waited would look at what was before its wait.
    """
    await session.first(_HOLD, team_id=team_id)
    if not await session.scalar(_IS_MEMBER, team_id=team_id, actor_id=actor.id):
        raise UnknownTeam()

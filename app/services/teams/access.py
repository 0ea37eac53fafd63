"""Who is in a team with whom, as conditions and recipients (work-orders.md: Who may review).

The rule: a service or an order that was published under a team is the team's business for as long as its advertiser is
an active member. A team mate is an active member too, and holds the role of an advertiser now. All three are asked of
the database at each decision, so that whoever leaves, is removed or loses the role stops reviewing at once; and an
advertiser who leaves takes the own orders along, the open ones included, whose frozen team then means nobody.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, select

from app.kernel.lifecycle import ACTOR, actor_has, constant
from app.models.teams import TeamMembershipStatus, team_memberships
from app.models.users import Role, user_roles

_active = constant(TeamMembershipStatus.ACTIVE)
_mates, _advertisers = team_memberships.alias("mates"), team_memberships.alias("advertisers")


def _together(team_id: ColumnElement[Any], advertiser_id: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(
        _advertisers.c.team_id == team_id,
        _advertisers.c.user_id == advertiser_id,
        _advertisers.c.status == _active,
        _mates.c.team_id == team_id,
        _mates.c.status == _active,
    )


def is_team_mate(team_id: ColumnElement[Any], advertiser_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """The actor may assign and review what this advertiser published under this team; false where that is NULL."""
    both = exists().where(_together(team_id, advertiser_id), _mates.c.user_id == ACTOR)
    return and_(actor_has(Role.ADVERTISER), both.correlate_except(_mates, _advertisers))


def team_mates(team_id: ColumnElement[Any], advertiser_id: ColumnElement[Any]) -> Select[Any]:
    """The ids of all who may do so, the advertiser left out: the recipients of what the team has to hear."""
    return (
        select(_mates.c.user_id)
        .join(user_roles, user_roles.c.user_id == _mates.c.user_id)
        .where(
            _together(team_id, advertiser_id),
            _mates.c.user_id != advertiser_id,
            user_roles.c.role == constant(Role.ADVERTISER),
        )
    )


teams_of_actor = select(team_memberships.c.team_id).where(
    team_memberships.c.user_id == ACTOR, team_memberships.c.status == _active
)
"""The teams that the actor is an active member of, for lists that begin with an index on the team."""

colleagues = (
    select(_advertisers.c.team_id, _advertisers.c.user_id)
    .join(_mates, _mates.c.team_id == _advertisers.c.team_id)
    .where(
        _mates.c.user_id == ACTOR,
        _mates.c.status == _active,
        _advertisers.c.user_id != ACTOR,
        _advertisers.c.status == _active,
        actor_has(Role.ADVERTISER),
    )
    .subquery("colleagues")
)
"""What `is_team_mate` holds for, as teams and advertisers, for lists that begin with an index on both."""

"""The states of a membership in a team, and who may change them (work-orders.md: Who may review).

Every transition runs under the lock on the team's row (`locks.py`), which comes first: the size of the team, its owner
and the services that are published under it are then those that the one before left behind.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Update, and_, bindparam, exists, func, null, or_, select, update

from app.core.errors import Conflict, Forbidden
from app.kernel.lifecycle import ACTOR, Columns, Creation, Emit, Guard, Lifecycle, Transition, actor_has, constant
from app.models.advertised_services import advertised_services
from app.models.teams import TeamMembershipStatus, team_memberships, teams
from app.models.users import Role, users
from app.services.teams import events


class Action(StrEnum):
    FOUND = "found"
    ACCEPT = "accept"
    DECLINE = "decline"
    WITHDRAW = "withdraw"
    LEAVE = "leave"
    REMOVE = "remove"
    DISBAND = "disband"


class NotTheOwner(Forbidden):
    code, title = "not_the_owner", "Only the owner of the team may do this."


class OwnerStays(Conflict):
    code, title = "owner_stays", "The owner cannot leave the team: hand it to another member first, or delete it."


class TeamFull(Conflict):
    code, title = "team_full", "The team has as many members as it may have."


_invited, _active, _removed = (
    TeamMembershipStatus.INVITED,
    TeamMembershipStatus.ACTIVE,
    TeamMembershipStatus.REMOVED,
)
_own, _others = team_memberships.alias("own"), team_memberships.alias("others")
_of_own_team = (
    exists().where(teams.c.id == team_memberships.c.team_id, teams.c.owner_id == ACTOR).correlate_except(teams)
)
_of_the_owner = (
    exists()
    .where(teams.c.id == team_memberships.c.team_id, teams.c.owner_id == team_memberships.c.user_id)
    .correlate_except(teams)
)
_is_themselves = team_memberships.c.user_id == ACTOR
_has_room = select(func.count()).where(
    _others.c.team_id == team_memberships.c.team_id, _others.c.status == constant(_active)
).correlate_except(_others).scalar_subquery() < bindparam("members_limit", type_=Integer)
_of_a_mate = and_(
    team_memberships.c.status == constant(_active),
    exists()
    .where(
        _own.c.team_id == team_memberships.c.team_id, _own.c.user_id == ACTOR, _own.c.status == constant(_active)
    )
    .correlate_except(_own),
)  # fmt: skip
_themselves = Guard(_is_themselves, Forbidden)
_stays = Guard(~_of_the_owner, OwnerStays)


def _self(row: Columns) -> ColumnElement[Any]:
    return row.user_id


def _another(row: Columns) -> Select[Any]:
    """Whoever founds a team invites nobody by joining it."""
    return select(row.user_id).where(row.user_id != row.invited_by)


def _members(row: Columns) -> Select[Any]:
    """The active members but for the one whom the row is about."""
    return select(_others.c.user_id).where(
        _others.c.team_id == row.team_id, _others.c.status == constant(_active), _others.c.user_id != row.user_id
    )


def _members_and_self(row: Columns) -> Select[Any]:
    return select(_members(row).union(select(row.user_id)).subquery().c.user_id)


def _name_of(user_id: ColumnElement[Any]) -> ColumnElement[Any]:
    return select(users.c.name).where(users.c.id == user_id).scalar_subquery()


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    name = select(teams.c.name).where(teams.c.id == row.team_id).scalar_subquery()
    return {"team_id": row.team_id, "team_name": name}


def _about_member(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _about(row) | {"user_id": row.user_id, "user_name": _name_of(row.user_id)}


def _take_services_along(row: Columns) -> list[Update]:
    """What the member published under the team goes on without it."""
    services = advertised_services.c
    return [
        update(advertised_services)
        .where(services.team_id == row.team_id, services.advertiser_id == row.user_id)
        .values(team_id=null(), updated_at=func.now())
    ]


LIFECYCLE = Lifecycle(
    "team_membership",
    team_memberships,
    TeamMembershipStatus,
    Creation(
        _invited,
        who="the owner of the team, an advertiser",
        emits=[
            Emit(
                events.MemberInvited,
                _another,
                lambda row: _about(row) | {"invited_by_name": _name_of(row.invited_by)},
            ),
        ],
    ),
    [
        Transition(
            Action.FOUND, frozenset({_invited}), _active,
            who="the platform, for whoever makes the team", allowed=None, sets={"joined_at": func.now()},
        ),
        Transition(
            Action.ACCEPT, frozenset({_invited}), _active,
            who="the invited advertiser", allowed=Guard(_is_themselves & actor_has(Role.ADVERTISER), Forbidden),
            guards=[Guard(_has_room, TeamFull)], sets={"joined_at": func.now()},
            emits=[Emit(events.MemberJoined, _members, _about_member)],
        ),
        Transition(
            Action.DECLINE, frozenset({_invited}), TeamMembershipStatus.DECLINED,
            who="the invited advertiser; the owner is not told", allowed=_themselves,
        ),
        Transition(
            Action.WITHDRAW, frozenset({_invited}), _removed,
            who="the owner, who is not told whether there was an invitation", allowed=None,
            emits=[Emit(events.InvitationWithdrawn, _self, _about)],
        ),
        Transition(
            Action.LEAVE, frozenset({_active}), TeamMembershipStatus.LEFT,
            who="the member, but for the owner", allowed=_themselves, guards=[_stays], sets={"left_at": func.now()},
            also=_take_services_along,
            emits=[Emit(events.MemberLeft, _members, _about_member)],
        ),
        Transition(
            Action.REMOVE, frozenset({_active}), _removed,
            who="the owner, another member", allowed=Guard(_of_own_team, NotTheOwner), guards=[_stays],
            sets={"left_at": func.now()}, also=_take_services_along,
            emits=[Emit(events.MemberRemoved, _members_and_self, _about_member)],
        ),
        Transition(
            Action.DISBAND, frozenset({_invited, _active}), _removed,
            who="the platform, when the owner deletes the team", allowed=None,
            sets={"left_at": func.now()}, also=_take_services_along,
            emits=[Emit(events.Disbanded, _self, _about)],
        ),
    ],
    visible=or_(_is_themselves, _of_a_mate),
)  # fmt: skip

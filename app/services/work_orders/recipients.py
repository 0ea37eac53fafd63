"""Who hears of what happens to a work order: users, by what they have to do with the row that moved."""

from typing import Any

from sqlalchemy import Select, literal_column, select, union_all

from app.kernel.lifecycle import ACTOR, Columns
from app.models.users import Role
from app.services.teams.access import team_mates
from app.services.users import roles


def _everybody(*groups: Select[Any]) -> Select[Any]:
    """The ids of all groups, the first group first, in case there are more than may be told."""
    ranked = [select(group.subquery().c[0].label("user_id"), literal_column(str(n)).label("rank"))
              for n, group in enumerate(groups)]  # fmt: skip
    people = union_all(*ranked).subquery("people")
    return select(people.c.user_id).where(people.c.user_id.is_not(None)).order_by(people.c.rank)


def parties(row: Columns) -> Select[Any]:
    """The buyer, the booster if there is one, and the advertiser."""
    return _everybody(select(row.buyer_id), select(row.booster_id), select(row.advertiser_id))


def list_holders(row: Columns) -> Select[Any]:
    """Whose lists show the order, and whoever acts, on all devices."""
    return _everybody(parties(row), select(ACTOR))


def parties_and_support(row: Columns) -> Select[Any]:
    return _everybody(parties(row), roles.holding(Role.SUPPORT))


def _without_stake(people: Select[Any], row: Columns) -> Select[Any]:
    user_id = people.selected_columns[0]
    return people.where(user_id != row.buyer_id, user_id.is_distinct_from(row.booster_id))


def _advertiser_and_team(row: Columns) -> tuple[Select[Any], ...]:
    """The advertiser, first and as long as they are one, and the team."""
    holders = roles.holding(Role.ADVERTISER)
    advertiser = holders.where(holders.selected_columns[0] == row.advertiser_id)
    return advertiser, team_mates(row.team_id, row.advertiser_id)


def sellers(row: Columns) -> Select[Any]:
    """Whoever sells it and has no part in the work."""
    return _without_stake(_everybody(*_advertiser_and_team(row)), row)


def reviewers(row: Columns) -> Select[Any]:
    """Whoever may review it, the sellers first."""
    staff = [roles.holding(role) for role in (Role.SUPPORT, Role.ADMIN)]
    return _without_stake(_everybody(*_advertiser_and_team(row), *staff), row)

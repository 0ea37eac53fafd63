"""Who is who for a work order, as conditions on its row (work-orders.md: Who may review)."""

from typing import Any

from sqlalchemy import ColumnElement, false, func, or_, select

from app.kernel.lifecycle import ACTOR, actor_has, constant
from app.models.users import Role, UserStatus, user_roles, users
from app.models.work_orders import work_orders
from app.services.teams.access import is_team_mate

is_buyer = work_orders.c.buyer_id == ACTOR
is_booster = func.coalesce(work_orders.c.booster_id == ACTOR, false())
is_advertiser = work_orders.c.advertiser_id == ACTOR
is_admin = actor_has(Role.ADMIN)
is_staff = actor_has(Role.ADMIN, Role.SUPPORT)
sells = is_advertiser & actor_has(Role.ADVERTISER)
"""Whoever has lost the role decides nothing any more about what they sold before, as their team mates do not either."""
may_begin = actor_has(Role.BOOSTER)
"""Whoever has lost the role begins nothing any more; what they had begun they may hand in, for others to judge."""
manages = or_(
    sells,
    is_team_mate(work_orders.c.team_id, work_orders.c.advertiser_id),
    is_staff,
)
"""The advertiser, a team mate, support, admin."""
has_no_stake = ~is_buyer & ~is_booster
"""Whoever buys the work or does it decides nothing about it, whatever else they are on that order."""
may_review = manages & has_no_stake
is_visible = or_(is_buyer, is_booster, is_advertiser, manages)
sees_evidence = or_(is_booster, may_review)


def is_active_booster(user_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """An account that is not shut out and holds the role now."""
    holder = (
        select(user_roles.c.user_id)
        .join(users, users.c.id == user_roles.c.user_id)
        .where(
            user_roles.c.user_id == user_id,
            user_roles.c.role == constant(Role.BOOSTER),
            users.c.status == constant(UserStatus.ACTIVE),
        )
    )
    return holder.exists()

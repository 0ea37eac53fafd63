"""Which advertised services can be bought (work-orders.md)."""

from sqlalchemy import and_, select

from app.kernel.lifecycle import ACTOR, constant
from app.models.advertised_services import AdvertisedServiceStatus, advertised_services
from app.models.users import Role, UserStatus, user_roles, users

is_advertiser = advertised_services.c.advertiser_id == ACTOR
is_on_sale = and_(
    # Word for word the predicate of the indexes on what is active: only so does the planner use them.
    advertised_services.c.status == constant(AdvertisedServiceStatus.ACTIVE),
    # Not EXISTS, which the planner takes for something that few services pass: it would rather read all services of
    # all advertisers than the newest until the page is full.
    select(users.c.status == constant(UserStatus.ACTIVE))
    .where(
        users.c.id == advertised_services.c.advertiser_id,
        user_roles.c.user_id == advertised_services.c.advertiser_id,
        user_roles.c.role == constant(Role.ADVERTISER),
    )
    .correlate_except(users, user_roles)
    .scalar_subquery(),
)
"""It is active, and so is its advertiser, who still holds the role: one who was suspended or lost it sells nothing."""

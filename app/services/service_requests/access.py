"""Who is who for a service request, as conditions on its row (leads.md)."""

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, any_, exists, func, literal_column, or_, select

from app.core.geo import contains, distance_metres, point
from app.kernel.lifecycle import ACTOR, Columns, actor_has, constants
from app.models.providers import ProviderStatus, provider_services, providers
from app.models.regions import region_managers
from app.models.service_requests import OPEN_STATUSES, LeadStatus, lead_purchases, service_requests
from app.models.users import Role, UserStatus, users
from app.services.regions.queries import managed_by_actor

WEEK: Final[ColumnElement[object]] = literal_column("interval '7 days'")

is_open = service_requests.c.status == any_(constants(OPEN_STATUSES))
is_customer = service_requests.c.customer_id == ACTOR
is_winner = service_requests.c.completed_by == ACTOR
has_purchased = (
    exists()
    .where(lead_purchases.c.service_request_id == service_requests.c.id, lead_purchases.c.provider_id == ACTOR)
    .correlate_except(lead_purchases)
)
# Whoever got the fee for a bad lead back has seen the contacts, but is out of the race.
is_in_the_race = has_purchased.where(lead_purchases.c.status != literal_column(f"'{LeadStatus.REFUNDED}'"))
is_staff = or_(
    actor_has(Role.ADMIN, Role.SUPPORT),
    managed_by_actor.where(region_managers.c.region_id == service_requests.c.region_id).correlate_except(
        region_managers
    ),
)


def spent_in_a_week(provider_id: ColumnElement[Any]) -> ColumnElement[int]:
    """What a provider paid for leads in the last seven days and did not get back, in minor units."""
    spent = select(func.coalesce(func.sum(lead_purchases.c.fee_minor), 0)).where(
        lead_purchases.c.provider_id == provider_id,
        lead_purchases.c.status != LeadStatus.REFUNDED.value,
        lead_purchases.c.created_at > func.now() - WEEK,
    )
    return spent.correlate_except(lead_purchases).scalar_subquery()


may_work: Final[ColumnElement[bool]] = and_(
    providers.c.status == literal_column(f"'{ProviderStatus.APPROVED}'"),
    providers.c.deleted_at.is_(None),
    exists()
    .where(users.c.id == providers.c.id, users.c.status == literal_column(f"'{UserStatus.ACTIVE}'"))
    .correlate_except(users),
)
"""A row of `providers` is of somebody who takes part."""


def reaches(request: Columns) -> ColumnElement[bool]:
    """A row of `providers` goes as far as the request's position, which is not the provider's own request."""
    return and_(
        distance_metres(providers.c.latitude, providers.c.longitude, request.latitude, request.longitude)
        <= providers.c.service_radius_metres,
        providers.c.id != request.customer_id,
    )


def matches(request: Columns) -> ColumnElement[bool]:
    """A row of `providers` offers the request's service, may work, and reaches its position."""
    return and_(
        contains(providers.c.coverage, point(request.latitude, request.longitude)),
        reaches(request),
        may_work,
        # Not EXISTS, of which the planner may make a table of everybody's services, while there are few.
        select(provider_services.c.is_active)
        .where(
            provider_services.c.provider_id == providers.c.id,
            provider_services.c.service_id == request.service_id,
        )
        .correlate_except(provider_services)
        .scalar_subquery(),
    )


def within_budget(provider: Columns, fee: ColumnElement[int]) -> ColumnElement[bool]:
    """The provider may spend the fee without passing its own weekly cap."""
    budget = provider.weekly_lead_budget_minor
    return or_(budget.is_(None), spent_in_a_week(provider.id) + fee <= budget)


def has_bought(request: Columns, user_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """The user has paid for the request's contacts, whatever became of the fee."""
    bought = exists().where(lead_purchases.c.service_request_id == request.id, lead_purchases.c.provider_id == user_id)
    return bought.correlate_except(lead_purchases)


def may_ask(request: Columns, user_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """The user has bought the lead, or could still: a provider who matches while the request is open."""
    matching = exists().where(providers.c.id == user_id, matches(request)).correlate_except(providers)
    return or_(has_bought(request, user_id), and_(request.status == any_(constants(OPEN_STATUSES)), matching))


actor_matches = exists().where(providers.c.id == ACTOR, matches(service_requests.c)).correlate_except(providers)
actor_within_budget = (
    exists()
    .where(providers.c.id == ACTOR, within_budget(providers.c, service_requests.c.fee_minor))
    .correlate_except(providers)
)
is_offered = and_(is_open, actor_matches)
is_visible = or_(is_customer, has_purchased, is_staff, is_offered)

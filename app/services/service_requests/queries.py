"""Reading service requests and leads: what a viewer may see is decided here, in the statement (leads.md)."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Float,
    Numeric,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    null,
    or_,
    select,
    true,
)

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.geo import box, contains, distance_metres
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR, constant
from app.models.base import Timestamp
from app.models.catalogue import services
from app.models.providers import providers
from app.models.regions import region_managers
from app.models.service_requests import LeadStatus, lead_purchases, service_requests
from app.models.users import Role, users
from app.schemas.base import Page, page_of
from app.schemas.service_requests import (
    AllRequests,
    Customer,
    MyRequests,
    OpenLead,
    PageOnly,
    PurchasedLead,
    ServiceRequest,
)
from app.services.service_requests import access

_DECIMALS: Final = 2  # of the degrees of a position that is not bought: about 1 km

_before = bindparam("before", type_=Uuid)


def _rounded(degrees: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.round(cast(degrees, Numeric), _DECIMALS), Float)


def _seen(
    unlocked: ColumnElement[bool], sees_proof: ColumnElement[bool], purchased: ColumnElement[bool]
) -> Select[Any]:
    """A request's columns as far as its reader may see them."""
    request = service_requests.c

    def shown(column: ColumnElement[Any], condition: ColumnElement[bool]) -> ColumnElement[Any]:
        return column if condition is true() else case((condition, column), else_=null())

    place = [
        column if unlocked is true() else case((unlocked, column), else_=_rounded(column))
        for column in (request.latitude, request.longitude)
    ]
    return (
        select(
            request.id,
            request.status,
            request.service_id,
            services.c.slug.label("service"),
            request.region_id,
            request.description,
            request.answers,
            request.photo_ids,
            place[0].label("latitude"),
            place[1].label("longitude"),
            unlocked.label("position_is_exact"),
            shown(request.address, unlocked).label("address"),
            shown(users.c.id, unlocked).label("customer_id"),
            users.c.name.label("customer_name"),
            users.c.phone.label("customer_phone"),
            users.c.email.label("customer_email"),
            request.budget_minor,
            request.currency,
            request.preferred_at,
            request.fee_minor,
            request.lead_cap,
            request.buyers_count,
            purchased.label("purchased"),
            request.completed_by,
            shown(request.proof_id, sees_proof).label("proof_id"),
            shown(request.notes, sees_proof).label("notes"),
            request.assigned_provider_id,
            request.send_back_reason,
            request.cancel_reason,
            request.created_at,
            request.updated_at,
        )
        .join(services, services.c.id == request.service_id)
        .join(users, users.c.id == request.customer_id)
    )


_READ = Statement(
    _seen(
        access.is_unlocked,
        or_(access.is_customer, func.coalesce(access.is_winner, false()), access.is_staff),
        access.has_purchased,
    ).where(service_requests.c.id == bindparam("request_id"), access.is_visible)
)


async def read(session: ReadSession, actor: Actor, request_id: UUID) -> ServiceRequest:
    """One request, masked for its reader, in one statement; `NotFound` for strangers."""
    row = await session.first(_READ, request_id=request_id, actor_id=actor.id, actor_roles=list(actor.roles))
    if row is None:
        raise NotFound()
    return _request(row)


def _request(row: Row) -> ServiceRequest:
    return ServiceRequest.model_validate(dict(row) | {"customer": _customer(row)})


def _customer(row: Row) -> Customer | None:
    if row["customer_id"] is None:
        return None
    return Customer(
        id=row["customer_id"], name=row["customer_name"], phone=row["customer_phone"], email=row["customer_email"]
    )


@cache
def _own(filtered: bool) -> Statement:
    query = _seen(true(), true(), false()).where(
        service_requests.c.customer_id == ACTOR, service_requests.c.id < _before
    )
    if filtered:
        query = query.where(service_requests.c.status == bindparam("status", type_=Text))
    return Statement(newest(query, service_requests.c.id))


async def own(session: ReadSession, actor: Actor, wanted: MyRequests) -> Page[ServiceRequest]:
    """The customer's requests, newest first."""
    rows = await session.all(
        _own(wanted.status is not None),
        actor_id=actor.id,
        before=decode(wanted.cursor),
        rows=wanted.limit + 1,
        **({"status": wanted.status.value} if wanted.status else {}),
    )
    return page_of(rows, wanted.limit, _request)


_FILTERS: Final[Mapping[str, ColumnElement[bool]]] = {
    "status": service_requests.c.status == bindparam("status", type_=Text),
    "region_id": service_requests.c.region_id == bindparam("region_id", type_=Uuid),
    "provider_id": exists().where(
        lead_purchases.c.service_request_id == service_requests.c.id,
        lead_purchases.c.provider_id == bindparam("provider_id", type_=Uuid),
    ),
    "created_before": service_requests.c.created_at < bindparam("created_before", type_=Timestamp),
    "created_after": service_requests.c.created_at > bindparam("created_after", type_=Timestamp),
}


@cache
def _everybodys(filters: frozenset[str], everywhere: bool) -> Statement:
    """One statement for each set of filters, so that each is planned for the index that serves it."""
    query = _seen(true(), true(), false()).where(service_requests.c.id < _before)
    if not everywhere:
        managed = exists().where(
            region_managers.c.region_id == service_requests.c.region_id, region_managers.c.user_id == ACTOR
        )
        query = query.where(managed)
    query = query.where(*(_FILTERS[name] for name in sorted(filters)))
    in_order = filters <= {"status"} or filters == {"status", "region_id"}
    return Statement(newest(query, service_requests.c.id, in_order=in_order))


async def everybodys(session: ReadSession, actor: Actor, wanted: AllRequests) -> Page[ServiceRequest]:
    """All requests for staff, newest first; a manager sees those of the own regions."""
    filters = wanted.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    everywhere = not actor.roles.isdisjoint({Role.ADMIN, Role.SUPPORT})
    rows = await session.all(
        _everybodys(frozenset(filters), everywhere),
        before=decode(wanted.cursor),
        rows=wanted.limit + 1,
        **({} if everywhere else {"actor_id": actor.id}),
        **filters,
    )
    return page_of(rows, wanted.limit, _request)


_request_latitude, _request_longitude = _rounded(service_requests.c.latitude), _rounded(service_requests.c.longitude)
_open = (
    select(
        service_requests.c.id,
        service_requests.c.status,
        service_requests.c.service_id,
        services.c.slug.label("service"),
        service_requests.c.description,
        service_requests.c.answers,
        service_requests.c.photo_ids,
        _request_latitude.label("latitude"),
        _request_longitude.label("longitude"),
        # From the rounded position: the exact distance from a few places of one's choice would tell the exact place.
        distance_metres(providers.c.latitude, providers.c.longitude, _request_latitude, _request_longitude).label(
            "distance_metres"
        ),
        service_requests.c.budget_minor,
        service_requests.c.currency,
        service_requests.c.preferred_at,
        service_requests.c.fee_minor,
        service_requests.c.lead_cap,
        service_requests.c.buyers_count,
        service_requests.c.created_at,
    )
    .select_from(providers)
    .join(
        service_requests,
        # The box is for the index on open positions; `matches` below decides.
        contains(
            box(providers.c.latitude, providers.c.longitude, providers.c.service_radius_metres),
            service_requests.c.latitude,
            service_requests.c.longitude,
        ),
    )
    .join(services, services.c.id == service_requests.c.service_id)
    .where(
        providers.c.id == ACTOR,
        service_requests.c.id < _before,
        access.IN_OPEN_INDEX,
        service_requests.c.buyers_count < service_requests.c.lead_cap,
        access.matches(service_requests.c),
        ~access.has_purchased,
    )
)
_OPEN = Statement(newest(_open, service_requests.c.id))


async def open_near(session: ReadSession, actor: Actor, wanted: PageOnly) -> Page[OpenLead]:
    """Open requests that the provider matches and has not bought, newest first, with distance, fee and buyers."""
    rows = await session.all(_OPEN, actor_id=actor.id, before=decode(wanted.cursor), rows=wanted.limit + 1)
    return page_of(rows, wanted.limit, lambda row: OpenLead.model_validate(dict(row)))


_bought = (
    select(
        *(column for column in lead_purchases.c if column.name not in {"region_id", "worked_at", "updated_at"}),
        service_requests.c.status.label("request_status"),
        services.c.slug.label("service"),
        service_requests.c.description,
        service_requests.c.address,
        service_requests.c.latitude,
        service_requests.c.longitude,
        users.c.id.label("customer_id"),
        users.c.name.label("customer_name"),
        users.c.phone.label("customer_phone"),
        users.c.email.label("customer_email"),
    )
    .join(service_requests, service_requests.c.id == lead_purchases.c.service_request_id)
    .join(services, services.c.id == service_requests.c.service_id)
    .join(users, users.c.id == service_requests.c.customer_id)
    .where(lead_purchases.c.id < _before)
)


def _newest_leads(*conditions: ColumnElement[bool]) -> Statement:
    return Statement(newest(_bought.where(*conditions), lead_purchases.c.id))


_BOUGHT = _newest_leads(lead_purchases.c.provider_id == ACTOR)
_is_reported = lead_purchases.c.status == constant(LeadStatus.REPORTED)
_REPORTED = _newest_leads(_is_reported)
_REPORTED_IN_REGIONS = _newest_leads(
    _is_reported,
    exists().where(region_managers.c.region_id == lead_purchases.c.region_id, region_managers.c.user_id == ACTOR),
)


async def bought(session: ReadSession, actor: Actor, wanted: PageOnly) -> Page[PurchasedLead]:
    """The provider's own leads, newest first, with the contacts that were paid for."""
    rows = await session.all(_BOUGHT, actor_id=actor.id, before=decode(wanted.cursor), rows=wanted.limit + 1)
    return _leads(rows, wanted.limit)


async def reported(session: ReadSession, actor: Actor, wanted: PageOnly) -> Page[PurchasedLead]:
    """Reported leads that wait for a decision; a manager sees those of the own regions."""
    page: dict[str, Any] = {"before": decode(wanted.cursor), "rows": wanted.limit + 1}
    if actor.roles.isdisjoint({Role.ADMIN, Role.SUPPORT}):
        return _leads(await session.all(_REPORTED_IN_REGIONS, actor_id=actor.id, **page), wanted.limit)
    return _leads(await session.all(_REPORTED, **page), wanted.limit)


def _leads(rows: list[Row], limit: int) -> Page[PurchasedLead]:
    return page_of(rows, limit, lambda row: PurchasedLead.model_validate(dict(row) | {"customer": _customer(row)}))

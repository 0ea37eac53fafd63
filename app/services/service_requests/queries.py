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
    column,
    exists,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.sql.selectable import LateralFromClause

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.geo import contains, distance_metres, latest_first, point_in_time, until
from app.core.ids import first_of
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR, constant, constants
from app.models.base import Timestamp, born_minutes
from app.models.catalogue import services
from app.models.providers import provider_services, providers
from app.models.regions import region_managers, regions
from app.models.service_requests import LeadStatus, ServiceRequestStatus, lead_purchases, service_requests
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


_UNMASKED: Final = (
    service_requests.c.id,
    service_requests.c.status,
    service_requests.c.service_id,
    services.c.slug.label("service"),
    service_requests.c.description,
    service_requests.c.answers,
    service_requests.c.photo_ids,
    service_requests.c.budget_minor,
    service_requests.c.currency,
    service_requests.c.preferred_at,
    service_requests.c.fee_minor,
    service_requests.c.lead_cap,
    service_requests.c.buyers_count,
    service_requests.c.created_at,
)
"""What everybody sees who may know of the request: nothing that tells who or where exactly."""


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
            *_UNMASKED,
            request.region_id,
            place[0].label("latitude"),
            place[1].label("longitude"),
            unlocked.label("position_is_exact"),
            shown(request.address, unlocked).label("address"),
            shown(users.c.id, unlocked).label("customer_id"),
            users.c.name.label("customer_name"),
            users.c.phone.label("customer_phone"),
            users.c.email.label("customer_email"),
            purchased.label("purchased"),
            request.completed_by,
            shown(request.proof_id, sees_proof).label("proof_id"),
            shown(request.notes, sees_proof).label("notes"),
            request.assigned_provider_id,
            request.send_back_reason,
            request.cancel_reason,
            request.updated_at,
        )
        .join(services, services.c.id == request.service_id)
        .join(users, users.c.id == request.customer_id)
    )


# What the reader is to the request, found out once; without OFFSET the planner writes it out at each of its uses.
_reader = (
    select(access.has_purchased.label("purchased"), access.is_staff.label("is_staff"))
    .offset(literal_column("0"))
    .lateral("reader")
)
_is_unlocked = or_(access.is_customer, _reader.c.purchased, _reader.c.is_staff)
"""Contacts and the exact place are shown."""
_READ = Statement(
    _seen(
        _is_unlocked,
        or_(access.is_customer, func.coalesce(access.is_winner, false()), _reader.c.is_staff),
        _reader.c.purchased,
    )
    .join(_reader, true())
    .where(
        service_requests.c.id == bindparam("request_id"),
        or_(_is_unlocked, access.is_offered),
    )
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


_everything = _seen(true(), true(), false())


@cache
def _own(filtered: bool) -> Statement:
    query = _everything.where(service_requests.c.customer_id == ACTOR, service_requests.c.id < _before)
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


_CLOCKS_APART: Final = 86400
"""Seconds by which the clocks that identifiers come from may be wrong: `created_at` is the database's time."""
_FILTERS: Final[Mapping[str, ColumnElement[bool]]] = {
    "status": service_requests.c.status == bindparam("status", type_=Text),
    "region_id": service_requests.c.region_id == bindparam("region_id", type_=Uuid),
    "provider_id": exists().where(
        lead_purchases.c.service_request_id == service_requests.c.id,
        lead_purchases.c.provider_id == bindparam("provider_id", type_=Uuid),
    ),
    "created_before": service_requests.c.created_at < bindparam("created_before", type_=Timestamp),
    "created_after": service_requests.c.created_at > bindparam("created_after", type_=Timestamp),
    "after": service_requests.c.id > bindparam("after", type_=Uuid),
}


@cache
def _everybodys(filters: frozenset[str], everywhere: bool) -> Statement:
    """One statement for each set of filters, so that each is planned for the index that serves it."""
    conditions = {name: _FILTERS[name] for name in sorted(filters)} | {"before": service_requests.c.id < _before}
    if "provider_id" not in filters and ("region_id" in filters or not everywhere):
        return Statement(_of_regions(conditions, everywhere))
    query = _everything.where(*conditions.values())
    if not everywhere:
        managed = exists().where(
            region_managers.c.region_id == service_requests.c.region_id, region_managers.c.user_id == ACTOR
        )
        query = query.where(managed)
    return Statement(newest(query, service_requests.c.id, in_order="provider_id" not in filters))


def _of_regions(conditions: Mapping[str, ColumnElement[bool]], everywhere: bool) -> Select[Any]:
    """A page of the newest of each region and status, as an index has them in order, and of these the newest."""
    place = regions.c.id if everywhere else region_managers.c.region_id
    one = bindparam("status", type_=Text)
    wanted = array([one]) if "status" in conditions else constants(ServiceRequestStatus)
    statuses = func.unnest(wanted).table_valued(column("status", Text), name="statuses").render_derived()
    of_one = select(service_requests.c.id).where(
        service_requests.c.region_id == place,
        service_requests.c.status == statuses.c.status,
        *(condition for name, condition in conditions.items() if name not in {"status", "region_id"}),
    )
    found = newest(of_one.correlate(place.table, statuses), service_requests.c.id).lateral("found")
    page = select(found.c.id).select_from(place.table).join(statuses, true()).join(found, true())
    if not everywhere:
        page = page.where(region_managers.c.user_id == ACTOR)
    if "region_id" in conditions:
        page = page.where(place == bindparam("region_id", type_=Uuid))
    ids = page.order_by(found.c.id.desc()).limit(bindparam("rows")).subquery("page")
    return _everything.join(ids, ids.c.id == service_requests.c.id).order_by(ids.c.id.desc())


async def everybodys(session: ReadSession, actor: Actor, wanted: AllRequests) -> Page[ServiceRequest]:
    """All requests for staff, newest first; a manager sees those of the own regions."""
    filters = wanted.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    # Identifiers tell the time, too, and their index leads past what is newer or older.
    before = decode(wanted.cursor)
    if wanted.created_before:
        before = min(before, first_of(wanted.created_before.timestamp() + _CLOCKS_APART))
    if wanted.created_after:
        filters["after"] = first_of(wanted.created_after.timestamp() - _CLOCKS_APART)
    everywhere = not actor.roles.isdisjoint({Role.ADMIN, Role.SUPPORT})
    rows = await session.all(
        _everybodys(frozenset(filters), everywhere),
        before=before,
        rows=wanted.limit + 1,
        **({} if everywhere else {"actor_id": actor.id}),
        **filters,
    )
    return page_of(rows, wanted.limit, _request)


def _newest_of_a_service() -> LateralFromClause:
    """The newest open leads of one service that the provider offers.

    In the index the leads of a service within a box lie in the order of time, so a page is read and no more, but for
    the corners of the box and for what the provider posted or bought.
    """
    request = service_requests.c
    happened = point_in_time(request.latitude, request.longitude, born_minutes(request.id))
    rank = latest_first(happened).label("rank")
    bought = (
        select(lead_purchases.c.id)
        .where(
            lead_purchases.c.service_request_id == request.id,
            # Not what an index has: a plan made while there are few would read all that the provider ever bought.
            lead_purchases.c.provider_id.is_not_distinct_from(ACTOR),
        )
        .correlate_except(lead_purchases)
        .scalar_subquery()
    )
    query = select(request.id, rank).where(
        request.for_sale,
        request.service_id == provider_services.c.service_id,
        contains(until(providers.c.coverage, born_minutes(_before)), happened),
        request.id < _before,
        access.reaches(request),
        bought.is_(None),
    )
    return newest(query.correlate(providers, provider_services), request.id, rank=rank).lateral("lead")


def _open_near() -> Select[Any]:
    """A page of the newest leads of each service that the provider offers, and of these the newest."""
    request, lead = service_requests.c, _newest_of_a_service()
    near = (
        select(lead.c.id, providers.c.latitude, providers.c.longitude)
        .select_from(providers)
        .join(provider_services, provider_services.c.provider_id == providers.c.id)
        .join(lead, true())
        .where(providers.c.id == ACTOR, access.may_work, provider_services.c.is_active)
        .order_by(lead.c.id.desc())
        .limit(bindparam("rows"))
        .subquery("near")
    )
    latitude, longitude = _rounded(request.latitude), _rounded(request.longitude)
    return (
        select(
            *_UNMASKED,
            latitude.label("latitude"),
            longitude.label("longitude"),
            # From the rounded position: the exact distance from a few places of one's choice would tell the exact one.
            distance_metres(near.c.latitude, near.c.longitude, latitude, longitude).label("distance_metres"),
        )
        .select_from(near)
        .join(service_requests, request.id == near.c.id)
        .join(services, services.c.id == request.service_id)
        .order_by(near.c.id.desc())
    )


_OPEN = Statement(_open_near())


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

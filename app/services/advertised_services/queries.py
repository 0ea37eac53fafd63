"""Reading advertised services: what is on sale, for everybody, and the own ones."""

from collections.abc import Mapping
from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Text, Uuid, bindparam, func, literal_column, select

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest
from app.models.advertised_services import advertised_services
from app.models.users import users
from app.schemas.advertised_services import (
    AdvertisedService,
    FindAdvertisedServices,
    ListOwnServices,
    OwnAdvertisedService,
)
from app.schemas.base import Page, page_of
from app.services.advertised_services import access

_service = advertised_services.c
_on_sale = (
    select(
        _service.id,
        _service.advertiser_id,
        users.c.name.label("advertiser_name"),
        _service.title,
        _service.description,
        _service.price_minor,
        _service.currency,
        _service.revision,
        _service.created_at,
    )
    .join(users, users.c.id == _service.advertiser_id)
    .where(access.is_on_sale)
)
_own = select(*(column for column in _service if column.name != "words")).where(access.is_advertiser)
_ONE = Statement(_on_sale.where(_service.id == bindparam("service_id")))
_OWN_ONE = Statement(_own.where(_service.id == bindparam("service_id")))
_FILTERS: Final[Mapping[str, ColumnElement[bool]]] = {
    "status": _service.status == bindparam("status", type_=Text),
    "currency": _service.currency == bindparam("currency", type_=Text),
    "advertiser_id": _service.advertiser_id == bindparam("advertiser_id", type_=Uuid),
    "words": _service.words.bool_op("@@")(
        func.websearch_to_tsquery(literal_column("'simple'"), bindparam("words", type_=Text))
    ),
    "price_from_minor": _service.price_minor >= bindparam("price_from_minor", type_=BigInteger),
    "price_to_minor": _service.price_minor <= bindparam("price_to_minor", type_=BigInteger),
}


@cache
def _list(filters: frozenset[str], *, own: bool) -> Statement:
    """One statement for each set of filters, so that each is planned for the index that serves it.

    Words and prices may fit a few services or most of them: the few are found by their index and sorted, of the many
    the newest are enough.
    """
    query = (_own if own else _on_sale).where(_service.id < bindparam("before", type_=Uuid))
    query = query.where(*(_FILTERS[name] for name in sorted(filters)))
    in_order = own or filters.isdisjoint({"words", "price_from_minor", "price_to_minor"})
    return Statement(newest(query, _service.id, in_order=in_order), planned_for_values=not in_order)


async def on_sale(session: ReadSession, wanted: FindAdvertisedServices) -> Page[AdvertisedService]:
    """What can be bought, newest first."""
    filters = wanted.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    statement = _list(frozenset(filters), own=False)
    rows = await session.all(statement, before=decode(wanted.cursor), rows=wanted.limit + 1, **filters)
    return page_of(rows, wanted.limit, lambda row: AdvertisedService.model_validate(dict(row)))


async def service(session: ReadSession, service_id: UUID) -> AdvertisedService:
    """One that can be bought, or `NotFound`."""
    return AdvertisedService.model_validate(_found(await session.first(_ONE, service_id=service_id)))


async def own(session: ReadSession, actor: Actor, wanted: ListOwnServices) -> Page[OwnAdvertisedService]:
    """What the actor offers or has offered, newest first."""
    filters = {"status": wanted.status.value} if wanted.status else {}
    page = {"before": decode(wanted.cursor), "rows": wanted.limit + 1, "actor_id": actor.id}
    rows = await session.all(_list(frozenset(filters), own=True), **page, **filters)
    return page_of(rows, wanted.limit, lambda row: OwnAdvertisedService.model_validate(dict(row)))


async def own_service(session: ReadSession, actor: Actor, service_id: UUID) -> OwnAdvertisedService:
    """One of the actor's own, in whatever state, or `NotFound`."""
    row = await session.first(_OWN_ONE, service_id=service_id, actor_id=actor.id)
    return OwnAdvertisedService.model_validate(_found(row))


def _found(row: Row | None) -> dict[str, object]:
    if row is None:
        raise NotFound()
    return dict(row)

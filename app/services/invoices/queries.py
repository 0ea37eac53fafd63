"""Reading invoices: for their buyer, their seller, support and admins."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Select, Text, Uuid, bindparam, or_, select, union_all

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest
from app.kernel import subjects
from app.kernel.lifecycle import ACTOR, actor_has
from app.models.files import FilePurpose
from app.models.invoices import invoices
from app.models.users import Role
from app.schemas.base import Page, page_of
from app.schemas.invoices import AllInvoices, Invoice, MyInvoices

_is_party = or_(invoices.c.buyer_id == ACTOR, invoices.c.seller_id == ACTOR)
_is_visible = or_(_is_party, actor_has(Role.ADMIN, Role.SUPPORT))
_original = invoices.alias("original")
COLUMNS: Final[tuple[ColumnElement[Any], ...]] = (
    *(column for column in invoices.c if column.name not in {"year", "sequence", "follows", "file_id"}),
    select(_original.c.number)
    .where(_original.c.id == invoices.c.refers_to)
    .scalar_subquery()
    .label("refers_to_number"),
)
"""What `invoice_of` needs."""

subjects.register(subjects.Subject("invoice", invoices, readers={FilePurpose.INVOICE: _is_visible}))

_READ = Statement(select(*COLUMNS).where(invoices.c.id == bindparam("invoice_id"), _is_visible))


def invoice_of(row: Row | None) -> Invoice:
    """The invoice of a row of `COLUMNS`; `NotFound` if there is none."""
    if row is None:
        raise NotFound()
    return Invoice.model_validate(dict(row))


async def read(session: ReadSession, actor: Actor, invoice_id: UUID) -> Invoice:
    """One document; `NotFound` for strangers."""
    return invoice_of(
        await session.first(_READ, invoice_id=invoice_id, actor_id=actor.id, actor_roles=list(actor.roles))
    )


_FILTERS: Final[Mapping[str, ColumnElement[bool]]] = {
    "kind": invoices.c.kind == bindparam("kind", type_=Text),
    "year": invoices.c.year == bindparam("year", type_=Integer),
    "buyer_id": invoices.c.buyer_id == bindparam("buyer_id", type_=Uuid),
    "seller_id": invoices.c.seller_id == bindparam("seller_id", type_=Uuid),
}


def _page(filters: frozenset[str], *conditions: ColumnElement[bool]) -> Select[Any]:
    query = select(*COLUMNS).where(
        invoices.c.id < bindparam("before", type_=Uuid), *conditions, *(_FILTERS[name] for name in sorted(filters))
    )
    return newest(query, invoices.c.id)


@cache
def _mine(filters: frozenset[str]) -> Statement:
    """A page of each role from its own index, of which the newest are taken."""
    bought = _page(filters, invoices.c.buyer_id == ACTOR)
    sold = _page(filters, invoices.c.seller_id == ACTOR, invoices.c.buyer_id != ACTOR)
    both = union_all(bought, sold).subquery()
    return Statement(select(both).order_by(both.c.id.desc()).limit(bindparam("rows")))


@cache
def _everybodys(filters: frozenset[str]) -> Statement:
    return Statement(_page(filters))


async def mine(session: ReadSession, actor: Actor, wanted: MyInvoices) -> Page[Invoice]:
    """Documents that the actor has bought or sold by, newest first."""
    filters = wanted.model_dump(exclude={"limit", "cursor"}, exclude_none=True, mode="json")
    return await _rows(session, _mine(frozenset(filters)), wanted, filters | {"actor_id": actor.id})


async def everybodys(session: ReadSession, wanted: AllInvoices) -> Page[Invoice]:
    """All documents, newest first, for support and admins."""
    filters = wanted.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    return await _rows(session, _everybodys(frozenset(filters)), wanted, filters)


async def _rows(
    session: ReadSession, statement: Statement, wanted: MyInvoices, values: Mapping[str, Any]
) -> Page[Invoice]:
    rows = await session.all(statement, before=decode(wanted.cursor), rows=wanted.limit + 1, **values)
    return page_of(rows, wanted.limit, invoice_of)

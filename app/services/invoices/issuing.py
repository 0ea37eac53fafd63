"""Issuing: the next number of the seller's year, and the document that bears it, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Integer, Text, Uuid, bindparam, cast, exists, extract, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.config import settings
from app.core.database import ReadSession, Session, Statement
from app.core.ids import uuid7
from app.core.money import BASIS_POINTS, PLATFORM, half_even
from app.kernel.events import emit
from app.models.invoices import invoice_counters, invoices
from app.schemas.invoices import Invoice, InvoiceKind, InvoiceLine
from app.services.invoices.events import Issued
from app.services.invoices.queries import COLUMNS, invoice_of

LINES_LIMIT: Final = 100
_LETTERS: Final = {InvoiceKind.INVOICE: "", InvoiceKind.CREDIT_NOTE: "C", InvoiceKind.RECEIPT: "R"}
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sells, as it is frozen on the document. `prefix` begins the numbers and holds no dash."""

    id: UUID
    prefix: str
    name: str
    address: str = ""
    tax_id: str = ""


@dataclass(frozen=True, slots=True)
class Buyer:
    id: UUID
    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Sale:
    """What a document is about. A subject has one document of each kind."""

    subject: tuple[str, UUID]
    buyer: Buyer
    lines: Sequence[InvoiceLine]
    currency: str


def the_platform() -> Seller:
    """The platform as a seller."""
    known = settings()
    return Seller(
        PLATFORM,
        known.invoice_prefix,
        known.invoice_seller_name,
        known.invoice_seller_address,
        known.invoice_seller_tax_id,
    )


# Finds or makes the counter, and locks it until the end of the transaction: issuers of one seller queue up here.
_fresh = upsert(invoice_counters).values(
    seller_id=bindparam("seller_id", type_=Uuid),
    kind=bindparam("kind", type_=Text),
    year=cast(extract("year", func.timezone(bindparam("zone", type_=Text), func.now())), Integer),
    last=0,
    issued_at=func.now(),
)
_LOCK = Statement(
    _fresh.on_conflict_do_update(
        index_elements=[invoice_counters.c.seller_id, invoice_counters.c.kind, invoice_counters.c.year],
        set_={"last": invoice_counters.c.last},
    ).returning(invoice_counters.c.year)
)
_subject = (
    invoices.c.kind == bindparam("kind", type_=Text),
    invoices.c.subject_type == bindparam("subject_type", type_=Text),
    invoices.c.subject_id == bindparam("subject_id", type_=Uuid),
)
_moved = (
    update(invoice_counters)
    .where(
        invoice_counters.c.seller_id == bindparam("seller_id", type_=Uuid),
        invoice_counters.c.kind == bindparam("kind", type_=Text),
        invoice_counters.c.year == bindparam("year", type_=Integer),
        ~exists().where(*_subject),
    )
    .values(last=invoice_counters.c.last + 1, issued_at=func.greatest(invoice_counters.c.issued_at, func.now()))
    .returning(invoice_counters.c.last, invoice_counters.c.issued_at)
    .cte("moved")
)
_GIVEN: Final = (
    "id", "kind", "seller_id", "seller_name", "seller_address", "seller_tax_id", "buyer_id", "buyer_name", "language",
    "subject_type", "subject_id", "lines", "currency", "net_minor", "tax_basis_points", "tax_minor", "total_minor",
    "year", "refers_to",
)  # fmt: skip
_digits = cast(_moved.c.last, Text)
_ISSUE = Statement(
    insert(invoices)
    .from_select(
        [*_GIVEN, "issued_at", "sequence", "number"],
        select(
            *(bindparam(name, type_=invoices.c[name].type) for name in _GIVEN),
            _moved.c.issued_at,
            _moved.c.last,
            bindparam("prefix", type_=Text).concat(
                func.lpad(_digits, func.greatest(_DIGITS, func.length(_digits)), "0")
            ),
        ),
    )
    .returning(invoices.c.id)
)
_FIND = Statement(select(*COLUMNS).where(*_subject))


async def issue(session: Session, kind: InvoiceKind, seller: Seller, sale: Sale, *, tax_basis_points: int) -> Invoice:
    """The document of this kind for the sale's subject: a new one with the next number, or the one that is there.

    Prices include tax. ValueError for lines that are none, too many, or do not multiply. The counter's row lock makes
    issuers of one seller queue up, and is what makes looking for an earlier document safe; the unique keys and
    `invoices_number_follows` stand behind it. Whatever rolls this transaction back takes the number back too.
    """
    if not 0 < len(sale.lines) <= LINES_LIMIT or any(
        line.quantity < 1 or line.quantity * line.unit_minor != line.amount_minor for line in sale.lines
    ):
        raise ValueError(f"{sale.subject}: these lines make no {kind}")
    return await _issue(
        session,
        seller.prefix,
        {
            "kind": kind.value,
            "seller_id": seller.id,
            "seller_name": seller.name,
            "seller_address": seller.address,
            "seller_tax_id": seller.tax_id,
            "buyer_id": sale.buyer.id,
            "buyer_name": sale.buyer.name,
            "language": sale.buyer.language,
            "subject_type": sale.subject[0],
            "subject_id": sale.subject[1],
            "lines": [line.model_dump() for line in sale.lines],
            "currency": sale.currency,
            "tax_basis_points": tax_basis_points,
            "refers_to": None,
            **amounts(sum(line.amount_minor for line in sale.lines), tax_basis_points),
        },
    )


async def credit(session: Session, invoice: Invoice) -> Invoice:
    """The credit note that takes back the whole of an invoice, with its seller, buyer and rates; once, as `issue`."""
    copied = invoice.model_dump(
        exclude={"id", "kind", "number", "issued_at", "refers_to", "refers_to_number", "rendered_at"}
    )
    about = {"kind": InvoiceKind.CREDIT_NOTE.value, "language": invoice.language.value, "refers_to": invoice.id}
    return await _issue(session, invoice.number.partition("-")[0], copied | about)


async def find(session: ReadSession, kind: InvoiceKind, subject: tuple[str, UUID]) -> Invoice | None:
    """The subject's document of this kind, if it was issued."""
    row = await session.first(_FIND, kind=kind.value, subject_type=subject[0], subject_id=subject[1])
    return None if row is None else invoice_of(row)


def amounts(total_minor: int, tax_basis_points: int) -> dict[str, int]:
    """Net and tax of a total that includes the tax; the tax is rounded half-even, and they always add up."""
    tax_minor = half_even(total_minor * tax_basis_points, BASIS_POINTS + tax_basis_points)
    return {"net_minor": total_minor - tax_minor, "tax_minor": tax_minor, "total_minor": total_minor}


async def _issue(session: Session, prefix: str, values: Mapping[str, Any]) -> Invoice:
    kind = InvoiceKind(values["kind"])
    year = await session.scalar(
        _LOCK, seller_id=values["seller_id"], kind=kind.value, zone=settings().invoice_time_zone
    )
    issued = await session.first(_ISSUE, **values, id=uuid7(), year=year, prefix=f"{prefix}{_LETTERS[kind]}-{year}-")
    row = await session.first(
        _FIND, kind=kind.value, subject_type=values["subject_type"], subject_id=values["subject_id"]
    )
    invoice = invoice_of(row)
    if issued is not None:
        event = Issued(
            invoice_id=invoice.id,
            kind=kind.value,
            number=invoice.number,
            total_minor=invoice.total_minor,
            currency=invoice.currency,
        )
        await emit(session, event, subject_type="invoice", subject_id=invoice.id, to=[invoice.buyer_id])
    return invoice

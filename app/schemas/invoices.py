"""Invoices, credit notes and receipts."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.models.invoices import InvoiceKind as InvoiceKind
from app.models.users import Language as Language
from app.schemas.base import Answer, PageQuery


class InvoiceLine(Answer):
    """What was sold. Prices include tax."""

    description: str
    quantity: int
    unit_minor: int
    amount_minor: int = Field(description="Quantity times unit price.")


class Invoice(Answer):
    """A document as it was issued; nothing in it ever changes. A credit note takes back the invoice it refers to."""

    id: UUID
    kind: InvoiceKind
    number: str = Field(description="Without gaps per seller, kind and year.")
    seller_id: UUID = Field(description="All zeros: the platform.")
    seller_name: str
    seller_address: str
    seller_tax_id: str
    buyer_id: UUID
    buyer_name: str
    language: Language
    subject_type: str
    subject_id: UUID
    lines: list[InvoiceLine]
    currency: str
    net_minor: int
    tax_basis_points: int
    tax_minor: int
    total_minor: int
    issued_at: datetime
    refers_to: UUID | None
    refers_to_number: str | None
    rendered_at: datetime | None = Field(description="Null: nobody has asked for the PDF yet, or it is being rendered.")


Year = Annotated[int, Field(ge=2000, le=9999)]


class MyInvoices(PageQuery):
    """Filters of one's own list."""

    kind: InvoiceKind | None = None
    year: Year | None = None


class AllInvoices(MyInvoices):
    """Filters of the staff's list."""

    buyer_id: UUID | None = None
    seller_id: UUID | None = None

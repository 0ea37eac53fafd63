"""Invoices, credit notes and receipts: frozen when they are issued, numbered without gaps (money.md).

The database holds the rules:
* `invoices_number_follows` (a foreign key): a number can only be given if the one before it was, so there is no gap.
* the unique keys: a number is given once, and a subject has one document of each kind.
* `append_only` (triggers): nothing is changed or deleted; the rendered PDF is added once.
"""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.models.base import identifier, metadata, moment, one_of, text
from app.models.users import Language


class InvoiceKind(StrEnum):
    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    RECEIPT = "receipt"


invoices = Table(
    "invoices",
    metadata,
    identifier(),
    text("kind"),
    text("number"),
    Column("seller_id", Uuid, nullable=False),  # a user or a shop; the nil UUID for the platform
    text("seller_name"),
    text("seller_address"),
    text("seller_tax_id"),
    Column("buyer_id", Uuid, ForeignKey("users.id"), nullable=False),
    text("buyer_name"),
    text("language"),  # the buyer's, in which the lines are worded and the PDF is written
    text("subject_type"),
    Column("subject_id", Uuid, nullable=False),
    Column("lines", JSONB, nullable=False),
    text("currency"),
    Column("net_minor", BigInteger, nullable=False),
    Column("tax_basis_points", Integer, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    moment("issued_at", nullable=False),
    Column("year", Integer, nullable=False),  # in the platform's time zone
    Column("sequence", Integer, nullable=False),
    Column("follows", Integer, Computed("nullif(sequence - 1, 0)", persisted=True)),
    Column("refers_to", Uuid, ForeignKey("invoices.id")),  # the invoice that a credit note takes back
    Column("file_id", Uuid, ForeignKey("files.id")),
    moment("rendered_at"),
    one_of("kind", InvoiceKind),
    one_of("language", Language),
    CheckConstraint("sequence > 0", name="sequence_positive"),
    CheckConstraint("net_minor >= 0 AND tax_minor >= 0 AND total_minor > 0", name="amounts_not_negative"),
    CheckConstraint("net_minor + tax_minor = total_minor", name="adds_up"),
    CheckConstraint("tax_basis_points BETWEEN 0 AND 10000", name="tax_basis_points_known"),
    CheckConstraint("(kind = 'credit_note') = (refers_to IS NOT NULL)", name="credit_note_refers"),
    CheckConstraint("(file_id IS NULL) = (rendered_at IS NULL)", name="rendered_has_file"),
    UniqueConstraint("seller_id", "kind", "year", "sequence", name="invoices_numbered_once"),
    UniqueConstraint("seller_id", "number", name="invoices_number_once"),
    UniqueConstraint("kind", "subject_type", "subject_id", name="invoices_once_for_subject"),
    ForeignKeyConstraint(
        ["seller_id", "kind", "year", "follows"],
        ["invoices.seller_id", "invoices.kind", "invoices.year", "invoices.sequence"],
        name="invoices_number_follows",
    ),
    Index("invoices_buyer_id_index", "buyer_id", "id"),
    Index("invoices_seller_id_index", "seller_id", "id"),
)

# The row that issuers of one seller queue up at. What it says is a number that was given, or is rolled back with it.
invoice_counters = Table(
    "invoice_counters",
    metadata,
    Column("seller_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
    moment("issued_at", nullable=False),  # of the last one: a later number never bears an earlier time
    one_of("kind", InvoiceKind),
    CheckConstraint('"last" >= 0', name="last_not_negative"),
)

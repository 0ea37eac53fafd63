"""The sandbox payment provider's own books: checkouts and refunds. To the platform they are somebody else's.

Nothing of ours refers to these tables, nor they to ours: what both sides know of each other are the ids in an order.
"""

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Table, Text, UniqueConstraint, Uuid

from app.models.base import identifier, metadata, moment, one_of, text


class SandboxCheckoutStatus(StrEnum):
    OPEN = "OPEN"
    PAID = "PAID"
    DECLINED = "DECLINED"
    ABANDONED = "ABANDONED"


class SandboxRefundStatus(StrEnum):
    """The sandbox's bank never says no, and at once."""

    SUCCEEDED = "SUCCEEDED"


sandbox_checkouts = Table(
    "sandbox_checkouts",
    metadata,
    identifier(),
    text("token"),  # the last part of the page's address; whoever knows it may pay
    Column("payment_id", Uuid, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    text("currency"),
    text("description"),
    text("return_url"),
    text("status"),
    Column("reference", Text),  # the sandbox's id of the money, from when it is paid
    Column("refunded_minor", BigInteger, nullable=False, server_default="0"),
    moment("expires_at", nullable=False),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", SandboxCheckoutStatus),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    CheckConstraint("(reference IS NOT NULL) = (status = 'PAID')", name="reference_when_paid"),
    # The wall behind "never more back than was paid".
    CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name="refunded_within_amount"),
    CheckConstraint("refunded_minor = 0 OR status = 'PAID'", name="refunded_when_paid"),
    UniqueConstraint("token"),
    UniqueConstraint("payment_id"),
    UniqueConstraint("reference"),
)

sandbox_refunds = Table(
    "sandbox_refunds",
    metadata,
    identifier(),
    Column("refund_id", Uuid, nullable=False),
    Column("checkout_id", Uuid, ForeignKey("sandbox_checkouts.id"), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    text("status"),
    moment("created_at", now=True),
    one_of("status", SandboxRefundStatus),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    UniqueConstraint("refund_id"),
    Index("sandbox_refunds_checkout_id_index", "checkout_id"),
)

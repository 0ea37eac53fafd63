"""Payments through a provider, their refunds, and the webhooks that tell of both (money.md: Payment providers)."""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.models.base import identifier, metadata, moment, one_of, text


class PaymentStatus(StrEnum):
    CREATED = "CREATED"
    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    UNDER_REVIEW = "UNDER_REVIEW"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    REFUNDED = "REFUNDED"


class PaymentPurpose(StrEnum):
    TOP_UP = "top_up"
    LEAD = "lead"


class RefundStatus(StrEnum):
    REQUESTED = "REQUESTED"
    SENT = "SENT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


payments = Table(
    "payments",
    metadata,
    identifier(),
    Column("payer_id", Uuid, ForeignKey("users.id"), nullable=False),
    text("purpose"),
    Column("subject_id", Uuid),  # what is bought; NULL when the wallet is topped up
    text("provider"),
    text("status"),
    Column("amount_minor", BigInteger, nullable=False),
    text("currency"),
    text("return_url"),
    text("checkout_url", nullable=True),
    text("checkout_reference", nullable=True),
    # What the provider says that it took: it decides, and where it differs from what was asked for, an admin does.
    text("reference", nullable=True),
    Column("captured_minor", BigInteger),
    text("captured_currency", nullable=True),
    Column("refunded_minor", BigInteger, nullable=False, server_default="0"),
    moment("fulfilled_at"),  # the money reached the payer's wallet; until then it lies in the payment's own escrow
    text("failure", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", PaymentStatus),
    one_of("purpose", PaymentPurpose),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    CheckConstraint("(captured_minor IS NULL) = (captured_currency IS NULL)", name="captured_whole"),
    # The wall behind "never refund more than was taken", however many refunds are asked for at once.
    CheckConstraint("refunded_minor BETWEEN 0 AND coalesce(captured_minor, 0)", name="refunds_within_captured"),
    CheckConstraint("fulfilled_at IS NULL OR captured_minor IS NOT NULL", name="fulfilled_by_capture"),
    Index("payments_payer_id_index", "payer_id", "id"),
    Index("payments_status_index", "status", "id"),
)

refunds = Table(
    "refunds",
    metadata,
    identifier(),
    Column("payment_id", Uuid, ForeignKey("payments.id"), nullable=False),
    text("status"),
    Column("amount_minor", BigInteger, nullable=False),
    text("currency"),
    # Where the money was taken from when the refund was asked for, and goes back to if the provider cannot pay it out.
    text("source"),
    text("reason"),
    text("provider_reference", nullable=True),
    text("failure", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", RefundStatus),
    one_of("source", ("wallet", "escrow")),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    Index("refunds_payment_id_index", "payment_id", "id"),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    identifier(),
    text("provider"),
    text("event_id"),
    text("name"),
    Column("body", LargeBinary, nullable=False),  # as it came, for whoever has to find out what happened
    Column("notice", JSONB, nullable=False),
    moment("received_at", now=True),
    moment("processed_at"),
    text("outcome", nullable=True),
    # The wall behind "processed exactly once": of any number of copies one is stored.
    UniqueConstraint("provider", "event_id", name="webhook_events_once"),
    Index("webhook_events_received_at_index", "received_at"),
)

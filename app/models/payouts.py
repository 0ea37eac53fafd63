"""Payout profiles (where somebody's money goes, and whether that was verified) and payouts."""

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, Uuid
from sqlalchemy import text as sql

from app.models.base import identifier, metadata, moment, one_of, text


class PayoutProfileStatus(StrEnum):
    """What is known of an account holder; whoever has handed in nothing has no row."""

    PENDING = "pending"
    RESTRICTED = "restricted"
    VERIFIED = "verified"
    REJECTED = "rejected"


class PayoutSchedule(StrEnum):
    NONE = "none"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class PayoutStatus(StrEnum):
    REQUESTED = "REQUESTED"
    SENT = "SENT"
    FAILED = "FAILED"


payout_profiles = Table(
    "payout_profiles",
    metadata,
    Column("id", Uuid, ForeignKey("users.id"), primary_key=True),  # a user has one at most
    Column("status", Text, nullable=False),
    text("holder_name"),
    text("ifsc"),
    # The number itself is sealed (`core/security.py: Seals`); people see its last four digits.
    Column("sealed_account_number", LargeBinary, nullable=False),
    text("account_last4"),
    text("currency"),
    # Counts the bank accounts that were handed in, so that nobody verifies or pays to another than they looked at.
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("schedule", Text, nullable=False, server_default=PayoutSchedule.NONE),
    text("status_reason", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", PayoutProfileStatus),
    one_of("schedule", PayoutSchedule),
    CheckConstraint("(status IN ('restricted', 'rejected')) = (status_reason IS NOT NULL)", name="refusal_has_reason"),
    CheckConstraint("account_last4 ~ '^[0-9]{4}$'", name="four_digits"),
    Index("payout_profiles_status_index", "status", "id"),
)

payouts = Table(
    "payouts",
    metadata,
    identifier(),
    Column("owner_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    text("currency"),
    # Where it goes, frozen when it is made.
    text("holder_name"),
    text("ifsc"),
    text("account_last4"),
    Column("profile_revision", Integer, nullable=False),
    text("reference", nullable=True),
    text("failure_reason", nullable=True),
    moment("sent_at"),
    moment("failed_at"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", PayoutStatus),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    CheckConstraint(
        "(status = 'FAILED') = (failure_reason IS NOT NULL) AND (status = 'FAILED') = (failed_at IS NOT NULL)",
        name="failure_has_reason",
    ),
    # A payout that the bank returned was sent before, and keeps its reference.
    CheckConstraint(
        "(reference IS NULL) = (sent_at IS NULL) AND (status <> 'SENT' OR sent_at IS NOT NULL)"
        " AND (status <> 'REQUESTED' OR sent_at IS NULL)",
        name="sent_has_reference",
    ),
    Index("payouts_owner_id_index", "owner_id", "id"),
    Index("payouts_status_index", "status", "id"),
    # The wall behind "one at a time".
    Index("payouts_one_requested", "owner_id", "currency", unique=True, postgresql_where=sql("status = 'REQUESTED'")),
)

"""Work orders: paid work that is assigned to a booster and released on approved evidence only (work-orders.md)."""

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
)
from sqlalchemy import text as sql

from app.models.base import identifier, metadata, moment, one_of, text


class WorkOrderStatus(StrEnum):
    PENDING = "PENDING"
    ASSIGNED = "ASSIGNED"
    IN_PROGRESS = "IN_PROGRESS"
    EVIDENCE_SUBMITTED = "EVIDENCE_SUBMITTED"
    UNDER_REVIEW = "UNDER_REVIEW"
    REJECTED = "REJECTED"
    DISPUTED = "DISPUTED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class RejectionCategory(StrEnum):
    """What was wrong, for the statistics; the reason says it in words."""

    UNCLEAR_EVIDENCE = "unclear_evidence"
    INCOMPLETE_WORK = "incomplete_work"
    WRONG_RESULT = "wrong_result"
    SUSPECTED_FRAUD = "suspected_fraud"
    OTHER = "other"


CLOSED_STATUSES: Final = frozenset({WorkOrderStatus.COMPLETED, WorkOrderStatus.CANCELLED})

work_orders = Table(
    "work_orders",
    metadata,
    identifier(),
    Column("advertised_service_id", Uuid, ForeignKey("advertised_services.id"), nullable=False),
    Column("buyer_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("status", Text, nullable=False),
    # Frozen when it is bought.
    Column("advertiser_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("team_id", Uuid, ForeignKey("teams.id")),
    text("title"),
    Column("price_minor", BigInteger, nullable=False),
    text("currency"),
    Column("commission_basis_points", Integer, nullable=False),
    Column("commission_minor", BigInteger, nullable=False),  # of the whole price
    text("instructions", nullable=True),
    Column("booster_id", Uuid, ForeignKey("users.id")),
    Column("rounds_count", Integer, nullable=False, server_default="0"),
    Column("reviewer_id", Uuid, ForeignKey("users.id")),  # who has opened the review
    Column("reviewed_by", Uuid, ForeignKey("users.id")),  # who has decided
    moment("reviewed_at"),
    text("rejection_reason", nullable=True),
    text("rejection_category", nullable=True),
    text("cancel_reason", nullable=True),
    Column("disputed_by", Uuid, ForeignKey("users.id")),
    Column("disputed_from", Text),  # the status that a dispute has interrupted, unless work was resumed
    text("dispute_reason", nullable=True),
    text("resolution_notes", nullable=True),
    Column("overridden_by", Uuid, ForeignKey("users.id")),
    text("override_reason", nullable=True),
    # How the price was divided in the end: the booster's part, the buyer's, and the rest is the platform's.
    Column("earned_minor", BigInteger),
    Column("refunded_minor", BigInteger),
    Column("rating", Integer),
    moment("assigned_at"),
    moment("started_at"),
    moment("submitted_at"),
    moment("completed_at"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", WorkOrderStatus),
    one_of("rejection_category", RejectionCategory),
    CheckConstraint("price_minor > 0", name="price_positive"),
    CheckConstraint(
        "commission_basis_points BETWEEN 0 AND 10000 AND commission_minor BETWEEN 0 AND price_minor",
        name="commission_known",
    ),
    CheckConstraint("buyer_id <> advertiser_id", name="bought_from_another"),
    # The walls behind "never by the booster, never by the buyer".
    CheckConstraint("booster_id <> buyer_id", name="booster_is_not_buyer"),
    CheckConstraint(
        "reviewed_by <> booster_id AND reviewed_by <> buyer_id"
        " AND reviewer_id <> booster_id AND reviewer_id <> buyer_id",
        name="reviewed_by_another",
    ),
    CheckConstraint("overridden_by <> booster_id AND overridden_by <> buyer_id", name="overridden_by_another"),
    CheckConstraint("status IN ('PENDING', 'CANCELLED') OR booster_id IS NOT NULL", name="has_booster"),
    CheckConstraint("status <> 'DISPUTED' OR disputed_from IS NOT NULL", name="dispute_interrupts"),
    CheckConstraint("(status = 'COMPLETED') = (completed_at IS NOT NULL)", name="completed_when"),
    CheckConstraint(
        "(status IN ('COMPLETED', 'CANCELLED')) = (earned_minor IS NOT NULL)"
        " AND (earned_minor IS NULL) = (refunded_minor IS NULL)",
        name="divided_when_closed",
    ),
    CheckConstraint(
        "earned_minor >= 0 AND refunded_minor >= 0 AND earned_minor + refunded_minor <= price_minor",
        name="divided_within_price",
    ),
    CheckConstraint("rating BETWEEN 1 AND 5", name="rating_known"),
    Index("work_orders_buyer_id_index", "buyer_id", "id"),
    Index("work_orders_buyer_id_status_index", "buyer_id", "status", "id"),
    Index("work_orders_booster_id_id_index", "booster_id", "id", postgresql_where=sql("booster_id IS NOT NULL")),
    Index("work_orders_booster_id_index", "booster_id", "status", "id", postgresql_where=sql("booster_id IS NOT NULL")),
    Index("work_orders_advertiser_id_id_index", "advertiser_id", "id"),
    Index("work_orders_advertiser_id_index", "advertiser_id", "status", "id"),
    Index(
        "work_orders_team_id_id_index", "team_id", "advertiser_id", "id", postgresql_where=sql("team_id IS NOT NULL")
    ),
    Index(
        "work_orders_team_id_index",
        "team_id",
        "advertiser_id",
        "status",
        "id",
        postgresql_where=sql("team_id IS NOT NULL"),
    ),
    Index("work_orders_status_index", "status", "id"),
)


class Side(StrEnum):
    """Whose statistics."""

    PLATFORM = "platform"
    ADVERTISER = "advertiser"
    BOOSTER = "booster"


# What the statistics are made of: a tally, and what has changed since; docs/adr/0013 says why. The triggers
# `tallied_made` and `tallied_changed` add a row of changes for each pair of advertiser and booster whose orders a
# statement touches; it counts for the platform, too. A job adds them up.
work_order_tallies = Table(
    "work_order_tallies",
    metadata,
    Column("side", Text, primary_key=True),
    Column("owner_id", Uuid, primary_key=True),  # the nil UUID for the platform
    Column("measure", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("total", Numeric, nullable=False),
    one_of("side", Side),
)

# Three arrays side by side: a measure, how many more, and what is to be added to its total.
work_order_tally_changes = Table(
    "work_order_tally_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("advertiser_id", Uuid, nullable=False),
    Column("booster_id", Uuid),
    Column("measures", ARRAY(Text), nullable=False),
    Column("numbers", ARRAY(BigInteger), nullable=False),
    Column("totals", ARRAY(Numeric), nullable=False),
    Index("work_order_tally_changes_advertiser_id_index", "advertiser_id"),
    Index("work_order_tally_changes_booster_id_index", "booster_id", postgresql_where=sql("booster_id IS NOT NULL")),
)

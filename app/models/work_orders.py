"""Work orders: paid work that is assigned to a booster and released on approved evidence only (work-orders.md)."""

from enum import StrEnum
from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, Uuid
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
    text("instructions", nullable=True),
    Column("booster_id", Uuid, ForeignKey("users.id")),
    Column("rounds_count", Integer, nullable=False, server_default="0"),
    Column("reviewer_id", Uuid, ForeignKey("users.id")),  # who has opened the review
    Column("reviewed_by", Uuid, ForeignKey("users.id")),  # who has decided
    moment("reviewed_at"),
    text("rejection_reason", nullable=True),
    text("cancel_reason", nullable=True),
    Column("disputed_by", Uuid, ForeignKey("users.id")),
    Column("disputed_from", Text),  # the status that a dispute has interrupted
    text("dispute_reason", nullable=True),
    text("resolution_notes", nullable=True),
    Column("earned_minor", BigInteger),  # what the booster got
    Column("rating", Integer),
    moment("assigned_at"),
    moment("started_at"),
    moment("submitted_at"),
    moment("completed_at"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", WorkOrderStatus),
    CheckConstraint("price_minor > 0", name="price_positive"),
    CheckConstraint("commission_basis_points BETWEEN 0 AND 10000", name="commission_known"),
    CheckConstraint("buyer_id <> advertiser_id", name="bought_from_another"),
    # The walls behind "never by the booster, never by the buyer".
    CheckConstraint("booster_id <> buyer_id", name="booster_is_not_buyer"),
    CheckConstraint(
        "reviewed_by <> booster_id AND reviewed_by <> buyer_id"
        " AND reviewer_id <> booster_id AND reviewer_id <> buyer_id",
        name="reviewed_by_another",
    ),
    CheckConstraint(
        "status IN ('PENDING', 'CANCELLED', 'DISPUTED', 'COMPLETED') OR booster_id IS NOT NULL", name="has_booster"
    ),
    CheckConstraint("status <> 'DISPUTED' OR disputed_from IS NOT NULL", name="dispute_interrupts"),
    CheckConstraint("(status = 'COMPLETED') = (completed_at IS NOT NULL)", name="completed_when"),
    CheckConstraint("earned_minor BETWEEN 0 AND price_minor", name="earned_within_price"),
    CheckConstraint("rating BETWEEN 1 AND 5", name="rating_known"),
    Index("work_orders_buyer_id_index", "buyer_id", "id"),
    Index("work_orders_booster_id_index", "booster_id", "status", "id", postgresql_where=sql("booster_id IS NOT NULL")),
    Index("work_orders_advertiser_id_index", "advertiser_id", "status", "id"),
    Index("work_orders_team_id_index", "team_id", "status", "id", postgresql_where=sql("team_id IS NOT NULL")),
    Index("work_orders_status_index", "status", "id"),
)

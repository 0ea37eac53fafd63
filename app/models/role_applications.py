"""Applications for the roles that staff reviews: booster, advertiser, driver (identity.md: Roles and onboarding)."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, Uuid
from sqlalchemy import text as sql

from app.models.base import identifier, metadata, moment, one_of, text


class ReviewedRole(StrEnum):
    """The roles that one applies for here; their values are those of `users.Role`."""

    BOOSTER = "booster"
    ADVERTISER = "advertiser"
    DRIVER = "driver"


class RoleApplicationStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    REVOKED = "revoked"
    LAPSED = "lapsed"


role_applications = Table(
    "role_applications",
    metadata,
    identifier(),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("role", Text, nullable=False),
    Column("status", Text, nullable=False),
    text("statement"),
    text("rejection_reason", nullable=True),
    text("status_reason", nullable=True),  # why the role was taken away, or another try was allowed
    Column("decided_by", Uuid, ForeignKey("users.id")),
    moment("approved_at"),
    moment("deleted_at"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("role", ReviewedRole),
    one_of("status", RoleApplicationStatus),
    CheckConstraint("status <> 'rejected' OR rejection_reason IS NOT NULL", name="rejection_has_reason"),
    CheckConstraint("status NOT IN ('revoked', 'lapsed') OR status_reason IS NOT NULL", name="ending_has_reason"),
    CheckConstraint("decided_by <> user_id", name="decided_by_another"),
    # The wall behind "one application for a role", whoever sends two at once, and behind "not again after a refusal".
    Index(
        "role_applications_one_for_each_role",
        "user_id",
        "role",
        unique=True,
        postgresql_where=sql("status <> 'lapsed'"),
    ),
    Index("role_applications_status_index", "status", "id"),
    Index("role_applications_role_index", "role", "status", "id"),
    Index("role_applications_user_id_index", "user_id", "id"),
)

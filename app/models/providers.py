"""Providers: who they are, where they work, how far they go, and what they offer."""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Double,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
    column,
)

from app.core.geo import box
from app.models.base import Cube, metadata, moment, one_of, text, within_earth


class ProviderStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    SUSPENDED = "suspended"
    BANNED = "banned"


providers = Table(
    "providers",
    metadata,
    Column("id", Uuid, ForeignKey("users.id"), primary_key=True),  # a provider is a user with a second hat
    Column("region_id", Uuid, ForeignKey("regions.id"), nullable=False),
    text("business_name"),
    text("bio"),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    Column("service_radius_metres", Integer, nullable=False),
    # What the radius covers, as a box that a GiST index can hold: "who reaches this position?" is one index look-up
    # however differently far the providers go. A box is a little larger than its circle, so distance is checked too.
    Column(
        "coverage",
        Cube,
        Computed(
            box(column("latitude"), column("longitude"), column("service_radius_metres", Integer)), persisted=True
        ),
    ),
    Column("status", Text, nullable=False, server_default=ProviderStatus.PENDING),
    text("rejection_reason", nullable=True),
    text("status_reason", nullable=True),
    Column("weekly_lead_budget_minor", BigInteger),
    Column("rating_average", Numeric(3, 2), nullable=False, server_default="0"),
    Column("rating_count", Integer, nullable=False, server_default="0"),
    Column("warnings", Integer, nullable=False, server_default="0"),
    moment("approved_at"),
    moment("deleted_at"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", ProviderStatus),
    within_earth(),
    CheckConstraint("service_radius_metres > 0", name="radius_positive"),
    CheckConstraint("weekly_lead_budget_minor >= 0", name="budget_not_negative"),
    CheckConstraint("(status = 'rejected') = (rejection_reason IS NOT NULL)", name="rejection_has_reason"),
    Index("providers_coverage_index", "coverage", postgresql_using="gist"),
    Index("providers_region_id_index", "region_id", "status", "id"),
)

provider_services = Table(
    "provider_services",
    metadata,
    Column("provider_id", Uuid, ForeignKey("providers.id"), primary_key=True),
    Column("service_id", Uuid, ForeignKey("services.id"), primary_key=True),
    Column("is_active", Boolean, nullable=False, server_default="true"),
    moment("created_at", now=True),
    Index("provider_services_service_id_index", "service_id", "provider_id"),
)

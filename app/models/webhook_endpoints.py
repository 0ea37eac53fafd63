"""Endpoints that integrators have registered, and what is sent to them."""

from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB

from app.models.base import identifier, metadata, moment, one_of, text


class WebhookEndpointStatus(StrEnum):
    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class DeliveryStatus(StrEnum):
    """`PENDING` until an attempt was answered with a 2xx or the time for attempts is over."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    identifier(),
    Column("owner_id", Uuid, ForeignKey("users.id"), nullable=False),
    text("url"),
    Column("types", ARRAY(Text), nullable=False),
    text("description"),
    Column("status", Text, nullable=False),
    text("disabled_reason", nullable=True),
    # Sealed (`core/security.py: Seals`): whoever reads the database must not be able to sign.
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("sealed_previous_secret", LargeBinary),
    moment("previous_secret_until"),
    # The first failure since the last success.
    moment("failing_since"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", WebhookEndpointStatus),
    CheckConstraint("(status = 'DISABLED') = (disabled_reason IS NOT NULL)", name="disabled_has_reason"),
    CheckConstraint(
        "(sealed_previous_secret IS NULL) = (previous_secret_until IS NULL)", name="previous_secret_has_end"
    ),
    Index("webhook_endpoints_owner_id_index", "owner_id", "id"),
)

# One for each event and endpoint, so an event that is looked at twice is not sent twice. No foreign keys: an endpoint
# that goes would take a hundred thousand rows with it; what is left of it is seen by nobody and pruned with the rest.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("endpoint_id", Uuid, nullable=False),
    Column("event_id", Uuid, nullable=False),
    text("event_name"),
    Column("status", Text, nullable=False, server_default=DeliveryStatus.PENDING),
    # When it is tried next; while it is being tried, when somebody else may take it for lost and try.
    moment("due_at", now=True),
    moment("give_up_at", nullable=False),
    # How often it was taken up: names the attempt that may record its outcome. Never counts back.
    Column("claims", Integer, nullable=False, server_default="0"),
    # Attempts since it was made or replayed: the pause grows with them.
    Column("tries", Integer, nullable=False, server_default="0"),
    # The latest ones: when, which status or why none, how long.
    Column("attempts", JSONB, nullable=False, server_default=sql("'[]'")),
    moment("created_at", now=True),
    PrimaryKeyConstraint("endpoint_id", "event_id"),
    one_of("status", DeliveryStatus),
    Index("webhook_deliveries_due_index", "endpoint_id", "due_at", postgresql_where=sql("status = 'PENDING'")),
    Index("webhook_deliveries_status_index", "endpoint_id", "status", "event_id"),
    Index("webhook_deliveries_created_at_index", "created_at", postgresql_using="brin"),
)

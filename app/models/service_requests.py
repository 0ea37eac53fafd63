"""Service requests (open calls) and the leads that providers bought."""

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
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.geo import point_in_time
from app.models.base import born_minutes, identifier, metadata, moment, one_of, text, within_earth


class ServiceRequestStatus(StrEnum):
    PENDING = "PENDING"
    PURCHASED = "PURCHASED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    APPROVED = "APPROVED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class LeadStatus(StrEnum):
    """What became of the fee that a provider paid for a lead."""

    PAID = "PAID"
    REPORTED = "REPORTED"
    REFUSED = "REFUSED"
    REFUNDED = "REFUNDED"


class ReportReason(StrEnum):
    UNREACHABLE = "unreachable"
    SPAM = "spam"
    WRONG_SERVICE = "wrong_service"


OPEN_STATUSES = (ServiceRequestStatus.PENDING, ServiceRequestStatus.PURCHASED, ServiceRequestStatus.IN_PROGRESS)

service_requests = Table(
    "service_requests",
    metadata,
    identifier(),
    Column("customer_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("service_id", Uuid, ForeignKey("services.id"), nullable=False),
    Column("region_id", Uuid, ForeignKey("regions.id"), nullable=False),
    Column("status", Text, nullable=False),
    text("description"),
    Column("answers", JSONB, nullable=False),
    Column("photo_ids", ARRAY(Uuid), nullable=False),
    text("address"),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    Column("budget_minor", BigInteger),
    text("currency"),
    moment("preferred_at"),
    Column("fee_minor", BigInteger, nullable=False),  # frozen when the request is made
    Column("lead_cap", Integer, nullable=False),
    Column("buyers_count", Integer, nullable=False, server_default="0"),
    # A column of its own, so that a purchase that leaves room for others changes no index.
    Column(
        "for_sale",
        Boolean,
        Computed("status IN ('PENDING', 'PURCHASED', 'IN_PROGRESS') AND buyers_count < lead_cap", persisted=True),
    ),
    Column("completed_by", Uuid, ForeignKey("providers.id")),
    Column("proof_id", Uuid),
    text("notes", nullable=True),
    Column("assigned_provider_id", Uuid, ForeignKey("providers.id")),
    text("send_back_reason", nullable=True),
    text("cancel_reason", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", ServiceRequestStatus),
    within_earth(),
    CheckConstraint("budget_minor > 0", name="budget_positive"),
    CheckConstraint("fee_minor >= 0", name="fee_not_negative"),
    # The wall behind the purchase: no transaction, however written, sells a lead above its cap.
    CheckConstraint("buyers_count BETWEEN 0 AND lead_cap", name="cap_holds"),
    # The walls behind the race: a winner exists exactly while the request is won, and approval picks nobody else.
    # (That a winner is never overwritten by another is the trigger `service_requests_one_winner`.)
    CheckConstraint(
        "(status IN ('COMPLETED', 'APPROVED')) = (completed_by IS NOT NULL AND proof_id IS NOT NULL)",
        name="winner_while_won",
    ),
    CheckConstraint(
        "(assigned_provider_id IS NOT NULL) = (status = 'APPROVED') AND "
        "(assigned_provider_id IS NULL OR assigned_provider_id = completed_by)",
        name="assigned_is_winner",
    ),
    Index("service_requests_customer_id_index", "customer_id", "id"),
    Index("service_requests_status_index", "status", "id"),
    Index("service_requests_region_id_index", "region_id", "status", "id"),
    Index(
        "service_requests_completed_by_index", "completed_by", "id", postgresql_where=sql("completed_by IS NOT NULL")
    ),
    # "What is open near me?": in it are only the leads that can be bought, by service, place and time, and for each
    # service it hands out what is in a box with the newest first. So it matters neither how long the history is, nor
    # how many are open elsewhere, nor how many are open here.
    Index(
        "service_requests_for_sale_index",
        "service_id",
        point_in_time(sql("latitude"), sql("longitude"), born_minutes(sql("id"))),
        postgresql_using="gist",
        postgresql_where=sql("for_sale"),
    ),
)

lead_purchases = Table(
    "lead_purchases",
    metadata,
    identifier(),
    Column("service_request_id", Uuid, ForeignKey("service_requests.id"), nullable=False),
    Column("provider_id", Uuid, ForeignKey("providers.id"), nullable=False),
    Column("region_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("fee_minor", BigInteger, nullable=False),
    text("currency"),
    moment("worked_at"),  # the provider started or completed: from then on a cancellation does not give the fee back
    Column("report_reason", Text),
    text("report_note", nullable=True),
    text("decision_reason", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", LeadStatus),
    one_of("report_reason", ReportReason),
    # The wall behind "buying twice charges once".
    UniqueConstraint("service_request_id", "provider_id", name="lead_purchases_once"),
    Index("lead_purchases_provider_id_index", "provider_id", "id"),
    Index("lead_purchases_reported_index", "region_id", "id", postgresql_where=sql("status = 'REPORTED'")),
)

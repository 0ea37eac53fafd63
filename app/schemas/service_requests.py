"""Service requests and leads."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from app.models.service_requests import LeadStatus, ReportReason
from app.models.service_requests import ServiceRequestStatus as ServiceRequestStatus
from app.schemas.base import Amount, Answer, Line, Moment, PageQuery, Paragraph, Payload, Position, Storable, Word

AnswerText = Annotated[str, StringConstraints(max_length=500), Storable]
AnswerNumber = Annotated[int, Field(ge=-(10**12), le=10**12, strict=True)]
AnswerValue = Annotated[bool, Field(strict=True)] | AnswerNumber | AnswerText


class CreateServiceRequest(Payload):
    service_id: UUID
    description: Paragraph
    answers: Annotated[dict[Word, AnswerValue], Field(max_length=30)] = Field(default_factory=dict)
    photo_ids: Annotated[list[UUID], Field(max_length=10)] = Field(
        default_factory=list, description="Files uploaded with the purpose `photo`."
    )
    address: Line
    position: Position
    budget_minor: Amount | None = None
    preferred_at: Moment | None = None


class Complete(Payload):
    proof_id: UUID = Field(description="A file uploaded with the purpose `proof`.")
    notes: Paragraph | None = None


class Customer(Answer):
    """Who asks; known to buyers of the lead."""

    id: UUID
    name: str
    phone: str
    email: str


class ServiceRequest(Answer):
    """A service request as its reader may see it.

    Until a provider has bought the lead, `customer` and `address` are null and the position is rounded to about 1 km.
    """

    id: UUID
    status: ServiceRequestStatus
    service_id: UUID
    service: str = Field(description="Slug.")
    region_id: UUID
    description: str
    answers: dict[str, bool | int | str]
    photo_ids: list[UUID]
    latitude: float
    longitude: float
    position_is_exact: bool
    address: str | None
    customer: Customer | None
    budget_minor: int | None
    currency: str
    preferred_at: datetime | None
    fee_minor: int
    lead_cap: int
    buyers_count: int
    purchased: bool = Field(description="Whether the reader has bought this lead.")
    completed_by: UUID | None
    proof_id: UUID | None = Field(description="For the customer, the winner and staff: see `/files/{id}`.")
    notes: str | None
    assigned_provider_id: UUID | None
    send_back_reason: str | None
    cancel_reason: str | None
    created_at: datetime
    updated_at: datetime


class OpenLead(Answer):
    """An open request near a provider who has not bought it: nothing that tells who or where exactly."""

    id: UUID
    status: ServiceRequestStatus
    service_id: UUID
    service: str
    description: str
    answers: dict[str, bool | int | str]
    photo_ids: list[UUID]
    latitude: float
    longitude: float
    distance_metres: int = Field(description="From the rounded position.")
    budget_minor: int | None
    currency: str
    preferred_at: datetime | None
    fee_minor: int
    lead_cap: int
    buyers_count: int
    created_at: datetime


class ServiceRequestState(Answer):
    """What an action made of a service request."""

    id: UUID
    status: ServiceRequestStatus
    buyers_count: int
    completed_by: UUID | None
    proof_id: UUID | None
    notes: str | None
    assigned_provider_id: UUID | None
    send_back_reason: str | None
    cancel_reason: str | None
    updated_at: datetime


class Lead(Answer):
    """A lead that a provider bought."""

    id: UUID
    service_request_id: UUID
    provider_id: UUID
    status: LeadStatus
    fee_minor: int
    currency: str
    report_reason: ReportReason | None
    report_note: str | None
    decision_reason: str | None
    created_at: datetime


class PurchasedLead(Lead):
    """A bought lead with its request."""

    request_status: ServiceRequestStatus
    service: str
    description: str
    address: str
    latitude: float
    longitude: float
    customer: Customer


class ReportLead(Payload):
    reason: ReportReason
    note: Paragraph


class MyRequests(PageQuery):
    """Filters of the customer's own list."""

    status: ServiceRequestStatus | None = None


class PageOnly(PageQuery):
    """No filters."""


class AllRequests(MyRequests):
    """Filters of the staff's list; managers see their own regions only."""

    region_id: UUID | None = None
    provider_id: UUID | None = Field(None, description="Bought by this provider.")
    created_before: Moment | None = None
    created_after: Moment | None = None


Notes = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000), Storable]


class StatusAlias(Payload):
    requestId: UUID
    status: Literal[ServiceRequestStatus.APPROVED, ServiceRequestStatus.IN_PROGRESS, ServiceRequestStatus.CANCELLED]
    reason: Paragraph | None = None

"""Work orders."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.core.money import AMOUNT_LIMIT
from app.models.work_orders import RejectionCategory as RejectionCategory
from app.models.work_orders import Side as Side
from app.models.work_orders import WorkOrderStatus as WorkOrderStatus
from app.schemas.base import Answer, PageQuery, Paragraph, Payload, Reason

Part = Annotated[int, Field(ge=0, le=AMOUNT_LIMIT, strict=True, description="Minor units.")]


class PurchaseWorkOrder(Payload):
    advertised_service_id: UUID
    revision: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] = Field(
        description="Of the service as the buyer saw it: nobody buys at another price than they looked at."
    )
    instructions: Paragraph | None = None


class AssignBooster(Payload):
    booster_id: UUID


class RejectEvidence(Reason):
    category: RejectionCategory = RejectionCategory.OTHER


class ResolveDispute(Payload):
    outcome: Literal["COMPLETED", "CANCELLED", "RESUMED"]
    booster_minor: Part | None = Field(
        None, description="The part for the work, of which the commission is taken; null if the work is resumed."
    )
    buyer_minor: Part | None = Field(None, description="The part that goes back; both parts add up to the price.")
    resolution_notes: Paragraph


class OverrideDecision(Reason):
    outcome: Literal["COMPLETED", "CANCELLED"]


class RateWork(Payload):
    rating: Annotated[int, Field(ge=1, le=5, strict=True)]


class WorkOrderState(Answer):
    """A work order without the names of its people: what an action made of it."""

    id: UUID
    status: WorkOrderStatus
    advertised_service_id: UUID
    title: str
    price_minor: int
    currency: str
    commission_basis_points: int
    instructions: str | None
    buyer_id: UUID
    advertiser_id: UUID
    team_id: UUID | None
    booster_id: UUID | None
    rounds_count: int = Field(description="How often evidence was handed in.")
    reviewer_id: UUID | None = Field(description="Who has opened the review.")
    reviewed_by: UUID | None
    reviewed_at: datetime | None
    rejection_reason: str | None
    rejection_category: RejectionCategory | None
    cancel_reason: str | None
    disputed_by: UUID | None
    disputed_from: WorkOrderStatus | None
    dispute_reason: str | None
    resolution_notes: str | None
    override_reason: str | None
    earned_minor: int | None = Field(description="What the booster got; null while the price is held.")
    refunded_minor: int | None = Field(description="What the buyer got back.")
    rating: int | None
    assigned_at: datetime | None
    started_at: datetime | None
    submitted_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class WorkOrder(WorkOrderState):
    buyer_name: str
    advertiser_name: str
    booster_name: str | None


class MyWorkOrders(PageQuery):
    """Filters of one's own lists."""

    side: Literal["buyer", "booster", "advertiser", "team"] = Field(
        "buyer", description="What one bought, does, sells, or may review for others as a team mate."
    )
    status: WorkOrderStatus | None = None


class AllWorkOrders(PageQuery):
    """Filters of the staff's list."""

    status: WorkOrderStatus | None = None


class Earning(Answer):
    currency: str
    amount_minor: int


class BoosterStatistics(Answer):
    completed: int
    pending_review: int
    rejection_rate: float | None = Field(description="Rejected rounds of all that were judged; null before the first.")
    average_completion_seconds: int | None = Field(description="From the start of the work to its completion.")
    earnings: list[Earning]


class AdvertiserStatistics(Answer):
    orders: dict[WorkOrderStatus, int]
    completion_rate: float | None = Field(description="Completed orders of all that are closed.")
    average_review_seconds: int | None = Field(description="From handing in to the verdict.")
    satisfaction: float | None = Field(description="Average of the buyers' ratings, 1 to 5.")
    ratings: int


class AdminStatistics(Answer):
    total: int
    orders: dict[WorkOrderStatus, int]
    pending_review: int
    average_approval_seconds: int | None = Field(description="From handing in to the approval.")
    rejection_reasons: dict[RejectionCategory, int]

"""Providers: profile, services offered, application and its review."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.models.providers import ProviderStatus
from app.schemas.base import Answer, Latitude, Line, Longitude, PageQuery, Paragraph, Payload, Position

Radius = Annotated[int, Field(gt=0, le=50_000, description="Metres.")]
ServiceIds = Annotated[list[UUID], Field(min_length=1, max_length=45)]


class ApplyAsProvider(Payload):
    role: Literal["provider"] = "provider"
    business_name: Line
    bio: Paragraph
    position: Position
    service_radius_metres: Radius
    service_ids: ServiceIds
    document_ids: Annotated[list[UUID], Field(max_length=10)] = Field(
        default_factory=list, description="Files uploaded with the purpose `document`; only reviewers see them."
    )


class UpdateProvider(Payload):
    """What is left out stays as it is."""

    business_name: Line | None = None
    bio: Paragraph | None = None
    position: Position | None = None
    service_radius_metres: Radius | None = None
    weekly_lead_budget_minor: Annotated[int, Field(ge=0, le=10**12)] | None = Field(
        None,
        description="Minor units a week for leads; at the cap none is offered or sold. 0 stops buying, null ends it.",
    )


class OfferServices(Payload):
    service_ids: ServiceIds


class Provider(Answer):
    """A provider as anybody may see one."""

    id: UUID
    business_name: str
    bio: str
    region_id: UUID
    rating_average: Decimal
    rating_count: int
    services: list[str] = Field(description="Slugs of the services offered.")


class FoundProvider(Provider):
    distance_metres: int


class ProviderProfile(Provider):
    """A provider as they and their reviewers see one."""

    user_name: str
    status: ProviderStatus
    rejection_reason: str | None
    status_reason: str | None
    latitude: float
    longitude: float
    service_radius_metres: int
    weekly_lead_budget_minor: int | None
    warnings: int
    approved_at: datetime | None
    created_at: datetime
    document_ids: list[UUID]


class FindProviders(Payload):
    """Position in degrees; the results reach that position with their own radius."""

    category: Annotated[str, Field(max_length=64)] | None = Field(None, description="Slug of a category.")
    service: Annotated[str, Field(max_length=64)] | None = Field(None, description="Slug of a service.")
    latitude: Latitude
    longitude: Longitude
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class ListApplications(PageQuery):
    status: ProviderStatus = ProviderStatus.PENDING

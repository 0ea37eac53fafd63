"""Webhook endpoints and what was sent to them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from app.models.webhook_endpoints import DeliveryStatus, WebhookEndpointStatus
from app.schemas.base import Answer, PageQuery, Payload, Storable
from app.schemas.event_log import EventTypes

Url = Annotated[
    str,
    StringConstraints(min_length=8, max_length=2000, pattern=r"^https?://"),
    Storable,
    Field(examples=["https://hooks.example.com/localbazaar"]),
]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), Storable]


class RegisterWebhookEndpoint(Payload):
    url: Url = Field(description="https, a public address, and a usual port.")
    types: EventTypes = Field(description="Names or families (`service_request.*`); `*` for all.")
    description: Description = ""


class UpdateWebhookEndpoint(Payload):
    """What is left out stays as it is."""

    url: Url | None = None
    types: EventTypes | None = None
    description: Description | None = None


class WebhookEndpoint(Answer):
    id: UUID
    url: str
    types: list[str]
    description: str
    status: WebhookEndpointStatus
    disabled_reason: str | None
    failing_since: datetime | None = Field(description="The first failed attempt since the last success.")
    previous_secret_until: datetime | None = Field(description="Until when the secret before signs, too.")
    created_at: datetime
    updated_at: datetime


class WebhookEndpointWithSecret(WebhookEndpoint):
    """The only time that the secret is shown."""

    secret: str = Field(repr=False, description="`whsec_…`, as the libraries for Standard Webhooks take it.")


class Attempt(Answer):
    at: datetime
    status: int | None = Field(description="Of the answer; null if none came.")
    error: str | None = Field(description="Why none came: `timeout`, `tls`, `address_refused` …")
    duration_ms: int


class Delivery(Answer):
    event_id: UUID = Field(description="The header `webhook-id`, however often it is sent.")
    event_name: str
    status: DeliveryStatus
    attempts: list[Attempt] = Field(description="The latest fifty, oldest first.")
    due_at: datetime | None = Field(description="When it is tried next.")
    created_at: datetime


class DeliveryPage(PageQuery):
    status: DeliveryStatus | None = None

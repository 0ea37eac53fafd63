"""Webhooks out: the own endpoints and what is sent there (realtime.md). By sign-in, or with a key."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status
from fastapi.routing import APIRoute

from app.routers.dependencies import Reading, ThePlatform, WebhookManager, Writing, WritingOnce
from app.routers.problems import documented
from app.schemas.base import Done, Page
from app.schemas.webhook_endpoints import (
    Delivery,
    DeliveryPage,
    RegisterWebhookEndpoint,
    UpdateWebhookEndpoint,
    WebhookEndpoint,
    WebhookEndpointWithSecret,
)
from app.services.webhook_endpoints import deliveries, endpoints

router = APIRouter(prefix="/api/v1/webhook-endpoints", tags=["integrators"])
_READ = documented(401, 403, 404, 429)
_ACTION = documented(401, 403, 404, 409, 429)


# No Idempotency-Key: the stored answer would hold the secret.
@router.post("", status_code=status.HTTP_201_CREATED, responses=documented(401, 403, 409, 429))
async def register(
    body: RegisterWebhookEndpoint, session: Writing, actor: WebhookManager, platform: ThePlatform
) -> WebhookEndpointWithSecret:
    """Have events sent to an address. The secret is shown in this answer and never again."""
    return await endpoints.register(session, platform, actor, body)


@router.get("", responses=documented(401, 403, 429))
async def list_own(session: Reading, actor: WebhookManager) -> list[WebhookEndpoint]:
    """The own endpoints, newest first."""
    return await endpoints.listed(session, actor)


@router.get("/{endpoint_id}", responses=_READ)
async def read(endpoint_id: UUID, session: Reading, actor: WebhookManager) -> WebhookEndpoint:
    """One of the own endpoints."""
    return await endpoints.read(session, actor, endpoint_id)


@router.patch("/{endpoint_id}", responses=_READ)
async def change(
    endpoint_id: UUID, body: UpdateWebhookEndpoint, session: Writing, actor: WebhookManager, platform: ThePlatform
) -> WebhookEndpoint:
    """Change address, types or description."""
    return await endpoints.change(session, platform, actor, endpoint_id, body)


@router.delete("/{endpoint_id}", responses=_READ)
async def remove(endpoint_id: UUID, session: WritingOnce, actor: WebhookManager) -> Done:
    """Send nothing there any more, and forget it."""
    await endpoints.remove(session, actor, endpoint_id)
    return Done()


@router.post("/{endpoint_id}/disable", responses=_ACTION)
async def disable(endpoint_id: UUID, session: WritingOnce, actor: WebhookManager) -> WebhookEndpoint:
    """Send nothing there for now."""
    return await endpoints.disable(session, actor, endpoint_id)


@router.post("/{endpoint_id}/enable", responses=_ACTION)
async def enable(endpoint_id: UUID, session: WritingOnce, actor: WebhookManager) -> WebhookEndpoint:
    """Send there again: from now on, and what was still waiting."""
    return await endpoints.enable(session, actor, endpoint_id)


@router.post("/{endpoint_id}/secret", responses=_READ)
async def rotate(
    endpoint_id: UUID, session: WritingOnce, actor: WebhookManager, platform: ThePlatform
) -> WebhookEndpointWithSecret:
    """A new secret. For 24 hours everything is signed with the old one, too."""
    return await endpoints.rotate(session, platform, actor, endpoint_id)


@router.get("/{endpoint_id}/deliveries", responses=_READ)
async def list_deliveries(
    endpoint_id: UUID, session: Reading, actor: WebhookManager, page: Annotated[DeliveryPage, Query()]
) -> Page[Delivery]:
    """What was and is to be sent there, with every attempt; the newest events first."""
    return await deliveries.page(session, actor, endpoint_id, page)


@router.post("/{endpoint_id}/deliveries/{event_id}/replay", responses=_ACTION)
async def replay(
    endpoint_id: UUID, event_id: UUID, session: WritingOnce, actor: WebhookManager, platform: ThePlatform
) -> Delivery:
    """Send it again, under the same `webhook-id`."""
    return await deliveries.replay(session, platform, actor, endpoint_id, event_id)


# FastAPI documents one scheme for each dependency; here is the other way in.
for _route in router.routes:
    if isinstance(_route, APIRoute):
        _route.openapi_extra = {"security": [{"bearer": []}]}

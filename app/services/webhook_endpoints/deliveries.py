"""What was sent to the own endpoints, and sending it again by hand."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Text, Uuid, any_, bindparam, case, func, select, update
from sqlalchemy.dialects.postgresql import INTERVAL

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Session, Statement
from app.core.errors import Conflict, NotFound
from app.core.pagination import decode, newest
from app.kernel.lifecycle import constants
from app.kernel.platform import Platform
from app.models.webhook_endpoints import DeliveryStatus, WebhookEndpointStatus, webhook_deliveries
from app.schemas.base import Page, page_of
from app.schemas.webhook_endpoints import Delivery, DeliveryPage
from app.services.webhook_endpoints import endpoints


class DeliveryPending(Conflict):
    code, title = "delivery_pending", "This delivery is still being tried."


class WebhookEndpointIsDisabled(Conflict):
    code, title = "webhook_endpoint_disabled", "Enable the endpoint first."


_status = bindparam("status", type_=Text)
_shown = (
    webhook_deliveries.c.event_id,
    webhook_deliveries.c.event_name,
    webhook_deliveries.c.status,
    webhook_deliveries.c.attempts,
    case((webhook_deliveries.c.status == DeliveryStatus.PENDING.value, webhook_deliveries.c.due_at)).label("due_at"),
    webhook_deliveries.c.created_at,
)
_of_endpoint = select(*_shown, webhook_deliveries.c.event_id.label("id")).where(
    webhook_deliveries.c.endpoint_id == bindparam("endpoint_id"),
    webhook_deliveries.c.event_id < bindparam("before", type_=Uuid),
)
_LIST: Final = Statement(newest(_of_endpoint, webhook_deliveries.c.event_id))
_IN_STATUS: Final = Statement(
    newest(_of_endpoint.where(webhook_deliveries.c.status == _status), webhook_deliveries.c.event_id)
)
# The compare-and-set lets one of two equal replays through, and none past an attempt that is being made.
_REPLAY: Final = Statement(
    update(webhook_deliveries)
    .where(
        webhook_deliveries.c.endpoint_id == bindparam("endpoint_id"),
        webhook_deliveries.c.event_id == bindparam("event_id"),
        webhook_deliveries.c.status == any_(constants([DeliveryStatus.DELIVERED, DeliveryStatus.FAILED])),
    )
    .values(
        status=DeliveryStatus.PENDING.value,
        tries=0,
        due_at=func.now(),
        give_up_at=func.now() + bindparam("retried_for", type_=INTERVAL),
    )
    .returning(*_shown)
)
_IS_THERE: Final = Statement(
    select(webhook_deliveries.c.status).where(
        webhook_deliveries.c.endpoint_id == bindparam("endpoint_id"),
        webhook_deliveries.c.event_id == bindparam("event_id"),
    )
)


async def page(session: ReadSession, actor: Actor, endpoint_id: UUID, wanted: DeliveryPage) -> Page[Delivery]:
    """What was and is to be sent to one of the own endpoints, the newest events first."""
    await endpoints.read(session, actor, endpoint_id)
    place = {"endpoint_id": endpoint_id, "before": decode(wanted.cursor), "rows": wanted.limit + 1}
    if wanted.status is None:
        rows = await session.all(_LIST, **place)
    else:
        rows = await session.all(_IN_STATUS, **place, status=wanted.status.value)
    return page_of(rows, wanted.limit, _delivery)


async def replay(session: Session, platform: Platform, actor: Actor, endpoint_id: UUID, event_id: UUID) -> Delivery:
    """Send it again, now and under the same id, for another day if it fails; `DeliveryPending` while it is tried."""
    endpoint = await endpoints.read(session, actor, endpoint_id)
    if endpoint.status is WebhookEndpointStatus.DISABLED:
        raise WebhookEndpointIsDisabled()
    await platform.limits.hit(platform.settings.webhook_replays, "webhook-replays", str(actor.user_id))
    retried_for = timedelta(seconds=platform.settings.webhook_retry_seconds)
    place = {"endpoint_id": endpoint_id, "event_id": event_id}
    row = await session.first(_REPLAY, **place, retried_for=retried_for)
    if row is not None:
        return _delivery(row)
    if await session.scalar(_IS_THERE, **place) is None:
        raise NotFound()
    raise DeliveryPending()


def _delivery(row: Row) -> Delivery:
    return Delivery.model_validate(dict(row))

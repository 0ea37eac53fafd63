"""Registering webhook endpoints and looking after them. All of it is the owner's alone; a stranger's is not there."""

import secrets
from base64 import b64encode
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Text, bindparam, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import INTERVAL

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Session, Statement
from app.core.errors import Conflict, NotFound
from app.core.ids import uuid7
from app.kernel import event_types
from app.kernel.events import emit
from app.kernel.locks import lock_account
from app.kernel.platform import Platform
from app.kernel.sealed_columns import SealedColumns
from app.models.webhook_endpoints import webhook_endpoints
from app.schemas.webhook_endpoints import (
    RegisterWebhookEndpoint,
    UpdateWebhookEndpoint,
    WebhookEndpoint,
    WebhookEndpointWithSecret,
)
from app.services.webhook_endpoints.events import WebhookEndpointMoved
from app.services.webhook_endpoints.lifecycle import LIFECYCLE, Action

_BY_HAND: Final = "by_hand"


class TooManyWebhookEndpoints(Conflict):
    code, title = "too_many_webhook_endpoints", "The account has as many webhook endpoints as it may have; delete one."


_shown = select(*(webhook_endpoints.c[name] for name in WebhookEndpoint.model_fields))
_named = (
    webhook_endpoints.c.id == bindparam("endpoint_id"),
    webhook_endpoints.c.owner_id == bindparam("owner_id"),
)
_COUNT: Final = Statement(
    select(func.count()).select_from(webhook_endpoints).where(webhook_endpoints.c.owner_id == bindparam("owner_id"))
)
_LIST: Final = Statement(
    _shown.where(webhook_endpoints.c.owner_id == bindparam("owner_id")).order_by(webhook_endpoints.c.id.desc())
)
_READ: Final = Statement(_shown.where(*_named))


def _or_as_it_is(name: str, type_: Any) -> Any:
    return func.coalesce(cast(bindparam(name), type_), webhook_endpoints.c[name])


_CHANGE: Final = Statement(
    update(webhook_endpoints)
    .where(*_named)
    .values(
        url=_or_as_it_is("url", Text),
        types=_or_as_it_is("types", ARRAY(Text)),
        description=_or_as_it_is("description", Text),
        updated_at=func.now(),
    )
    .returning(webhook_endpoints)
)
_ROTATE: Final = Statement(
    update(webhook_endpoints)
    .where(*_named)
    .values(
        sealed_secret=bindparam("sealed"),
        sealed_previous_secret=webhook_endpoints.c.sealed_secret,
        previous_secret_until=func.now() + bindparam("overlap", type_=INTERVAL),
        updated_at=func.now(),
    )
    .returning(webhook_endpoints)
)
_DELETE: Final = Statement(delete(webhook_endpoints).where(*_named))


def _new_secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


async def register(
    session: Session, platform: Platform, actor: Actor, wanted: RegisterWebhookEndpoint
) -> WebhookEndpointWithSecret:
    """A new endpoint and its secret, shown this once. The account's lock makes two calls at once count each other.

    `UrlRefused`, `EventTypeUnknown`, `TooManyWebhookEndpoints`, `TooManyRequests`.
    """
    event_types.check(wanted.types)
    url = await _checked(platform, actor, wanted.url)
    await lock_account(session, actor.user_id)
    limit = platform.settings.webhook_endpoints_per_user
    if await session.scalar(_COUNT, owner_id=actor.user_id) >= limit:
        raise TooManyWebhookEndpoints(limit=limit)
    endpoint_id, secret = uuid7(), _new_secret()
    row = await LIFECYCLE.create(
        session,
        actor,
        {
            "id": endpoint_id,
            "owner_id": actor.user_id,
            "url": url,
            "types": sorted(set(wanted.types)),
            "description": wanted.description,
            "sealed_secret": platform.seals.seal(secret, endpoint_id),
        },
    )
    return WebhookEndpointWithSecret.model_validate(dict(row) | {"secret": secret})


async def listed(session: ReadSession, actor: Actor) -> list[WebhookEndpoint]:
    """The own endpoints, newest first."""
    return [_endpoint(row) for row in await session.all(_LIST, owner_id=actor.user_id)]


async def read(session: ReadSession, actor: Actor, endpoint_id: UUID) -> WebhookEndpoint:
    return _endpoint(await session.first(_READ, endpoint_id=endpoint_id, owner_id=actor.user_id))


async def change(
    session: Session, platform: Platform, actor: Actor, endpoint_id: UUID, wanted: UpdateWebhookEndpoint
) -> WebhookEndpoint:
    """Another address, other types, another description; what waits to be sent goes to the new address."""
    if wanted.types is not None:
        event_types.check(wanted.types)
    url = None if wanted.url is None else await _checked(platform, actor, wanted.url)
    before = await read(session, actor, endpoint_id)
    row = await session.first(
        _CHANGE,
        endpoint_id=endpoint_id,
        owner_id=actor.user_id,
        url=url,
        types=None if wanted.types is None else sorted(set(wanted.types)),
        description=wanted.description,
    )
    if url is not None and url != before.url:
        event = WebhookEndpointMoved(webhook_endpoint_id=endpoint_id, url=url)
        await emit(session, event, subject_type="webhook_endpoint", subject_id=endpoint_id, to=[actor.user_id])
    return _endpoint(row)


async def remove(session: Session, actor: Actor, endpoint_id: UUID) -> None:
    """Delete it; nothing more is sent there."""
    if not await session.execute(_DELETE, endpoint_id=endpoint_id, owner_id=actor.user_id):
        raise NotFound()


async def disable(session: Session, actor: Actor, endpoint_id: UUID) -> WebhookEndpoint:
    """Send nothing there until it is enabled again; what happens meanwhile is in the event log only."""
    row = await LIFECYCLE.advance(session, endpoint_id, Action.DISABLE, actor, disabled_reason=_BY_HAND)
    return _endpoint(row)


async def enable(session: Session, actor: Actor, endpoint_id: UUID) -> WebhookEndpoint:
    return _endpoint(await LIFECYCLE.advance(session, endpoint_id, Action.ENABLE, actor))


async def rotate(session: Session, platform: Platform, actor: Actor, endpoint_id: UUID) -> WebhookEndpointWithSecret:
    """A new secret; the one before signs beside it for a day, and an older one no more."""
    secret = _new_secret()
    row = await session.first(
        _ROTATE,
        endpoint_id=endpoint_id,
        owner_id=actor.user_id,
        sealed=platform.seals.seal(secret, endpoint_id),
        overlap=timedelta(seconds=platform.settings.webhook_secret_overlap_seconds),
    )
    if row is None:
        raise NotFound()
    return WebhookEndpointWithSecret.model_validate(dict(row) | {"secret": secret})


async def _checked(platform: Platform, actor: Actor, url: str) -> str:
    """The address as it is kept. No connection to the database is held while its name is looked up."""
    await platform.limits.hit(platform.settings.webhook_endpoint_changes, "webhook-endpoints", str(actor.user_id))
    return await platform.public_http.check(url)


def _endpoint(row: Row | None) -> WebhookEndpoint:
    if row is None:
        raise NotFound()
    return WebhookEndpoint.model_validate(dict(row))


_SEALED: Final = SealedColumns(webhook_endpoints, "sealed_secret", "sealed_previous_secret")


async def reseal(platform: Platform) -> int:
    """Seal every secret under the first of the secret keys; how many endpoints there are.

    Run after a new key was put first and before an old one is taken away. Raises `Unsealable`.
    """
    return await _SEALED.renew(platform)

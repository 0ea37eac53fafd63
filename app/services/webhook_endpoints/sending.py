"""Sending what is due, and what comes of it (realtime.md: Webhooks out).

A delivery is taken up by moving its due time a little into the future. Whoever dies with it in hand leaves it to fall
due again: it is sent at least once, under one id, the event's. The database's time decides when.
"""

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import (
    Double,
    Integer,
    Uuid,
    and_,
    bindparam,
    case,
    column,
    func,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB
from standardwebhooks import Webhook

from app.adapters.public_http import CallFailed
from app.core.actor import CLOCK
from app.core.config import Settings
from app.core.database import Row, Statement
from app.core.errors import NotFound
from app.core.security import Unsealable
from app.core.sql import given
from app.kernel.events import envelope
from app.kernel.lifecycle import IllegalTransition
from app.kernel.platform import Platform
from app.models.events import events
from app.models.users import UserStatus, users
from app.models.webhook_endpoints import DeliveryStatus, WebhookEndpointStatus, webhook_deliveries, webhook_endpoints
from app.services.webhook_endpoints.lifecycle import FAILING, LIFECYCLE, Action

_IN_HAND_SECONDS: Final = 30
"""How much longer than an attempt may take it is waited for, until the delivery counts as dropped."""
_ATTEMPTS_KEPT: Final = 50
_GROWTH: Final = 3
_SPREAD: Final = 0.2

_busy = given(
    "busy",
    busy=column("endpoint_id", Uuid),
    counts=column("count", Integer),
)
_in_hand = func.coalesce(_busy.c.count, 0)
_next = (
    select(webhook_deliveries.c.endpoint_id, webhook_deliveries.c.event_id, webhook_deliveries.c.due_at)
    .where(
        webhook_deliveries.c.endpoint_id == webhook_endpoints.c.id,
        webhook_deliveries.c.status == literal_column(f"'{DeliveryStatus.PENDING}'"),  # as the index says it
        webhook_deliveries.c.due_at <= func.now(),
    )
    .order_by(webhook_deliveries.c.due_at)
    .limit(func.greatest(bindparam("each", type_=Integer) - _in_hand, 0))
    .with_for_update(skip_locked=True)
    .lateral("next")
)
_rank = func.row_number().over(partition_by=_next.c.endpoint_id, order_by=_next.c.due_at)
# The first of each endpoint before the second of any: nobody waits behind a crowd of somebody else's.
_due = (
    select(_next.c.endpoint_id, _next.c.event_id)
    .select_from(webhook_endpoints)
    .join(users, and_(users.c.id == webhook_endpoints.c.owner_id, users.c.status == UserStatus.ACTIVE.value))
    .outerjoin(_busy, _busy.c.endpoint_id == webhook_endpoints.c.id)
    .join(_next, true())
    .where(webhook_endpoints.c.status == WebhookEndpointStatus.ENABLED.value)
    .order_by(_in_hand + _rank, _next.c.due_at)
    .limit(bindparam("free", type_=Integer))
    .cte("due")
)
_taken = (
    update(webhook_deliveries)
    .where(webhook_deliveries.c.endpoint_id == _due.c.endpoint_id, webhook_deliveries.c.event_id == _due.c.event_id)
    .values(
        due_at=func.now() + bindparam("in_hand", type_=INTERVAL),
        claims=webhook_deliveries.c.claims + 1,
        tries=webhook_deliveries.c.tries + 1,
    )
    .returning(
        webhook_deliveries.c.endpoint_id,
        webhook_deliveries.c.event_id,
        webhook_deliveries.c.claims,
        webhook_deliveries.c.tries,
    )
    .cte("taken")
)
_TAKE: Final = Statement(
    select(
        _taken,
        webhook_endpoints.c.url,
        webhook_endpoints.c.sealed_secret,
        case(
            (webhook_endpoints.c.previous_secret_until > func.now(), webhook_endpoints.c.sealed_previous_secret)
        ).label("sealed_previous_secret"),
        events.c.id,
        events.c.name,
        events.c.payload,
        events.c.created_at,
        users.c.language,
    )
    .select_from(_taken)
    .join(webhook_endpoints, webhook_endpoints.c.id == _taken.c.endpoint_id)
    .join(users, users.c.id == webhook_endpoints.c.owner_id)
    .join(events, events.c.id == _taken.c.event_id)
)

_attempts = webhook_deliveries.c.attempts
_attempt = func.jsonb_build_array(bindparam("attempt", type_=JSONB), type_=JSONB)
_kept = case((func.jsonb_array_length(_attempts) >= _ATTEMPTS_KEPT, _attempts.op("-")(0)), else_=_attempts)
_recording = update(webhook_deliveries).where(
    webhook_deliveries.c.endpoint_id == bindparam("endpoint_id"),
    webhook_deliveries.c.event_id == bindparam("event_id"),
    webhook_deliveries.c.status == DeliveryStatus.PENDING.value,
    # Not by whom it was taken for lost: somebody else is sending it by now.
    webhook_deliveries.c.claims == bindparam("claims"),
)
_with_attempt = {"attempts": _kept.op("||", return_type=JSONB)(_attempt)}
_delivered = (
    _recording.values(_with_attempt | {"status": DeliveryStatus.DELIVERED.value})
    .returning(webhook_deliveries.c.endpoint_id)
    .cte("delivered")
)
_DELIVERED: Final = Statement(
    update(webhook_endpoints)
    .where(webhook_endpoints.c.id == _delivered.c.endpoint_id, webhook_endpoints.c.failing_since.is_not(None))
    .values(failing_since=None)
)
_due_again = func.now() + bindparam("pause", type_=INTERVAL)
_failed = (
    _recording.values(
        _with_attempt
        | {
            "status": case(
                (_due_again > webhook_deliveries.c.give_up_at, DeliveryStatus.FAILED.value),
                else_=DeliveryStatus.PENDING.value,
            ),
            "due_at": _due_again,
        }
    )
    .returning(webhook_deliveries.c.endpoint_id)
    .cte("failed")
)
_first_failure = (
    update(webhook_endpoints)
    .where(webhook_endpoints.c.id == _failed.c.endpoint_id, webhook_endpoints.c.failing_since.is_(None))
    .values(failing_since=func.now())
    .cte("first_failure")
)
_long_ago = func.now() - bindparam("failing_seconds", type_=Double) * literal_column("interval '1 second'")
_FAILED: Final = Statement(
    select((webhook_endpoints.c.failing_since <= _long_ago).label("for_long"))
    .join(_failed, webhook_endpoints.c.id == _failed.c.endpoint_id)
    .add_cte(_first_failure)
)


class Outcome(NamedTuple):
    """`status` of the answer, or, without one, why none came."""

    status: int | None
    error: str | None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


async def take(platform: Platform, busy: Mapping[UUID, int], free: int) -> list[Row]:
    """As many of the deliveries that are due as there is room for, taken up for an attempt each.

    `busy` counts the attempts that this process is making, by endpoint.
    """
    settings = platform.settings
    async with platform.database.write_single() as session:
        return await session.all(
            _TAKE,
            busy=list(busy),
            counts=list(busy.values()),
            each=settings.webhook_concurrency_per_endpoint,
            free=free,
            in_hand=timedelta(seconds=settings.webhook_seconds + _IN_HAND_SECONDS),
        )


async def attempt(platform: Platform, delivery: Row) -> None:
    """Send one delivery that was taken up, and record the outcome."""
    began = time.monotonic()
    outcome = await _send(platform, delivery)
    taken = {name: delivery[name] for name in ("endpoint_id", "event_id", "claims")}
    taken["attempt"] = {
        "at": datetime.now(UTC).isoformat(),
        "status": outcome.status,
        "error": outcome.error,
        "duration_ms": round((time.monotonic() - began) * 1000),
    }
    async with platform.database.write() as session:
        if outcome.is_success:
            await session.execute(_DELIVERED, **taken)
            return
        failing_seconds = platform.settings.webhook_disable_seconds
        pause = timedelta(seconds=pause_after(delivery["tries"], platform.settings))
        if await session.scalar(_FAILED, **taken, pause=pause, failing_seconds=failing_seconds):
            try:
                async with session.savepoint():
                    await LIFECYCLE.advance(
                        session,
                        delivery["endpoint_id"],
                        Action.DISABLE_FAILING,
                        CLOCK,
                        disabled_reason=FAILING,
                        failing_seconds=failing_seconds,
                    )
            except (IllegalTransition, NotFound):
                pass  # somebody else was first: the owner, another attempt, or one that succeeded


def pause_after(tries: int, settings: Settings) -> float:
    """Seconds until the next attempt: three times as many after each, up to a longest, and never quite the same."""
    pause = min(
        settings.webhook_retry_first_seconds * _GROWTH ** min(tries - 1, 20), settings.webhook_retry_longest_seconds
    )
    return float(pause * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311 - it keeps a crowd apart, it hides nothing


async def _send(platform: Platform, delivery: Row) -> Outcome:
    body = to_json(envelope(delivery, delivery["language"]))
    try:
        headers = _signed(platform, delivery, body)
    except Unsealable:
        return Outcome(None, "secret_unreadable")  # under a key that is gone: the owner has to rotate it
    try:
        return Outcome(await platform.public_http.post(delivery["url"], headers, body), None)
    except CallFailed as failure:
        return Outcome(None, failure.reason)


def _signed(platform: Platform, delivery: Row, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks, with a signature by each secret that counts."""
    event_id, now = str(delivery["event_id"]), datetime.now(UTC)
    sealed = (delivery["sealed_secret"], delivery["sealed_previous_secret"])
    secrets = [platform.seals.open(secret, delivery["endpoint_id"]) for secret in sealed if secret is not None]
    return {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(event_id, now, body.decode()) for secret in secrets),
    }

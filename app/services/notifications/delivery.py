"""Events on their way out of the platform: jobs, one for each recipient and way, worded in the recipient's language."""

from typing import Any, Final
from uuid import UUID

import structlog
from pydantic_core import to_json
from sqlalchemy import ColumnElement, Double, and_, bindparam, delete, func, literal_column, select, update

from app.adapters.push import PAYLOAD_LIMIT_BYTES, PushRefused, Subscription, SubscriptionGone
from app.core.database import Row, Statement
from app.core.security import digest
from app.core.texts import one_text_message
from app.kernel.events import declaration, envelope, message
from app.kernel.platform import Platform
from app.models.events import events, notifications
from app.models.notifications import push_devices
from app.models.users import UserStatus, sessions, users
from app.services.notifications import devices

_log = structlog.get_logger()

_NEWS: Final = {"en": "News from LocalBazaar", "hi": "लोकलबाज़ार की सूचना"}
_TOPIC_LENGTH: Final = 32
_SHORT_MESSAGE: Final = 300

_addressed = and_(notifications.c.event_id == events.c.id, ~notifications.c.quiet)
_event = (events.c.id, events.c.name, events.c.subject_id, events.c.payload, events.c.created_at)
_MESSAGE = Statement(
    select(*_event, users.c.email, users.c.phone, users.c.language)
    .select_from(events)
    .join(notifications, _addressed)
    .join(users, users.c.id == notifications.c.user_id)
    .where(
        events.c.id == bindparam("event_id"),
        users.c.id == bindparam("user_id"),
        # Until both codes have come back, nobody knows whose mailbox and phone these are.
        users.c.status != UserStatus.PENDING_VERIFICATION.value,
    )
)
_one_second: ColumnElement[Any] = literal_column("interval '1 second'")
# The device's owner is asked for once more: it may have gone to somebody else since.
_PUSH = Statement(
    select(
        *_event,
        users.c.language,
        push_devices.c.endpoint,
        push_devices.c.p256dh,
        push_devices.c.auth,
        push_devices.c.refusals,
    )
    .select_from(push_devices)
    .join(sessions, devices.lives)
    .join(users, users.c.id == push_devices.c.user_id)
    .join(notifications, notifications.c.user_id == push_devices.c.user_id)
    .join(events, _addressed)
    .where(
        push_devices.c.id == bindparam("device_id"),
        events.c.id == bindparam("event_id"),
        users.c.status == UserStatus.ACTIVE.value,
        events.c.created_at > func.now() - bindparam("life_seconds", type_=Double) * _one_second,
    )
)
_same_device = push_devices.c.id == bindparam("device_id")
_FORGET = Statement(delete(push_devices).where(_same_device))
_TAKEN = Statement(update(push_devices).where(_same_device).values(refusals=0))
_REFUSED = Statement(
    update(push_devices)
    .where(_same_device)
    .values(refusals=push_devices.c.refusals + 1)
    .returning(push_devices.c.refusals)
)


async def mail_event(platform: Platform, user_id: UUID, event_id: UUID) -> None:
    """Mail the sentence of an event to one of its recipients."""
    row = await _message(platform, user_id, event_id)
    if row is not None:
        sentence = message(row["name"], row["payload"], row["language"])
        await platform.messengers.mail.send(row["email"], _NEWS[row["language"]], sentence)


async def text_event(platform: Platform, user_id: UUID, event_id: UUID) -> None:
    """Send the sentence of an event to one of its recipients, as one text message."""
    row = await _message(platform, user_id, event_id)
    if row is not None:
        sentence = one_text_message(message(row["name"], row["payload"], row["language"]))
        await platform.messengers.text.send(row["phone"], _NEWS[row["language"]], sentence)


async def _message(platform: Platform, user_id: UUID, event_id: UUID) -> Row | None:
    async with platform.database.read() as session:
        return await session.first(_MESSAGE, event_id=event_id, user_id=user_id)


async def push_event(platform: Platform, device_id: UUID, event_id: UUID) -> None:
    """Push an event to one device of a recipient.

    A subscription that has ended takes its device with it, and so do several refusals in a row. Raises `PushAway`: try
    again; what has become too old to be shown is not pushed any more.
    """
    settings = platform.settings
    async with platform.database.read() as session:
        row = await session.first(
            _PUSH,
            device_id=device_id,
            event_id=event_id,
            life_seconds=settings.push_life_seconds,
            refreshable_seconds=settings.refresh_token_seconds,
        )
    declared = declaration(row["name"]) if row else None
    if row is None or declared is None:
        return
    subscription = Subscription(row["endpoint"], row["p256dh"], row["auth"])
    # An alarm is never replaced by another; of the news about one thing, a device that was away needs the newest.
    topic = None if declared.mandatory else _topic(declared.family(), row["subject_id"])
    try:
        await platform.push.send(subscription, push_payload(row), urgent=declared.urgent, topic=topic)
    except SubscriptionGone:
        await _change(platform, _FORGET, device_id)
        _log.info("push_device_gone", device_id=str(device_id))
    except PushRefused as refused:
        await _count_refusal(platform, device_id, str(refused))
    else:
        if row["refusals"]:
            await _change(platform, _TAKEN, device_id)


async def _count_refusal(platform: Platform, device_id: UUID, reason: str) -> None:
    async with platform.database.write_single() as session:
        refusals = await session.scalar(_REFUSED, device_id=device_id)
    _log.warning("push_refused", device_id=str(device_id), reason=reason, refusals=refusals)
    if refusals is not None and refusals >= platform.settings.push_refusals:
        await _change(platform, _FORGET, device_id)


async def _change(platform: Platform, statement: Statement, device_id: UUID) -> None:
    async with platform.database.write_single() as session:
        await session.execute(statement, device_id=device_id)


def push_payload(row: Row) -> bytes:
    """The envelope; where it is too large to be pushed, what is needed to show it and to fetch the rest."""
    whole = envelope(row, row["language"])
    payload = to_json(whole)
    if len(payload) <= PAYLOAD_LIMIT_BYTES:
        return payload
    kept = ("id", "name", "type", "event", "timestamp")
    short: dict[str, Any] = {
        name: value for name, value in whole.items() if name in kept or (name.endswith("_id") and _is_short(value))
    }
    return to_json(short | {"message": whole["message"][:_SHORT_MESSAGE]})


def _is_short(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= _TOPIC_LENGTH + 4)


def _topic(family: str, subject_id: UUID) -> str:
    """Names the family and the subject for the push service, and tells it neither."""
    return digest(f"{family}:{subject_id}").hex()[:_TOPIC_LENGTH]

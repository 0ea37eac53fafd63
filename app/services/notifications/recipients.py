"""Who gets an event by which way: asked for many events in one statement."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import (
    Boolean,
    Text,
    Uuid,
    and_,
    column,
    func,
    literal_column,
    or_,
    select,
)

from app.core.database import ReadSession, Row, Statement
from app.core.sql import given
from app.kernel.events import Channel, declaration
from app.kernel.jobs import Job
from app.models.events import notifications
from app.models.notifications import notification_preferences, push_devices
from app.models.users import sessions
from app.services.notifications import devices

JOBS: Final = {Channel.MAIL: "mail_event", Channel.SMS: "text_event", Channel.PUSH: "push_event"}
"""The job that takes an event to one recipient, or to one device: what fails is repeated for them alone."""


class _Way(NamedTuple):
    event_id: UUID
    family: str
    channel: str
    default: bool
    mandatory: bool


_told = given(
    "told",
    event_ids=column("event_id", Uuid),
    families=column("family", Text),
    channels=column("channel", Text),
    defaults=column("by_default", Boolean),
    mandatory=column("mandatory", Boolean),
)
_to_devices = _told.c.channel == literal_column(f"'{Channel.PUSH}'")
_device = (
    select(push_devices.c.id, push_devices.c.user_id)
    .select_from(push_devices.join(sessions, devices.lives))
    .where(push_devices.c.user_id == notifications.c.user_id)
    .correlate(notifications)
    .lateral("device")
)
_WANTED = Statement(
    select(_told.c.event_id, _told.c.channel, notifications.c.user_id, _device.c.id.label("device_id"))
    .select_from(_told)
    .join(notifications, and_(notifications.c.event_id == _told.c.event_id, ~notifications.c.quiet))
    .outerjoin(
        notification_preferences,
        and_(
            notification_preferences.c.user_id == notifications.c.user_id,
            notification_preferences.c.family == _told.c.family,
            notification_preferences.c.channel == _told.c.channel,
        ),
    )
    .outerjoin(_device, _to_devices)
    .where(
        or_(_told.c.mandatory, func.coalesce(notification_preferences.c.wanted, _told.c.by_default)),
        or_(~_to_devices, _device.c.id.is_not(None)),
    )
)


async def jobs_for(session: ReadSession, events: Sequence[Row], refreshable_seconds: float) -> list[Job]:
    """One job for each recipient and way that these events have; none for who has switched the way off."""
    ways = [way for event in events for way in _ways(event)]
    if not ways:
        return []
    rows = await session.all(
        _WANTED,
        event_ids=[way.event_id for way in ways],
        families=[way.family for way in ways],
        channels=[way.channel for way in ways],
        defaults=[way.default for way in ways],
        mandatory=[way.mandatory for way in ways],
        refreshable_seconds=refreshable_seconds,
    )
    return [_job(row) for row in rows]


def _job(row: Row) -> Job:
    about = {"device_id": row["device_id"]} if row["channel"] == Channel.PUSH else {"user_id": row["user_id"]}
    return JOBS[Channel(row["channel"])], to_json(about | {"event_id": row["event_id"]})


def _ways(event: Row) -> list[_Way]:
    declared = declaration(event["name"])
    if declared is None:
        return []
    return [
        _Way(event["id"], declared.family(), channel, by_default, by_default and declared.mandatory)
        for channels, by_default in ((declared.channels, True), (declared.on_request, False))
        for channel in channels
    ]

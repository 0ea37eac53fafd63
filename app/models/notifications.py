"""By which ways somebody wants to hear of events, and the browsers that take web push for them."""

from enum import StrEnum

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, Uuid

from app.models.base import identifier, metadata, moment, one_of, text


class Channel(StrEnum):
    """A way by which an event leaves the platform, besides sockets and the feed."""

    MAIL = "mail"
    SMS = "sms"
    PUSH = "push"


# Only what differs from the default has a row: most people have none, and a default that is changed later is changed
# for all who never chose. A row for each choice, and not one document for each user, because the relay asks for one
# family and channel of many users at once, which is one look by this key for each of them.
notification_preferences = Table(
    "notification_preferences",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id"), primary_key=True),
    Column("family", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("wanted", Boolean, nullable=False),
    one_of("channel", Channel),
)

# A device lives while its session does (`services/notifications/devices.py: lives`).
push_devices = Table(
    "push_devices",
    metadata,
    identifier(),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    text("endpoint"),
    Column("p256dh", LargeBinary, nullable=False),
    Column("auth", LargeBinary, nullable=False),
    # Refusals by the push service since it last took something.
    Column("refusals", Integer, nullable=False, server_default="0"),
    moment("created_at", now=True),
    CheckConstraint("octet_length(p256dh) = 65 AND octet_length(auth) = 16", name="key_sizes"),
    Index("push_devices_endpoint_key", "endpoint", unique=True),
    Index("push_devices_user_id_index", "user_id"),
    Index("push_devices_session_id_index", "session_id"),
)

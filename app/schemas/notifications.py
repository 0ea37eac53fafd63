"""The feed, preferences, devices for web push, and tickets for the socket."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, FiniteFloat, StringConstraints

from app.models.notifications import Channel
from app.schemas.base import Answer, PageQuery, Payload, Storable, Word


class Notification(Answer):
    """An event that was addressed to the reader, in the one envelope."""

    event: dict[str, Any] = Field(description="The envelope, as on the socket.")
    read: bool


class Feed(Answer):
    items: list[Notification]
    next_cursor: str | None
    unread_count: int = Field(description="Counted up to 1,000.")


class FeedPage(PageQuery):
    unread: bool = Field(False, description="Only what was not read yet.")


class Read(Answer):
    marked: int


class Ticket(Answer):
    """Opens one socket: `/ws/notifications/?ticket=…`."""

    ticket: str = Field(repr=False)
    expires_in: int = Field(description="Seconds.")


class ChannelPreference(Answer):
    channel: Channel
    wanted: bool
    default: bool = Field(description="What holds for whoever has not chosen.")
    mandatory: bool = Field(description="It is about the safety of the account and cannot be switched off.")


class FamilyPreferences(Answer):
    """Events whose names begin alike, and the ways by which they can come. The feed and sockets have all of them."""

    family: str = Field(description="What their names begin with, before the dot.")
    title: str = Field(description="In the reader's language.")
    channels: list[ChannelPreference]


class Preferences(Answer):
    families: list[FamilyPreferences]


class Preference(Payload):
    family: Word
    channel: Channel
    wanted: bool


class SetPreferences(Payload):
    """All that shall differ from the defaults; what is not named returns to its default."""

    preferences: Annotated[list[Preference], Field(max_length=200)]


class PushKeys(Payload):
    """URL-safe base64: a point of P-256, uncompressed (65 bytes), and a secret (16 bytes)."""

    p256dh: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{87}=?$")]
    auth: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}(==)?$")]


class RegisterDevice(Payload):
    """A browser's `PushSubscription`, as its `toJSON()` gives it."""

    endpoint: Annotated[str, StringConstraints(min_length=1, max_length=2000), Storable]
    keys: PushKeys
    expirationTime: FiniteFloat | None = Field(None, description="Not used: an expired subscription tells by itself.")


class Device(Answer):
    """A browser that takes web push for as long as the session lives that registered it."""

    id: UUID
    service: str = Field(description="The host of its push service.")
    created_at: datetime
    current: bool = Field(description="Registered by the session that asks.")


class PushKey(Answer):
    """What a browser subscribes with."""

    public_key: str = Field(description="`applicationServerKey`: URL-safe base64 without padding.")

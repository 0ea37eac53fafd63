"""The feed, and tickets for the socket."""

from typing import Any
from uuid import UUID

from pydantic import Field

from app.schemas.base import Answer, PageQuery, Payload


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


class MarkRead(Payload):
    event_id: UUID

"""The feed, and tickets for the socket."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from app.schemas.base import Answer, Payload


class Notification(Answer):
    """An event that was addressed to the reader, in the one envelope."""

    event: dict[str, Any] = Field(description="The envelope, as on the socket.")
    read: bool


class Feed(Answer):
    items: list[Notification]
    next_cursor: str | None
    unread_count: int = Field(description="Counted up to 1,000.")


class FeedPage(Payload):
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, Field(max_length=64)] | None = None
    unread: bool = Field(False, description="Only what was not read yet.")


class Read(Answer):
    marked: int


class Ticket(Answer):
    """Opens one socket: `/ws/notifications/?ticket=…`."""

    ticket: str = Field(repr=False)
    expires_in: int = Field(description="Seconds.")


class MarkRead(Payload):
    event_id: UUID

"""The event log for integrators."""

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from app.schemas.base import Answer, Payload, Storable

EventType = Annotated[
    str,
    StringConstraints(pattern=r"^([a-z_]{1,60}\.([a-z_]{1,60}|\*)|\*)$"),
    Storable,
    Field(examples=["service_request.*"]),
]
"""The dotted name of an event, a family, or `*`."""
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=50)]


LOG_LIMIT: Final = 500
"""Events of the longest page."""


class LogQuery(Payload):
    after: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="`next_cursor` of an earlier answer; without it, the log from its beginning."
    )
    types: EventTypes = Field(["*"], description="Names or families (`service_request.*`); repeat it for several.")
    limit: Annotated[int, Field(ge=1, le=LOG_LIMIT)] = 100


class LoggedEvents(Answer):
    items: list[dict[str, Any]] = Field(description="Envelopes, as on the socket, in the order of the log.")
    next_cursor: str = Field(description="Always there: ask again with it, at once or later. Nothing is skipped.")
    has_more: bool = Field(description="Whether there was more to read already; if not, wait a moment.")

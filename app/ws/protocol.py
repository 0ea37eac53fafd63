"""Frames of `/ws/notifications/`: one validated model for each operation; everything else is an error frame."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

BAD_AUTHENTICATION = 4401
FORBIDDEN_ORIGIN = 4403
ABUSE = 4408
TOO_SLOW = 4409
TOO_MANY_SOCKETS = 4429


class Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Resume(Frame):
    """Send everything since this event, then go on live. Some events may come twice; drop duplicates by id."""

    op: Literal["resume"]
    after: UUID


class Ping(Frame):
    op: Literal["ping"]


ClientFrame = TypeAdapter[Resume | Ping](Annotated[Resume | Ping, Field(discriminator="op")])


def error(code: str, detail: str) -> dict[str, str]:
    """A frame that was not understood or not carried out; the socket stays open."""
    return {"type": "error", "code": code, "detail": detail}

"""Frames of `/ws/notifications/`: one validated model for each operation; everything else is an error frame."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

BROKEN = 1011
RESTARTING = 1012
TRY_AGAIN = 1013
BAD_AUTHENTICATION = 4401
FORBIDDEN_ORIGIN = 4403
ABUSE = 4408
TOO_SLOW = 4409
TOO_MANY_SOCKETS = 4429


class Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Resume(Frame):
    """Send everything since this event, then go on live. Some events may come twice; drop duplicates by id.

    Events that arrive before the answer `{"type": "resumed"}` are live ones, ahead of what is missing: they come again
    in their place, so a client ignores them, and above all does not remember them as the last it has.
    """

    op: Literal["resume"]
    after: UUID


class Ping(Frame):
    op: Literal["ping"]


ClientFrame = TypeAdapter[Resume | Ping](Annotated[Resume | Ping, Field(discriminator="op")])


def error(code: str, detail: str) -> dict[str, str]:
    """A frame that was not understood or not carried out; the socket stays open."""
    return {"type": "error", "code": code, "detail": detail}

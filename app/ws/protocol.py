"""Frames of `/ws/notifications/`, both ways: one validated model for each, from which the documents are made too.

Whatever a client sends that is none of these is answered with an error frame. Events come as envelopes
(`kernel/events.py`), which alone have a member `event`.
"""

from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from app.schemas.base import Latitude, Longitude, Moment

BROKEN = 1011
RESTARTING = 1012
TRY_AGAIN = 1013
TOO_BIG = 1009
BAD_AUTHENTICATION = 4401
FORBIDDEN_ORIGIN = 4403
ABUSE = 4408
TOO_SLOW = 4409
TOO_MANY_SOCKETS = 4429


class Closing(NamedTuple):
    """Why the server closes, and what a client does then."""

    meaning: str
    remedy: str


CLOSINGS: Final = {
    RESTARTING: Closing("the server restarts", "reconnect at once, resume"),
    BROKEN: Closing("your side did not answer a ping, or something broke here", "reconnect, resume"),
    TRY_AGAIN: Closing("the server's database or Valkey is away", "wait, reconnect, resume"),
    TOO_BIG: Closing("a frame was larger than the server reads", "do not send such frames"),
    BAD_AUTHENTICATION: Closing(
        "no, wrong or spent authentication, or the session has ended", "refresh the token or sign in anew"
    ),
    FORBIDDEN_ORIGIN: Closing("this origin may not open sockets", "see the server's settings"),
    ABUSE: Closing("too many frames, or too many that made no sense", "repair the client"),
    TOO_SLOW: Closing("you did not read for too long; the reason is `resume`", "reconnect, resume"),
    TOO_MANY_SOCKETS: Closing("too many sockets of one user", "close some"),
}

Topic = Annotated[
    str,
    StringConstraints(
        max_length=128,
        pattern=r"^[a-z][a-z_]*:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    ),
    Field(
        description="A subject that the user takes part in: its kind, a colon, its id.",
        examples=["service_request:019bf0f1-8c00-7000-8000-000000000001"],
    ),
]
Accuracy = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False, description="Metres.")]


class Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def wire(self) -> dict[str, Any]:
        """What goes over the line; what is unknown is left out."""
        return self.model_dump(exclude_none=True)


class Resume(Frame):
    """Send everything since this event, then go on live. Some events may come twice; drop duplicates by id.

    Without `after`: since the event that this session acknowledged last. Events that arrive before the answer `resumed`
    are live ones, ahead of what is missing: they come again in their place, so a client ignores them, and above all
    does not remember them as the last it has.
    """

    op: Literal["resume"]
    after: UUID | None = None


class Ack(Frame):
    """The client has acted on this event and on all that came before it. Not answered; stored within a second.

    Kept for the session, which is one device: a device that opens several sockets remembers its own `after` for each.
    """

    op: Literal["ack"]
    id: UUID


class Ping(Frame):
    """A sign of life; answered with `pong`."""

    op: Literal["ping"]


class Subscribe(Frame):
    """Follow a subject live: who is there, who types, where they are. Answered with `subscribed`."""

    op: Literal["subscribe"]
    topic: Topic


class Unsubscribe(Frame):
    """Follow the subject no longer. Answered with `unsubscribed`."""

    op: Literal["unsubscribe"]
    topic: Topic


class Typing(Frame):
    """The user is typing, on a topic that this socket follows. Told to the others at most once a second."""

    op: Literal["typing"]
    topic: Topic


class SendPosition(Frame):
    """Where the user is, on a topic that this socket follows, if the subject lets them say so now.

    Told to the others at most once a second; what comes sooner is dropped. The newest is kept for two minutes.
    """

    op: Literal["position"]
    topic: Topic
    latitude: Latitude
    longitude: Longitude
    accuracy_metres: Accuracy | None = None


AnyClientFrame = Resume | Ack | Ping | Subscribe | Unsubscribe | Typing | SendPosition
ClientFrame = TypeAdapter[AnyClientFrame](Annotated[AnyClientFrame, Field(discriminator="op")])


class Ready(Frame):
    """The first frame: every event that is committed from now on arrives."""

    type: Literal["ready"] = "ready"


class Resumed(Frame):
    """What follows is everything since that event, and then what is new."""

    type: Literal["resumed"] = "resumed"
    after: UUID


class Pong(Frame):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"


class Error(Frame):
    """A frame was not understood or not carried out; the socket stays open."""

    type: Literal["error"] = "error"
    code: Literal[
        "frame_unknown",
        "frame_refused",
        "resume_unknown",
        "resume_too_old",
        "topic_unknown",
        "topic_not_followed",
        "topic_limit",
        "topic_unavailable",
        "position_refused",
    ]
    detail: str
    topic: Topic | None = None


class Subscribed(Frame):
    """The topic is followed; `presence` and the newest positions come next."""

    type: Literal["subscribed"] = "subscribed"
    topic: Topic


class Unsubscribed(Frame):
    """Nothing more comes about the topic: it was asked for, or the user takes part in the subject no longer."""

    type: Literal["unsubscribed"] = "unsubscribed"
    topic: Topic
    reason: Literal["asked", "left"]


class Presence(Frame):
    """Who follows the topic at this moment, of those whom the user sees; comes whenever that changes.

    Competitors for one customer see the customer and not one another.
    """

    type: Literal["presence"] = "presence"
    topic: Topic
    online: list[UUID]


class PartyTyping(Frame):
    """Somebody else is typing. Forget it after some seconds without another."""

    type: Literal["typing"] = "typing"
    topic: Topic
    user_id: UUID


class PartyPosition(Frame):
    """Where somebody else was at that time."""

    type: Literal["position"] = "position"
    topic: Topic
    user_id: UUID
    latitude: Latitude
    longitude: Longitude
    accuracy_metres: Accuracy | None = None
    timestamp: Moment


CLIENT_FRAMES: Final[tuple[type[Frame], ...]] = (Resume, Ack, Ping, Subscribe, Unsubscribe, Typing, SendPosition)
SERVER_FRAMES: Final[tuple[type[Frame], ...]] = (
    Ready, Resumed, Pong, Error, Subscribed, Unsubscribed, Presence, PartyTyping, PartyPosition,
)  # fmt: skip

NONSENSE: Final = frozenset({"frame_unknown", "frame_refused"})
"""Errors that no client of ours has reason to get again and again; the others depend on what happened meanwhile."""

_DETAILS: Final = {
    "frame_unknown": "The frame is not one of the documented operations.",
    "frame_refused": "Frames are JSON text of a few kilobytes at most.",
    "resume_unknown": "Fetch the lists anew; events go on live.",
    "resume_too_old": "Fetch the lists anew; events go on live.",
    "topic_unknown": "There is no such topic that you take part in.",
    "topic_not_followed": "Subscribe to the topic first.",
    "topic_limit": "As many topics as one socket may follow are followed.",
    "topic_unavailable": "The topic cannot be followed right now; try again.",
    "position_refused": "This subject takes no position from you at this moment.",
}


def error(code: str, topic: str | None = None) -> dict[str, Any]:
    """The error frame of this code."""
    return Error.model_validate({"code": code, "detail": _DETAILS[code], "topic": topic}).wire()

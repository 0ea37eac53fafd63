"""Events: closed models declared beside their noun, written to the outbox in the transaction of what they tell of.

The service chooses the recipients. After the commit the edge hints to their sockets; a lost hint delays an event, a
committed event is never lost (realtime.md: Events).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ARRAY, Uuid, bindparam, func, insert, select

from app.core.database import Session, Statement
from app.core.ids import uuid7
from app.core.valkey import STREAMS
from app.models.events import events, notifications

_declared: Final[dict[str, type["Event"]]] = {}


class Event(BaseModel):
    """A business fact, dotted and in the past tense. Its fields are the event's own flat data.

    `messages` holds one sentence per language, with the fields as placeholders; it is worded for the reader when the
    event is delivered, so the log itself speaks no language.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    messages: ClassVar[Mapping[str, str]]
    mailed: ClassVar[bool] = False
    """Whether the recipients also get the sentence by mail."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "name" not in vars(cls):
            return  # what several events of a noun have in common, and no event itself
        if cls.name in _declared:
            raise TypeError(f"two events are named {cls.name}")
        _declared[cls.name] = cls


def declared() -> Iterator[type[Event]]:
    """Every event of the product, by name: the source of the event catalogue."""
    return iter(sorted(_declared.values(), key=lambda event: event.name))


def envelope(row: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The one shape in which an event leaves the platform, on every channel."""
    name: str = row["name"]
    payload: dict[str, Any] = row["payload"]
    created_at: datetime = row["created_at"]
    return {
        "id": str(row["id"]),
        "name": name,
        "type": f"{name.partition('.')[0]}_update",
        "event": name.replace(".", "_").upper(),
        "timestamp": created_at.isoformat(),
        **payload,
        "message": message(name, payload, language),
    }


def message(name: str, payload: Mapping[str, Any], language: str) -> str:
    """The event's sentence in the reader's language, English where there is none yet."""
    if name not in _declared:
        return name  # written by a newer process, while old and new ones run side by side
    messages = _declared[name].messages
    return messages.get(language, messages["en"]).format_map(payload)


_INSERTED: Final = (
    insert(events)
    .values(
        id=bindparam("event_id", type_=Uuid),
        name=bindparam("name"),
        subject_type=bindparam("subject_type"),
        subject_id=bindparam("subject_id"),
        payload=bindparam("payload"),
    )
    .returning(events.c.id, events.c.seq)
    .cte("inserted")
)
_RECIPIENT: Final = func.unnest(bindparam("recipients", type_=ARRAY(Uuid))).column_valued("recipient")
_EMIT: Final = Statement(
    insert(notifications).from_select(
        ["user_id", "event_id", "seq"], select(_RECIPIENT, _INSERTED.c.id, _INSERTED.c.seq).distinct()
    )
)


async def emit(session: Session, event: Event, *, subject_type: str, subject_id: UUID, to: Iterable[UUID]) -> None:
    """Write an event that no transition declares, and its recipients, in one statement of the caller's transaction."""
    recipients = list(to)
    await session.execute(
        _EMIT,
        event_id=uuid7(),
        name=event.name,
        subject_type=subject_type,
        subject_id=subject_id,
        payload=event.model_dump(mode="json"),
        recipients=recipients,
    )
    session.tell(STREAMS, recipients)

"""Events: closed models declared beside their noun, written to the outbox in the transaction of what they tell of.

The service chooses the recipients. After the commit the edge hints to their sockets; a lost hint delays an event, a
committed event is never lost (realtime.md: Events).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    Text,
    Uuid,
    bindparam,
    column,
    insert,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import CTE

from app.core.database import Session, Statement
from app.core.ids import uuid7
from app.core.sql import constant, document, given
from app.core.valkey import STREAMS
from app.models.events import events, notifications
from app.models.notifications import Channel as Channel

PUSHED: Final = frozenset({Channel.PUSH})
MAILED: Final = frozenset({Channel.MAIL, Channel.PUSH})
EVERYWHERE: Final = frozenset(Channel)

_declared: Final[dict[str, type["Event"]]] = {}
_titles: Final[dict[str, Mapping[str, str]]] = {}


class Event(BaseModel):
    """A business fact, dotted and in the past tense. Its fields are the event's own flat data.

    `messages` holds one sentence per language, with the fields as placeholders; it is worded for the reader when the
    event is delivered, so the log itself speaks no language.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    messages: ClassVar[Mapping[str, str]]
    channels: ClassVar[frozenset[Channel]] = frozenset()
    """The ways by which the sentence also leaves, for recipients who have not switched them off."""
    on_request: ClassVar[frozenset[Channel]] = frozenset()
    """Further ways, for recipients who have switched them on."""
    mandatory: ClassVar[bool] = False
    """It is about the safety of the account: it leaves by its `channels` whatever its recipient has switched off."""
    urgent: ClassVar[bool] = False
    """It may wake a sleeping device."""
    withheld: ClassVar[Mapping[str, Any]] = {}
    """What stands for those of its fields that are nobody's but its recipients', where others read it."""

    @classmethod
    def family(cls) -> str:
        """What the names of events about the same thing begin with: what preferences are about."""
        return cls.name.partition(".")[0]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "name" not in vars(cls):
            return  # what several events of a noun have in common, and no event itself
        if cls.name in _declared:
            raise TypeError(f"two events are named {cls.name}")
        if (cls.mandatory and not cls.channels) or cls.channels & cls.on_request:
            raise TypeError(f"{cls.name}: mandatory by no channel, or by one both by default and on request")
        _declared[cls.name] = cls


def entitle(family: str, **titles: str) -> None:
    """Name a family of events, which is the part of their names before the dot, in each language: for preferences."""
    _titles[family] = titles


def title(family: str, language: str) -> str:
    """The family's title in the reader's language; its name, as words, where it has none."""
    titles = _titles.get(family, {})
    return titles.get(language) or titles.get("en") or family.replace("_", " ").capitalize()


def declaration(name: str) -> type[Event] | None:
    """The event of this name; None if a newer process wrote it, while old and new ones run side by side."""
    return _declared.get(name)


def declared() -> Iterator[type[Event]]:
    """Every event of the product, by name: the source of the event catalogue."""
    return iter(sorted(_declared.values(), key=lambda event: event.name))


def envelope(row: Mapping[str, Any], language: str, *, quiet: bool = False) -> dict[str, Any]:
    """The one shape in which an event leaves the platform, on every channel.

    `quiet` marks it for a reader whom it does not notify, and whose lists follow it.
    """
    name: str = row["name"]
    payload: dict[str, Any] = row["payload"]
    created_at: datetime = row["created_at"]
    shape = {
        "id": str(row["id"]),
        "name": name,
        "type": f"{name.partition('.')[0]}_update",
        "event": name.replace(".", "_").upper(),
        "timestamp": created_at.isoformat(),
        **payload,
        "message": message(name, payload, language),
    }
    return shape | {"quiet": True} if quiet else shape


def without_confidences(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of an event for a reader to whom it was not addressed."""
    declared = declaration(row["name"])
    return row if declared is None else {**row, "payload": row["payload"] | declared.withheld}


def message(name: str, payload: Mapping[str, Any], language: str) -> str:
    """The event's sentence in the reader's language, English where there is none yet."""
    if name not in _declared:
        return name  # written by a newer process, while old and new ones run side by side
    messages = _declared[name].messages
    return messages.get(language, messages["en"]).format_map(payload)


def log_entry(
    event: type[Event],
    event_id: ColumnElement[Any],
    subject: tuple[str, ColumnElement[Any]],
    payload: Mapping[str, ColumnElement[Any]],
) -> Select[Any]:
    """The row of an event whose payload the statement makes; `TypeError` unless it has just the fields of the model.

    The caller says from where, and under which condition.
    """
    if set(payload) != set(event.model_fields):
        raise TypeError(f"{event.name}: payload and model differ in {set(payload) ^ set(event.model_fields)}")
    subject_type, subject_id = subject
    return select(event_id, constant(event.name), constant(subject_type), subject_id, document(payload))


def emission(entry: Select[Any], readers: Select[Any], *, suffix: str = "") -> tuple[CTE, CTE]:
    """The parts of a statement that write an event, if `entry` has a row, and its recipients, whose ids the second has.

    `readers` selects each `user_id` once, and whether that user is not to be notified (`quiet`): devices of theirs get
    it even so, so that their lists follow. The names of the parts end in `suffix`.
    """
    event = (
        insert(events)
        .from_select(["id", "name", "subject_type", "subject_id", "payload"], entry)
        .returning(events.c.id, events.c.seq)
        .cte(f"event{suffix}")
    )
    each = readers.subquery(f"readers{suffix}")
    notified = (
        insert(notifications)
        .from_select(
            ["user_id", "event_id", "seq", "quiet"],
            select(each.c.user_id, event.c.id, event.c.seq, each.c.quiet).select_from(each.join(event, true())),
        )
        .returning(notifications.c.user_id)
        .cte(f"notified{suffix}")
    )
    return event, notified


_ENTRY: Final = select(
    bindparam("event_id", type_=Uuid),
    bindparam("name", type_=Text),
    bindparam("subject_type", type_=Text),
    bindparam("subject_id", type_=Uuid),
    bindparam("payload", type_=JSONB),
)
_RECIPIENTS: Final = given(
    "recipients",
    recipients=column("user_id", Uuid),
    quiet=column("quiet", Boolean),
)
_EMIT: Final = Statement(select(literal_column("1")).add_cte(*emission(_ENTRY, select(_RECIPIENTS))))


async def emit(
    session: Session,
    event: Event,
    *,
    subject_type: str,
    subject_id: UUID,
    to: Iterable[UUID],
    quietly_to: Iterable[UUID] = (),
) -> None:
    """Write an event that no transition declares, and its recipients, in one statement of the caller's transaction.

    Those of `quietly_to` are not notified: their sockets get it, so that their lists follow.
    """
    quiet = dict.fromkeys(quietly_to, True) | dict.fromkeys(to, False)
    await session.execute(
        _EMIT,
        event_id=uuid7(),
        name=event.name,
        subject_type=subject_type,
        subject_id=subject_id,
        payload=event.model_dump(mode="json"),
        recipients=list(quiet),
        quiet=list(quiet.values()),
    )
    session.tell(STREAMS, quiet)

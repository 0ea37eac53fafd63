"""Which events somebody wants: by name, by family (`service_request.*`), or all (`*`)."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, any_, func, or_

from app.core.errors import Unprocessable
from app.core.sql import constant
from app.kernel.events import declared

EVERY: Final = "*"


class EventTypeUnknown(Unprocessable):
    code, title = "event_type_unknown", "There is no event of this name or family; see the event catalogue."


def check(types: Iterable[str]) -> None:
    """`EventTypeUnknown` for a word that no declared event answers to: a misspelt one would be awaited for ever."""
    names = {event.name for event in declared()}
    known = names | {f"{name.partition('.')[0]}.*" for name in names} | {EVERY}
    if unknown := sorted(set(types) - known):
        raise EventTypeUnknown(event_types=unknown)


def matches(name: ColumnElement[Any], types: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the name of an event answers to one of an array of words.

    Told by the words and not by what they stand for here: a newer process may have written an event that this one does
    not know yet, and it is of a family that was asked for nevertheless.
    """
    family = func.split_part(name, constant("."), 1, type_=Text).concat(constant(".*"))
    wanted = any_(types)
    return or_(name == wanted, family == wanted, constant(EVERY) == wanted)

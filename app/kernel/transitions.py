"""What a lifecycle is declared with: transitions, guards, events, deadlines. `lifecycle.py` runs them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Delete,
    Insert,
    Select,
    Table,
    Text,
    Update,
    Uuid,
    bindparam,
)
from sqlalchemy.sql import ColumnCollection

from app.core.errors import Conflict, Problem
from app.core.sql import constants
from app.kernel.events import Event

ACTOR: Final[ColumnElement[UUID]] = bindparam("actor_id", type_=Uuid)
_ACTOR_ROLES: Final = bindparam("actor_roles", type_=ARRAY(Text))

Columns = ColumnCollection[str, ColumnElement[Any]]
Refusal = Callable[[], Problem]


def actor_has(*roles: str) -> ColumnElement[bool]:
    """The actor holds one of these roles."""
    return _ACTOR_ROLES.op("&&", is_comparison=True)(constants(roles))


class IllegalTransition(Conflict):
    """The status does not allow the action; `current_status` and `allowed_actions` tell."""

    code, title = "illegal_transition", "The current status does not allow this action."


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on the row and the actor, and the refusal of whoever does not meet it."""

    condition: ColumnElement[bool]
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Emit:
    """An event that a transition writes: who hears of it, and where each field of its payload comes from.

    `to` and `payload` are given the columns of the moved row. `to` answers a column of user ids or a SELECT of them;
    None, if nobody is to be notified.
    """

    event: type[Event]
    to: Callable[[Columns], ColumnElement[Any] | Select[Any]] | None
    payload: Callable[[Columns], Mapping[str, ColumnElement[Any]]]
    up_to: str | None = None
    """The setting that bounds the number of recipients; the first ones of the SELECT are taken."""
    quietly_to: Callable[[Columns], ColumnElement[Any] | Select[Any]] | None = None
    """Whose lists show what the transition changes, without their having to be notified: above all whoever took it, on
    other devices. They must be few, and may know all of the payload. `to` comes first for who is in both."""
    only_if: Callable[[Columns], ColumnElement[bool]] | None = None
    """Whether it has happened at all, where that depends on the row."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """`after` names the setting that holds the seconds from now; None takes the deadline away."""

    kind: str
    after: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A new status that depends on the row: that of the first condition that holds, or the last one given."""

    cases: Sequence[tuple[ColumnElement[bool], StrEnum]]
    otherwise: StrEnum


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table: who may take which status where, what is recorded, and who hears of it."""

    action: StrEnum
    sources: frozenset[StrEnum]
    target: StrEnum | Mapping[StrEnum, StrEnum] | Choice
    """The new status; or the new status for some sources, while the others keep theirs; or one that the row decides."""
    who: str
    """Who may do it, in words, for the documentation; `allowed` decides."""
    allowed: Guard | None
    """None: only the platform itself, in the course of something else that was allowed or was due."""
    guards: Sequence[Guard] = ()
    records: Sequence[str] = ()
    """Columns that the caller gives; they are in the audit row too."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Columns with a fixed expression over the row."""
    recalls: Sequence[str] = ()
    """Columns whose value before the transition the events are given too, as `from_<column>`."""
    emits: Sequence[Emit] = ()
    deadlines: Sequence[Deadline] = ()
    also: Callable[[Columns], Sequence[Insert | Update | Delete]] = lambda _: ()
    """Further writes of the same statement."""
    refusals: Mapping[StrEnum, Refusal] = field(default_factory=dict)
    """Wordings of their own for some statuses in which the action is illegal."""

    def targets_from(self, source: str) -> list[str]:
        """Where the action can lead from this status."""
        if isinstance(self.target, StrEnum):
            return [self.target]
        if isinstance(self.target, Choice):
            return [*(status for _, status in self.target.cases), self.target.otherwise]
        return [{str(status): str(target) for status, target in self.target.items()}.get(source, source)]


@dataclass(frozen=True, slots=True)
class Creation:
    """How a subject comes into the world: its first status and what goes with it."""

    status: StrEnum
    who: str
    emits: Sequence[Emit] = ()
    deadlines: Sequence[Deadline] = ()
    also: Callable[[Columns], Sequence[Insert | Update | Delete]] = lambda _: ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """A whole lifecycle, as a noun declares it."""

    subject: str
    table: Table
    statuses: type[StrEnum]
    creation: Creation
    transitions: Mapping[str, Transition]
    visible: ColumnElement[bool]
    """Whether the actor may know of a row at all."""

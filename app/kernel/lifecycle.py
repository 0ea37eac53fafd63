"""Lifecycles: a noun declares one table of transitions; each row is compiled, at start, into one SQL statement.

The statement locks the row, compares its status and the guards, sets the new status, and writes the audit row, the
deadlines, the events and their recipients, all or nothing. `Lifecycle.create` and `Lifecycle.advance` are the only code
that sets a status. `tests/kernel/test_lifecycle.py` shows a small one; `docs/lifecycles.md` is drawn from the tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Table, true

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import ReadSession, Row, Session, Statement
from app.core.errors import Conflict, NotFound, Problem
from app.core.ids import uuid7
from app.core.sql import constant, constants
from app.core.valkey import STREAMS
from app.kernel.lifecycle_sql import compile_creation, compile_explanation, compile_transition
from app.kernel.transitions import (
    ACTOR,
    Choice,
    Columns,
    Creation,
    Deadline,
    Declaration,
    Emit,
    Guard,
    IllegalTransition,
    Refusal,
    Transition,
    actor_has,
)

__all__ = [
    "ACTOR", "LIFECYCLES", "Choice", "Columns", "Creation", "Deadline", "Declaration", "Emit", "Guard",
    "IllegalTransition", "Lifecycle", "Refusal", "Transition", "actor_has", "constant", "constants",
]  # fmt: skip


class Lifecycle:
    """The declared transitions of one table.

    `visible` decides whether a caller may know of a row at all, and with it between 404 and the other refusals; every
    `allowed` must imply it.
    """

    def __init__(
        self,
        subject: str,
        table: Table,
        statuses: type[StrEnum],
        creation: Creation,
        transitions: Iterable[Transition],
        *,
        visible: ColumnElement[bool] | None = None,
    ) -> None:
        by_action: dict[str, Transition] = {transition.action: transition for transition in transitions}
        seen = true() if visible is None else visible
        self.declared = Declaration(subject, table, statuses, creation, by_action, seen)
        self._compiled = {action: _Compiled(self.declared, transition) for action, transition in by_action.items()}
        self._creations: dict[frozenset[str], Statement] = {}
        LIFECYCLES[subject] = self

    async def create(self, session: Session, actor: Actor, values: Mapping[str, Any]) -> Row:
        """Insert a subject in its first status, with its audit row, deadlines and events, in one statement."""
        columns = frozenset(values)
        statement = self._creations.get(columns)
        if statement is None:
            statement = self._creations[columns] = compile_creation(self.declared, columns)
        row = await session.first(
            statement,
            **values,
            actor_id=actor.id,
            **_event_values(self.declared.creation.emits),
            **_deadline_seconds(self.declared.creation.deadlines),
        )
        assert row is not None  # noqa: S101 - an INSERT without conflict clause returns its row
        session.tell(STREAMS, row["recipients"])
        return row

    async def advance(
        self,
        session: Session,
        subject_id: UUID,
        action: StrEnum,
        actor: Actor,
        *,
        reason: str | None = None,
        **values: Any,
    ) -> Row:
        """Take one transition, or raise: `NotFound`, the declared refusal of a guard, or `IllegalTransition`.

        The row lock of the compiled statement makes concurrent calls queue up; each compares the status anew when its
        turn comes, so of many that want to leave one status exactly one does.
        """
        compiled = self._compiled[action]
        common = {"subject_id": subject_id, "actor_id": actor.id, "actor_roles": list(actor.roles), **values}
        row = await session.first(compiled.statement, **compiled.pick(common | {"reason": reason}))
        if row is None:
            raise await self._explain(session, compiled, common)
        session.tell(STREAMS, row["recipients"])
        return row

    async def check(self, session: ReadSession, subject_id: UUID, action: StrEnum, actor: Actor) -> None:
        """Raise what `advance` would raise at this moment, change nothing; for who has to know before paying, say.

        Only for transitions whose guards ask for nothing but the row and the actor.
        """
        compiled = self._compiled[action]
        common = {"subject_id": subject_id, "actor_id": actor.id, "actor_roles": list(actor.roles)}
        row = await self._look(session, compiled, common)
        if row is None or not _may_take(row, compiled.transition):
            raise self._refusal(row, compiled.transition)

    async def _look(self, session: ReadSession, compiled: "_Compiled", common: Mapping[str, Any]) -> Row | None:
        names = compiled.explanation.names
        return await session.first(compiled.explanation, **{k: v for k, v in common.items() if k in names})

    async def _explain(self, session: Session, compiled: "_Compiled", common: Mapping[str, Any]) -> Problem:
        """Why nothing moved: one more look, for the wording only; it may see a newer state than the refusal did."""
        return self._refusal(await self._look(session, compiled, common), compiled.transition)

    def _refusal(self, row: Row | None, transition: Transition) -> Problem:
        if row is None or not row["visible"]:
            return NotFound()
        status = self.declared.statuses(row["status"])
        if transition.allowed is not None and not row["allowed"]:
            return transition.allowed.refusal()
        guards = transition.guards if status in transition.sources else ()
        failed = [guard.refusal for index, guard in enumerate(guards) if not row[f"guard_{index}"]]
        problem = failed[0]() if failed else transition.refusals.get(status, IllegalTransition)()
        if not isinstance(problem, Conflict):
            return problem
        problem.extra |= {
            "current_status": status,
            "allowed_actions": sorted(a for a in self.declared.transitions if row[f"may_{a}"]),
        }
        return problem


def _may_take(row: Row, transition: Transition) -> bool:
    guards = all(row[f"guard_{index}"] for index in range(len(transition.guards)))
    return bool(row["visible"] and row["allowed"] and row["status"] in transition.sources and guards)


LIFECYCLES: Final[dict[str, Lifecycle]] = {}
"""Every declared lifecycle by the name of its subject: the source of the diagrams and of `GET /api/v1/lifecycles`."""


class _Compiled:
    """The two statements of one transition: the one that moves, and the one that tells why nothing moved."""

    def __init__(self, declared: Declaration, transition: Transition) -> None:
        self.transition = transition
        self.statement = compile_transition(declared, transition)
        self.explanation = compile_explanation(declared, transition)

    def pick(self, values: dict[str, Any]) -> dict[str, Any]:
        names = self.statement.names
        values |= _event_values(self.transition.emits) | _deadline_seconds(self.transition.deadlines)
        optional = {"actor_id", "actor_roles", "reason"}
        return {name: value for name, value in values.items() if name in names or name not in optional}


def _event_values(emits: Sequence[Emit]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for index, emit in enumerate(emits):
        values[f"event_{index}_id"] = uuid7()
        if emit.up_to is not None:
            values[f"event_{index}_limit"] = getattr(settings(), emit.up_to)
    return values


def _deadline_seconds(declared: Sequence[Deadline]) -> dict[str, float]:
    return {f"{d.kind}_seconds": getattr(settings(), d.after) for d in declared if d.after is not None}

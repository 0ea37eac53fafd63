"""Lifecycles: a noun declares one table of transitions; each row is compiled, at start, into one SQL statement.

The statement locks the row, compares its status and the guards, sets the new status, and writes the audit row, the
deadlines, the events and their recipients, all or nothing. `Lifecycle.create` and `Lifecycle.advance` are the only code
that sets a status. `tests/kernel/test_lifecycle.py` shows a small one; `docs/lifecycles.md` is drawn from the tables.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Delete,
    Double,
    FromClause,
    Insert,
    Select,
    Table,
    Text,
    Update,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    cast,
    delete,
    false,
    func,
    insert,
    literal_column,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql import ColumnCollection
from sqlalchemy.sql.selectable import CTE

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import ReadSession, Row, Session, Statement
from app.core.errors import Conflict, NotFound, Problem
from app.core.ids import uuid7
from app.core.valkey import STREAMS
from app.kernel.events import Event
from app.models.audit import audit_trail
from app.models.deadlines import deadlines
from app.models.events import events, notifications

ACTOR: Final[ColumnElement[UUID]] = bindparam("actor_id", type_=Uuid)
_ACTOR_ROLES: Final = bindparam("actor_roles", type_=ARRAY(Text))

_ONE_SECOND: Final[ColumnElement[Any]] = literal_column("interval '1 second'")

Columns = ColumnCollection[str, ColumnElement[Any]]
Refusal = Callable[[], Problem]


def actor_has(*roles: str) -> ColumnElement[bool]:
    """The actor holds one of these roles."""
    return _ACTOR_ROLES.op("&&", is_comparison=True)(constants(roles))


def constant(value: str) -> ColumnElement[str]:
    """A word that is part of the statement's text, so that it costs no parameter on each call."""
    return literal_column("'" + value.replace("'", "''") + "'", Text)


def constants(values: Iterable[str]) -> ColumnElement[Sequence[str]]:
    """A fixed list of words, to compare with `any_`."""
    return cast(literal_column("'{" + ",".join(sorted(values)) + "}'"), ARRAY(Text))


class IllegalTransition(Conflict):
    """The status does not allow the action; `status` and `allowed_actions` tell what it is and what it allows."""

    code, title = "illegal_transition", "The current status does not allow this action."


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on the row and the actor, and the refusal of whoever does not meet it."""

    condition: ColumnElement[bool]
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Emit:
    """An event that a transition writes: who hears of it, and where each field of its payload comes from.

    `to` and `payload` are given the columns of the moved row. `to` answers a column of user ids or a SELECT of them.
    """

    event: type[Event]
    to: Callable[[Columns], ColumnElement[Any] | Select[Any]]
    payload: Callable[[Columns], Mapping[str, ColumnElement[Any]]]
    up_to: str | None = None
    """The setting that bounds the number of recipients; the first ones of the SELECT are taken."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """`after` names the setting that holds the seconds from now; None takes the deadline away."""

    kind: str
    after: str | None


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table: who may take which status where, what is recorded, and who hears of it."""

    action: StrEnum
    sources: frozenset[StrEnum]
    target: StrEnum | Mapping[StrEnum, StrEnum]
    """The new status, or the new status for some sources; the others keep theirs."""
    who: str
    """Who may do it, in words, for the documentation; `allowed` decides."""
    allowed: Guard | None
    """None: only the platform itself, in the course of something else that was allowed or was due."""
    guards: Sequence[Guard] = ()
    records: Sequence[str] = ()
    """Columns that the caller gives; they are in the audit row too."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Columns with a fixed expression over the row."""
    emits: Sequence[Emit] = ()
    deadlines: Sequence[Deadline] = ()
    also: Callable[[Columns], Sequence[Insert | Update | Delete]] = lambda _: ()
    """Further writes of the same statement."""
    refusals: Mapping[StrEnum, Refusal] = field(default_factory=dict)
    """Wordings of their own for some statuses in which the action is illegal."""

    def target_from(self, source: str) -> str:
        """Where the action leads from this status."""
        if isinstance(self.target, StrEnum):
            return self.target
        return {str(status): str(target) for status, target in self.target.items()}.get(source, source)


@dataclass(frozen=True, slots=True)
class Creation:
    """How a subject comes into the world: its first status and what goes with it."""

    status: StrEnum
    who: str
    emits: Sequence[Emit] = ()
    deadlines: Sequence[Deadline] = ()
    also: Callable[[Columns], Sequence[Insert | Update | Delete]] = lambda _: ()


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
        self.subject = subject
        self.table = table
        self.statuses = statuses
        self.creation = creation
        self.transitions: Mapping[str, Transition] = {t.action: t for t in transitions}
        self._visible = true() if visible is None else visible
        self._compiled = {action: _Compiled(self, t) for action, t in self.transitions.items()}
        self._seen = Statement(select(self._visible).where(table.c.id == bindparam("subject_id", type_=Uuid)))
        self._creations: dict[frozenset[str], Statement] = {}
        LIFECYCLES[subject] = self

    async def create(self, session: Session, actor: Actor, values: Mapping[str, Any]) -> Row:
        """Insert a subject in its first status, with its audit row, deadlines and events, in one statement."""
        columns = frozenset(values)
        statement = self._creations.get(columns)
        if statement is None:
            statement = self._creations[columns] = _compile_creation(self, columns)
        row = await session.first(
            statement,
            **values,
            actor_id=actor.id,
            **_event_values(self.creation.emits),
            **_deadline_seconds(self.creation.deadlines),
        )
        assert row is not None  # noqa: S101 - an INSERT without conflict clause returns its row
        session.hints[STREAMS].update(row["recipients"])
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
        session.hints[STREAMS].update(row["recipients"])
        return row

    async def visible_to(self, session: ReadSession, subject_id: UUID, actor: Actor) -> bool:
        """Whether this subject exists as far as the actor is concerned."""
        seen = await session.scalar(
            self._seen, **self._seen.known(subject_id=subject_id, actor_id=actor.id, actor_roles=list(actor.roles))
        )
        return bool(seen)

    async def _explain(self, session: Session, compiled: "_Compiled", common: Mapping[str, Any]) -> Problem:
        """Why nothing moved: one more look, for the wording only; it may see a newer state than the refusal did."""
        row = await session.first(
            compiled.explanation, **{k: v for k, v in common.items() if k in compiled.explanation.names}
        )
        if row is None or not row["visible"]:
            return NotFound()
        transition = compiled.transition
        status = self.statuses(row["status"])
        if transition.allowed is not None and not row["allowed"]:
            return transition.allowed.refusal()
        for index, guard in enumerate(transition.guards):
            if status in transition.sources and not row[f"guard_{index}"]:
                return guard.refusal()
        problem = transition.refusals.get(status, IllegalTransition)()
        problem.extra |= {"status": status, "allowed_actions": sorted(a for a in self.transitions if row[f"may_{a}"])}
        return problem


LIFECYCLES: Final[dict[str, Lifecycle]] = {}
"""Every declared lifecycle by the name of its subject: the source of the diagrams and of `GET /api/v1/lifecycles`."""


class _Compiled:
    """The two statements of one transition: the one that moves, and the one that tells why nothing moved."""

    def __init__(self, lifecycle: Lifecycle, transition: Transition) -> None:
        self.transition = transition
        self.statement = _compile_transition(lifecycle, transition)
        self.explanation = _compile_explanation(lifecycle, transition)

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


def _compile_transition(lifecycle: Lifecycle, transition: Transition) -> Statement:
    table = lifecycle.table
    # The lock comes first and alone: every condition below is then about the row as its last holder left it.
    old = (
        select(table.c.id, table.c.status)
        .where(table.c.id == bindparam("subject_id", type_=Uuid))
        .with_for_update(key_share=True)
        .cte("old")
    )
    conditions = [guard.condition for guard in transition.guards]
    if transition.allowed is not None:
        conditions.append(transition.allowed.condition)
    moved = (
        update(table)
        .where(table.c.id == old.c.id, old.c.status == any_(constants(transition.sources)))
        .where(*conditions)
        .values(
            status=_target(transition, old.c.status),
            updated_at=func.now(),
            **{column: bindparam(column, type_=table.c[column].type) for column in transition.records},
            **transition.sets,
        )
        .returning(*table.c, old.c.status.label("from_status"))
        .cte("moved")
    )
    details = {column: moved.c[column] for column in transition.records}
    trail = _audit(lifecycle, moved, transition.action, moved.c.from_status, bindparam("reason", type_=Text), details)
    return _with_consequences(lifecycle, moved, transition, trail)


def _compile_creation(lifecycle: Lifecycle, columns: frozenset[str]) -> Statement:
    table = lifecycle.table
    made = (
        insert(table)
        .values(
            status=constant(lifecycle.creation.status),
            **{column: bindparam(column, type_=table.c[column].type) for column in sorted(columns)},
        )
        .returning(*table.c)
        .cte("moved")
    )
    trail = _audit(lifecycle, made, "create", cast(null(), Text), cast(null(), Text), {})
    return _with_consequences(lifecycle, made, lifecycle.creation, trail)


def _with_consequences(lifecycle: Lifecycle, moved: CTE, declared: Transition | Creation, trail: CTE) -> Statement:
    """Everything that happens because the row moved, as parts of the same statement."""
    parts = [trail]
    heard: list[Select[Any]] = []
    for index, emit in enumerate(declared.emits):
        event, notified = _emission(lifecycle, moved, emit, index)
        parts += [event, notified]
        heard.append(select(notified.c.user_id))
    parts += [_deadline(lifecycle, moved, deadline) for deadline in declared.deadlines]
    parts += [write.cte(f"also_{index}") for index, write in enumerate(declared.also(moved.c))]
    recipients = (
        func.array(heard[0].union_all(*heard[1:]).scalar_subquery())
        if heard
        else cast(literal_column("'{}'"), ARRAY(Uuid))
    )
    return Statement(select(moved, recipients.label("recipients")).add_cte(*parts))


def _target(transition: Transition, status: ColumnElement[str]) -> ColumnElement[str]:
    if isinstance(transition.target, StrEnum):
        return constant(transition.target)
    return case(
        *((status == constant(source), constant(target)) for source, target in transition.target.items()), else_=status
    )


def _audit(
    lifecycle: Lifecycle,
    moved: CTE,
    action: str,
    from_status: ColumnElement[Any],
    reason: ColumnElement[Any],
    details: Mapping[str, ColumnElement[Any]],
) -> CTE:
    row = select(
        constant(lifecycle.subject),
        moved.c.id,
        constant(action),
        from_status,
        moved.c.status,
        ACTOR,
        reason,
        _json(details),
    )
    columns = ["subject_type", "subject_id", "action", "from_status", "to_status", "actor_id", "reason", "details"]
    return insert(audit_trail).from_select(columns, row).cte("trail")


def _emission(lifecycle: Lifecycle, moved: CTE, emit: Emit, index: int) -> tuple[CTE, CTE]:
    payload = emit.payload(moved.c)
    if set(payload) != set(emit.event.model_fields):
        raise TypeError(f"{emit.event.name}: payload and model differ in {set(payload) ^ set(emit.event.model_fields)}")
    row = select(
        bindparam(f"event_{index}_id", type_=Uuid),
        constant(emit.event.name),
        constant(lifecycle.subject),
        moved.c.id,
        _json(payload),
    )
    event = (
        insert(events)
        .from_select(["id", "name", "subject_type", "subject_id", "payload"], row)
        .returning(events.c.id, events.c.seq)
        .cte(f"event_{index}")
    )
    to = emit.to(moved.c)
    if isinstance(to, Select):
        if emit.up_to is not None:
            to = to.limit(bindparam(f"event_{index}_limit"))
        reader: FromClause = to.subquery(f"readers_{index}")
        readers = select(reader.c[0], event.c.id, event.c.seq).select_from(reader.join(event, true())).distinct()
    else:
        readers = select(to, event.c.id, event.c.seq).select_from(moved.join(event, true()))
    notified = (
        insert(notifications)
        .from_select(["user_id", "event_id", "seq"], readers)
        .returning(notifications.c.user_id)
        .cte(f"notified_{index}")
    )
    return event, notified


def _deadline(lifecycle: Lifecycle, moved: CTE, deadline: Deadline) -> CTE:
    if deadline.after is None:
        gone = delete(deadlines).where(
            deadlines.c.subject_id == moved.c.id, deadlines.c.kind == constant(deadline.kind)
        )
        return gone.cte(f"cleared_{deadline.kind}")
    due_at = func.now() + bindparam(f"{deadline.kind}_seconds", type_=Double) * _ONE_SECOND
    row = select(moved.c.id, constant(deadline.kind), constant(lifecycle.subject), due_at)
    statement = upsert(deadlines).from_select(["subject_id", "kind", "subject_type", "due_at"], row)
    changed = {"due_at": statement.excluded.due_at, "failures": 0}
    return statement.on_conflict_do_update(index_elements=["subject_id", "kind"], set_=changed).cte(
        f"set_{deadline.kind}"
    )


def _compile_explanation(lifecycle: Lifecycle, transition: Transition) -> Statement:
    """The row's status, whether the actor may see it, which guards hold, and which actions it may take now."""
    table = lifecycle.table
    allowed = true() if transition.allowed is None else transition.allowed.condition
    guards = [guard.condition.label(f"guard_{index}") for index, guard in enumerate(transition.guards)]
    may = [
        and_(
            table.c.status == any_(constants(other.sources)),
            cast(false(), Boolean) if other.allowed is None else other.allowed.condition,
        ).label(f"may_{action}")
        for action, other in lifecycle.transitions.items()
    ]
    return Statement(
        select(table.c.status, lifecycle._visible.label("visible"), allowed.label("allowed"), *guards, *may).where(
            table.c.id == bindparam("subject_id", type_=Uuid)
        )
    )


def _json(values: Mapping[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    if not values:
        return cast(null(), JSONB)
    pairs = [part for key, value in values.items() for part in (constant(key), value)]
    return func.jsonb_build_object(*pairs, type_=JSONB)

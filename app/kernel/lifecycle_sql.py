"""From a declared transition to its one SQL statement.

    old     the row's status and what else is recalled, under its lock
    moved   the row, updated if the status and every guard allow it
    trail   the audit row
    event_* and notified_*   the outbox and the recipients
    set_* and cleared_*      deadlines
    also_*  what else the noun declared

Everything after `moved` reads from it, so nothing happens unless the row moved.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Boolean,
    ColumnElement,
    Double,
    Select,
    Text,
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
from sqlalchemy.sql.selectable import CTE
from sqlalchemy.sql.visitors import iterate

from app.core.database import Statement
from app.core.sql import constant, constants, document
from app.kernel.events import emission, log_entry
from app.kernel.transitions import ACTOR, Choice, Creation, Deadline, Declaration, Emit, Transition
from app.models.audit import audit_trail
from app.models.deadlines import deadlines

_ONE_SECOND: Final[ColumnElement[Any]] = literal_column("interval '1 second'")


def compile_transition(declared: Declaration, transition: Transition) -> Statement:
    """The statement that moves one row, or answers none; `compile_explanation` then tells why."""
    table = declared.table
    recalled = ("status", *transition.recalls)
    # The lock comes first and alone: every condition below is then about the row as its last holder left it.
    old = (
        select(table.c.id, *(table.c[column] for column in recalled))
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
        .returning(*table.c, *(old.c[column].label(f"from_{column}") for column in recalled))
        .cte("moved")
    )
    details = {column: moved.c[column] for column in transition.records}
    trail = _audit(declared, moved, transition.action, moved.c.from_status, bindparam("reason", type_=Text), details)
    return _with_consequences(declared, moved, transition, trail)


def compile_creation(declared: Declaration, columns: frozenset[str]) -> Statement:
    """The statement that inserts a row of which the caller gives these columns."""
    table = declared.table
    made = (
        insert(table)
        .values(
            status=constant(declared.creation.status),
            **{column: bindparam(column, type_=table.c[column].type) for column in sorted(columns)},
        )
        .returning(*table.c)
        .cte("moved")
    )
    trail = _audit(declared, made, "create", cast(null(), Text), cast(null(), Text), {})
    return _with_consequences(declared, made, declared.creation, trail)


def _with_consequences(declared: Declaration, moved: CTE, step: Transition | Creation, trail: CTE) -> Statement:
    """Everything that happens because the row moved, as parts of the same statement."""
    parts = [trail]
    heard: list[Select[Any]] = []
    for index, emit in enumerate(step.emits):
        event, notified = _emission(declared, moved, emit, index)
        parts += [event, notified]
        heard.append(select(notified.c.user_id))
    parts += [_deadline(declared, moved, deadline) for deadline in step.deadlines]
    parts += [write.cte(f"also_{index}") for index, write in enumerate(step.also(moved.c))]
    recipients = (
        func.array(heard[0].union_all(*heard[1:]).scalar_subquery())
        if heard
        else cast(literal_column("'{}'"), ARRAY(Uuid))
    )
    return Statement(select(moved, recipients.label("recipients")).add_cte(*parts))


def _target(transition: Transition, status: ColumnElement[str]) -> ColumnElement[str]:
    if isinstance(transition.target, StrEnum):
        return constant(transition.target)
    if isinstance(transition.target, Choice):
        cases = ((condition, constant(target)) for condition, target in transition.target.cases)
        return case(*cases, else_=constant(transition.target.otherwise))
    return case(
        *((status == constant(source), constant(target)) for source, target in transition.target.items()), else_=status
    )


def _audit(
    declared: Declaration,
    moved: CTE,
    action: str,
    from_status: ColumnElement[Any],
    reason: ColumnElement[Any],
    details: Mapping[str, ColumnElement[Any]],
) -> CTE:
    row = select(
        constant(declared.subject),
        moved.c.id,
        constant(action),
        from_status,
        moved.c.status,
        ACTOR,
        reason,
        document(details) if details else cast(null(), JSONB),
    )
    columns = ["subject_type", "subject_id", "action", "from_status", "to_status", "actor_id", "reason", "details"]
    return insert(audit_trail).from_select(columns, row).cte("trail")


def _emission(declared: Declaration, moved: CTE, emit: Emit, index: int) -> tuple[CTE, CTE]:
    event_id = bindparam(f"event_{index}_id", type_=Uuid)
    entry = log_entry(emit.event, event_id, (declared.subject, moved.c.id), emit.payload(moved.c))
    if emit.only_if is not None:
        entry = entry.where(emit.only_if(moved.c))
    limit: BindParameter[int] | None = None if emit.up_to is None else bindparam(f"event_{index}_limit")
    heard = [
        _heard(to(moved.c), moved, bound, is_quiet)
        for to, bound, is_quiet in ((emit.to, limit, false()), (emit.quietly_to, None, true()))
        if to is not None
    ]
    everybody = heard[0].union_all(*heard[1:]).subquery()
    # Once for each, and aloud if in any way.
    readers = select(everybody.c.user_id, func.bool_and(everybody.c.quiet).label("quiet")).group_by(everybody.c.user_id)
    return emission(entry, readers, suffix=f"_{index}")


def _heard(
    to: ColumnElement[Any] | Select[Any], moved: CTE, limit: BindParameter[Any] | None, is_quiet: ColumnElement[bool]
) -> Select[Any]:
    """The users that `to` names, and whether they are told quietly."""
    if not isinstance(to, Select):
        return select(to.label("user_id"), is_quiet.label("quiet")).select_from(moved)
    named = (to if limit is None else to.limit(limit)).subquery()
    return select(named.c[0].label("user_id"), is_quiet.label("quiet"))


def _deadline(declared: Declaration, moved: CTE, deadline: Deadline) -> CTE:
    if deadline.after is None:
        gone = delete(deadlines).where(
            deadlines.c.subject_id == moved.c.id, deadlines.c.kind == constant(deadline.kind)
        )
        return gone.cte(f"cleared_{deadline.kind}")
    due_at = func.now() + bindparam(f"{deadline.kind}_seconds", type_=Double) * _ONE_SECOND
    row = select(moved.c.id, constant(deadline.kind), constant(declared.subject), due_at)
    statement = upsert(deadlines).from_select(["subject_id", "kind", "subject_type", "due_at"], row)
    changed = {"due_at": statement.excluded.due_at, "failures": 0}
    return statement.on_conflict_do_update(index_elements=["subject_id", "kind"], set_=changed).cte(
        f"set_{deadline.kind}"
    )


def compile_explanation(declared: Declaration, transition: Transition) -> Statement:
    """The row's status, whether the actor may see it, which guards hold, and which actions it may take now."""
    table = declared.table
    allowed = true() if transition.allowed is None else transition.allowed.condition
    guards = [guard.condition.label(f"guard_{index}") for index, guard in enumerate(transition.guards)]
    may = [
        and_(
            table.c.status == any_(constants(other.sources)),
            cast(false(), Boolean) if other.allowed is None else other.allowed.condition,
            *(guard.condition for guard in other.guards if not _needs_values(guard.condition)),
        ).label(f"may_{action}")
        for action, other in declared.transitions.items()
    ]
    return Statement(
        select(table.c.status, declared.visible.label("visible"), allowed.label("allowed"), *guards, *may).where(
            table.c.id == bindparam("subject_id", type_=Uuid)
        )
    )


def _needs_values(condition: ColumnElement[bool]) -> bool:
    """Whether the condition asks for what only the action's own caller can tell, such as the file of a proof."""
    known = {"actor_id", "actor_roles"}
    return any(
        isinstance(part, BindParameter) and part.required and part.key not in known for part in iterate(condition)
    )

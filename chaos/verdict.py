"""What must be true after the fire, whatever burned: the history of the clients and the database against the rules.

Nothing here knows a noun: the declared lifecycles are the model. A flow adds rules of its own (`flows/`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from app.core.database import ReadSession, Row, Statement
from app.kernel import ledger
from app.kernel.lifecycle import LIFECYCLES, Emit
from chaos.clients import History, Operation, Outcome
from chaos.flows.base import Flow
from chaos.listeners import Listener
from chaos.watch import Calendar

_RECOVERY_SECONDS: Final = 4.0
_LATE_SECONDS: Final = 2.0
_SHOWN: Final = 20

TRAIL: Final = Statement(
    text("SELECT subject_type, subject_id, action, from_status, to_status, actor_id, at FROM audit_trail ORDER BY id")
)
_EVENTS: Final = Statement(text("SELECT subject_type, subject_id, name FROM events"))
_ADDRESSED: Final = Statement(
    text("""
SELECT n.user_id, n.event_id, e.subject_id, e.seq FROM notifications n JOIN events e ON e.id = n.event_id
WHERE n.user_id = ANY(:users) ORDER BY e.seq
""")
)
_OVERDUE: Final = Statement(
    text("SELECT subject_type, kind, subject_id FROM deadlines WHERE due_at < now() - interval '2 seconds'")
)


async def faults_of(
    session: ReadSession, history: History, flows: Sequence[Flow], listeners: Sequence[Listener], since: int
) -> list[str]:
    """Everything that is wrong; nothing, if the product kept its promises. Events are judged from number `since` on."""
    trail = await session.all(TRAIL)
    found = [*history.faults]
    found += await _unlawful(session, trail)
    found += _not_kept(history.operations, trail)
    found += _not_told(trail, await session.all(_EVENTS))
    found += await _not_heard(session, listeners, since)
    found += (await ledger.verify(session)).faults
    found += [
        f"overdue: {row['kind']} of {row['subject_type']} {row['subject_id']}" for row in await session.all(_OVERDUE)
    ]
    for flow in flows:
        for meaning, query in flow.rules.items():
            rows = await session.all(Statement(text(query)))
            found += [f"{flow.name}: {meaning}: {next(iter(row.values()))}" for row in rows[:_SHOWN]]
        found += await flow.broken_promises()
    return found


async def _unlawful(session: ReadSession, trail: Sequence[Row]) -> list[str]:
    """Every subject went from its creation to where it is now by declared transitions, one after the other."""
    found: list[str] = []
    status: dict[tuple[str, UUID], str] = {}
    for row in trail:
        lifecycle = LIFECYCLES.get(row["subject_type"])
        if lifecycle is None or row["to_status"] is None:
            continue
        subject = (row["subject_type"], row["subject_id"])
        if row["from_status"] != status.get(subject):
            found.append(f"{subject}: {row['action']} left {row['from_status']}, it was {status.get(subject)}")
        transition = lifecycle.declared.transitions.get(row["action"])
        if row["action"] == "create":
            lawful = row["to_status"] == lifecycle.declared.creation.status
        else:
            lawful = (
                transition is not None
                and row["from_status"] in transition.sources
                and row["to_status"] in transition.targets_from(row["from_status"])
            )
        if not lawful:
            found.append(f"{subject}: {row['action']} from {row['from_status']} to {row['to_status']} is not declared")
        status[subject] = row["to_status"]
    for name, lifecycle in LIFECYCLES.items():
        rows = await session.all(Statement(text(f"SELECT id, status FROM {lifecycle.declared.table.name}")))
        found += [
            f"{name} {row['id']} is {row['status']}, its trail ends with {status.get((name, row['id']))}"
            for row in rows
            if status.get((name, row["id"])) != row["status"]
        ]
    return found


def _not_kept(operations: Sequence[Operation], trail: Sequence[Row]) -> list[str]:
    """What was answered with "done" happened as often as it was answered; what was refused did not happen."""
    happened = Counter(
        (row["subject_type"], row["action"], row["actor_id"], None if row["action"] == "create" else row["subject_id"])
        for row in trail
    )
    least: Counter[tuple[str, str, UUID, UUID | None]] = Counter()
    most: Counter[tuple[str, str, UUID, UUID | None]] = Counter()
    created: list[UUID | None] = []
    for operation in operations:
        deed = operation.deed
        key = (deed.subject_type, deed.action, operation.actor_id, deed.subject_id)
        least[key] += operation.outcome is Outcome.DONE
        most[key] += operation.at_most
        if deed.subject_id is None and operation.outcome is Outcome.DONE:
            created.append(operation.subject_id)
    found = [
        f"{key} happened {happened[key]} times; answered as done {least[key]} times, sent {most[key]} times"
        for key in most
        if not least[key] <= happened[key] <= most[key]
    ]
    found += [f"{subject} was answered as created twice" for subject, count in Counter(created).items() if count > 1]
    there = {row["subject_id"] for row in trail if row["action"] == "create"}
    return found + [
        f"{subject} was answered as created and is not there" for subject in created if subject not in there
    ]


def _not_told(trail: Sequence[Row], events: Sequence[Row]) -> list[str]:
    """Each transition wrote the events that it declares: each once, or once at most where it depends on the row."""
    emits_of: dict[tuple[str, str], Sequence[Emit]] = {}
    for name, lifecycle in LIFECYCLES.items():
        emits_of[name, "create"] = lifecycle.declared.creation.emits
        emits_of |= {(name, action): step.emits for action, step in lifecycle.declared.transitions.items()}
    declared = {(name, emit.event.name) for (name, _), emits in emits_of.items() for emit in emits}
    most: Counter[tuple[str, UUID, str]] = Counter()
    least: Counter[tuple[str, UUID, str]] = Counter()
    for row in trail:
        for emit in emits_of.get((row["subject_type"], row["action"]), ()):
            key = (row["subject_type"], row["subject_id"], emit.event.name)
            most[key] += 1
            least[key] += emit.only_if is None
    there = Counter(
        (row["subject_type"], row["subject_id"], row["name"])
        for row in events
        if (row["subject_type"], row["name"]) in declared
    )
    return [
        f"{key}: {there[key]} events for {most[key]} steps"
        for key in most | there
        if not least[key] <= there[key] <= most[key]
    ]


async def unheard(session: ReadSession, listeners: Sequence[Listener], since: int) -> int:
    """How many events that were addressed to a listener have not come yet."""
    heard = {listener.person.id: listener.heard for listener in listeners}
    rows = await session.all(_ADDRESSED, users=list(heard))
    return sum(row["seq"] > since and str(row["event_id"]) not in heard[row["user_id"]] for row in rows)


async def _not_heard(session: ReadSession, listeners: Sequence[Listener], since: int) -> list[str]:
    """Every event that was addressed to a listener came, and those of one subject in their order."""
    found = [fault for listener in listeners for fault in listener.faults]
    addressed: defaultdict[UUID, list[Row]] = defaultdict(list)
    for row in await session.all(_ADDRESSED, users=[listener.person.id for listener in listeners]):
        addressed[row["user_id"]].append(row)
    for listener in listeners:
        rows = addressed[listener.person.id]
        subject_of = {str(row["event_id"]): row["subject_id"] for row in rows}
        wanted = [str(row["event_id"]) for row in rows if row["seq"] > since]
        missed = [event for event in wanted if event not in listener.heard]
        strange = [event for event in listener.heard if event not in subject_of]
        found += [f"{listener.person.id} never heard of event {event}" for event in missed[:_SHOWN]]
        found += [f"{listener.person.id} heard of event {event}, which is not theirs" for event in strange[:_SHOWN]]
        lately = [event for event in listener.heard if event in set(wanted)]
        if not missed and _by_subject(lately, subject_of) != _by_subject(wanted, subject_of):
            found.append(f"{listener.person.id} heard events of one subject out of order")
    return found


def _by_subject(events: Iterable[str], subject_of: dict[str, UUID]) -> dict[UUID, list[str]]:
    ordered: defaultdict[UUID, list[str]] = defaultdict(list)
    for event in events:
        ordered[subject_of[event]].append(event)
    return ordered


def lateness(trail: Sequence[Row], kind: str, seconds: float, calendar: Calendar) -> tuple[list[float], list[str]]:
    """How late the clock took what was due `seconds` after the step before, in quiet times; and what was too late."""
    before: dict[UUID, datetime] = {}
    late: list[float] = []
    for row in trail:
        if row["action"] == kind:
            due, done = before[row["subject_id"]].timestamp() + seconds, row["at"].timestamp()
            if calendar.was_quiet(due, done, _RECOVERY_SECONDS):
                late.append(done - due)
        before[row["subject_id"]] = row["at"]
    return late, [f"a deadline was taken {each:.2f} s late in a quiet time" for each in late if each > _LATE_SECONDS]

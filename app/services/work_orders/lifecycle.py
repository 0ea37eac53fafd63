"""Work orders, as a table (work-orders.md): who may move one where, what is recorded, and who hears of it."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
)

from app.core.errors import RoleRequired
from app.kernel import deadlines, evidence, subjects
from app.kernel.events import Event
from app.kernel.lifecycle import (
    ACTOR,
    Choice,
    Columns,
    Creation,
    Emit,
    Guard,
    Lifecycle,
    Transition,
    constant,
)
from app.models.evidence import Verdict
from app.models.files import FilePurpose
from app.models.work_orders import CLOSED_STATUSES, work_orders
from app.models.work_orders import WorkOrderStatus as Status
from app.services.work_orders import access, events, recipients
from app.services.work_orders.refusals import (
    AlreadyOverridden,
    AlreadyRated,
    AlreadyResolved,
    NobodyToPay,
    NotABooster,
    NotAParty,
    NotAReviewer,
    NotInCharge,
    NotTheBooster,
    NotTheBuyer,
    TooLateToCancel,
)


class Action(StrEnum):
    ASSIGN = "assign"
    START = "start"
    SUBMIT = "submit"
    OPEN_REVIEW = "open_review"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    DISPUTE = "dispute"
    RESOLVE = "resolve"
    RESUME = "resume"
    OVERRIDE_COMPLETE = "override_complete"
    OVERRIDE_CANCEL = "override_cancel"
    RATE = "rate"


_order = work_orders.c
_booster = Guard(access.is_booster, NotTheBooster)
_reviewer = Guard(access.may_review, NotAReviewer)
_deciding_staff = Guard(access.is_staff & access.has_no_stake, NotAReviewer)
_deciding_admin = Guard(access.is_admin & access.has_no_stake, NotAReviewer)
_override_guards = (
    Guard(_order.overridden_by.is_(None), AlreadyOverridden),
    Guard(_order.disputed_from.is_(None), AlreadyResolved),
)
_round_is_seen = evidence.last_round_is_seen(work_orders)
_wanted_booster = bindparam("booster_id", type_=Uuid)
_is_to_complete = bindparam("outcome", type_=Text) == constant(Status.COMPLETED)

_WAITING: Final = frozenset({Status.EVIDENCE_SUBMITTED, Status.UNDER_REVIEW})
_WORKED_ON: Final = frozenset({Status.ASSIGNED, Status.IN_PROGRESS, Status.REJECTED}) | _WAITING
_reviewed: Final[Mapping[str, Any]] = {"reviewed_by": ACTOR, "reviewed_at": func.now()}
_paid_whole: Final[Mapping[str, Any]] = {
    "earned_minor": _order.price_minor - _order.commission_minor,
    "refunded_minor": literal_column("0"),
}
_given_back: Final[Mapping[str, Any]] = {"earned_minor": literal_column("0"), "refunded_minor": _order.price_minor}


def _to_booster(row: Columns) -> ColumnElement[Any]:
    return row.booster_id


def _is_replaced(row: Columns) -> ColumnElement[bool]:
    return row.from_booster_id != row.booster_id


def _tell(
    event: type[Event],
    to: Callable[[Columns], ColumnElement[Any] | Select[Any]],
    payload: Callable[[Columns], Mapping[str, ColumnElement[Any]]],
    up_to: str | None = None,
) -> Emit:
    """Notify those of `to`, and keep everybody's lists fresh."""
    return Emit(event, to, payload, up_to, quietly_to=recipients.list_holders)


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"work_order_id": row.id, "title": row.title, "status": row.status}


def _divided(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _about(row) | {name: row[name] for name in ("earned_minor", "refunded_minor", "currency")}


def _resolved(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _divided(row) | {"resolution_notes": row.resolution_notes}


def _overriding(
    action: Action, sources: frozenset[Status], target: Status, guards: list[Guard], sets: Mapping[str, Any]
) -> Transition:
    return Transition(
        action,
        sources,
        target,
        who="admin, with reason, once",
        allowed=_deciding_admin,
        guards=[*_override_guards, *guards],
        records=["override_reason"],
        sets={"overridden_by": ACTOR, **sets},
        emits=[
            _tell(events.Overridden, recipients.parties, lambda row: _divided(row) | {"reason": row.override_reason})
        ],
        deadlines=[evidence.ERASE],
    )


LIFECYCLE = Lifecycle(
    "work_order",
    work_orders,
    Status,
    Creation(
        Status.PENDING,
        who="a buyer, by purchase",
        emits=[
            _tell(
                events.Created,
                recipients.sellers,
                lambda row: _about(row) | {"price_minor": row.price_minor, "currency": row.currency},
                up_to="work_order_reviewers_notified",
            )
        ],
    ),
    [
        Transition(
            Action.ASSIGN,
            frozenset({Status.PENDING, Status.ASSIGNED}),
            Status.ASSIGNED,
            who="the advertiser, a team mate, support, admin",
            allowed=Guard(access.manages, NotInCharge),
            guards=[
                Guard(access.is_active_booster(_wanted_booster), NotABooster),
                Guard(_order.buyer_id != _wanted_booster, NotABooster),
            ],
            records=["booster_id"],
            recalls=["booster_id"],
            sets={"assigned_at": func.now()},
            emits=[
                _tell(events.Assigned, _to_booster, lambda row: _about(row) | {"booster_id": row.booster_id}),
                Emit(events.Unassigned, lambda row: row.from_booster_id, _about, only_if=_is_replaced),
            ],
        ),
        Transition(
            Action.START,
            frozenset({Status.ASSIGNED}),
            Status.IN_PROGRESS,
            who="the booster",
            allowed=_booster,
            guards=[Guard(access.may_begin, RoleRequired)],
            sets={"started_at": func.now()},
            emits=[
                _tell(
                    events.Started,
                    lambda row: row.buyer_id,
                    lambda row: _about(row) | {"booster_id": row.booster_id},
                )
            ],
        ),
        Transition(
            Action.SUBMIT,
            frozenset({Status.IN_PROGRESS, Status.REJECTED}),
            Status.EVIDENCE_SUBMITTED,
            who="the booster, with images and notes",
            allowed=_booster,
            guards=[evidence.IMAGES_ARE_OWN],
            sets={
                "rounds_count": _order.rounds_count + literal_column("1"),
                "submitted_at": func.now(),
                "reviewer_id": null(),
                "rejection_reason": null(),
                "rejection_category": null(),
            },
            also=lambda row: evidence.submitted(row, subject_type="work_order"),
            emits=[
                _tell(
                    events.EvidenceSubmitted,
                    recipients.reviewers,
                    lambda row: _about(row) | {"round": row.rounds_count},
                    up_to="work_order_reviewers_notified",
                )
            ],
        ),
        Transition(
            Action.OPEN_REVIEW,
            frozenset({Status.EVIDENCE_SUBMITTED}),
            Status.UNDER_REVIEW,
            who="a reviewer",
            allowed=_reviewer,
            sets={"reviewer_id": ACTOR},
            emits=[_tell(events.ReviewStarted, _to_booster, _about)],
        ),
        Transition(
            Action.APPROVE,
            _WAITING,
            Status.COMPLETED,
            who="a reviewer",
            allowed=_reviewer,
            guards=[_round_is_seen],
            sets={"completed_at": func.now(), **_reviewed, **_paid_whole},
            also=lambda row: [evidence.judged(row, Verdict.APPROVED)],
            emits=[
                _tell(
                    events.Completed,
                    recipients.parties,
                    lambda row: _about(row) | {"earned_minor": row.earned_minor, "currency": row.currency},
                )
            ],
            deadlines=[evidence.ERASE],
        ),
        Transition(
            Action.REJECT,
            _WAITING,
            Status.REJECTED,
            who="a reviewer, with reason",
            allowed=_reviewer,
            guards=[_round_is_seen],
            records=["rejection_reason", "rejection_category"],
            sets=_reviewed,
            also=lambda row: [evidence.judged(row, Verdict.REJECTED, row.rejection_reason)],
            emits=[
                _tell(
                    events.Rejected,
                    _to_booster,
                    lambda row: _about(row) | {"reason": row.rejection_reason, "category": row.rejection_category},
                )
            ],
        ),
        Transition(
            Action.CANCEL,
            _WORKED_ON | {Status.PENDING},
            Status.CANCELLED,
            who="the buyer before a booster is assigned; support, admin; with reason",
            allowed=Guard(or_(access.is_buyer, _deciding_staff.condition), NotTheBuyer),
            guards=[
                Guard(
                    or_(_order.status == constant(Status.PENDING), _deciding_staff.condition),
                    TooLateToCancel,
                )
            ],
            records=["cancel_reason"],
            sets=_given_back,
            emits=[
                _tell(events.Cancelled, recipients.parties, lambda row: _about(row) | {"reason": row.cancel_reason})
            ],
            deadlines=[evidence.ERASE],
        ),
        Transition(
            Action.DISPUTE,
            _WORKED_ON,
            Status.DISPUTED,
            who="the buyer or the booster, with reason",
            allowed=Guard(or_(access.is_buyer, access.is_booster), NotAParty),
            records=["dispute_reason"],
            sets={"disputed_by": ACTOR, "disputed_from": _order.status, "resolution_notes": null()},
            emits=[
                _tell(
                    events.Disputed,
                    recipients.parties_and_support,
                    lambda row: _about(row) | {"disputed_by": row.disputed_by, "reason": row.dispute_reason},
                    up_to="work_order_reviewers_notified",
                )
            ],
        ),
        Transition(
            Action.RESOLVE,
            frozenset({Status.DISPUTED}),
            Choice([(_is_to_complete, Status.COMPLETED)], otherwise=Status.CANCELLED),
            who="support, admin, with an exact split and notes",
            allowed=_deciding_staff,
            records=["resolution_notes", "earned_minor", "refunded_minor"],
            sets={"completed_at": case((_is_to_complete, func.now()), else_=null()), **_reviewed},
            emits=[_tell(events.Resolved, recipients.parties, _resolved)],
            deadlines=[evidence.ERASE],
        ),
        Transition(
            Action.RESUME,
            frozenset({Status.DISPUTED}),
            Choice(
                [
                    (_order.disputed_from == constant(status), status)
                    for status in sorted(_WORKED_ON - {Status.ASSIGNED})
                ],
                otherwise=Status.ASSIGNED,
            ),
            who="support, admin, with notes: the work goes on where it was interrupted",
            allowed=_deciding_staff,
            records=["resolution_notes"],
            sets={"disputed_from": null()},
            emits=[_tell(events.Resolved, recipients.parties, _resolved)],
        ),
        _overriding(
            Action.OVERRIDE_COMPLETE,
            frozenset({Status.REJECTED, Status.CANCELLED}),
            Status.COMPLETED,
            [Guard(_order.started_at.is_not(None), NobodyToPay)],
            {"completed_at": func.now(), **_paid_whole},
        ),
        _overriding(
            Action.OVERRIDE_CANCEL,
            frozenset({Status.COMPLETED}),
            Status.CANCELLED,
            [],
            {"completed_at": null(), **_given_back},
        ),
        Transition(
            Action.RATE,
            frozenset({Status.COMPLETED}),
            Status.COMPLETED,
            who="the buyer, once",
            allowed=Guard(access.is_buyer, NotTheBuyer),
            guards=[Guard(_order.rating.is_(None), AlreadyRated)],
            records=["rating"],
            emits=[
                _tell(events.Rated, lambda row: row.advertiser_id, lambda row: _about(row) | {"rating": row.rating})
            ],
        ),
    ],
    visible=access.is_visible,
)

deadlines.when_due("work_order", evidence.ERASE.kind, evidence.erase)
subjects.register(
    subjects.Subject(
        "work_order",
        work_orders,
        readers={FilePurpose.EVIDENCE: access.sees_evidence},
        closed=frozenset(CLOSED_STATUSES),
        parties=recipients.parties,
        # Of no region: support and admins look on.
        conversation=subjects.Conversation(region=lambda _: cast(null(), Uuid)),
    )
)

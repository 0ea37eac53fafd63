"""The race, as a table (leads.md): who may move a service request where, and who hears of it."""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, Uuid, bindparam, func, literal, literal_column, select, update

from app.core.errors import Conflict, Forbidden, Unprocessable
from app.core.geo import distance_metres
from app.kernel import deadlines, subjects
from app.kernel.lifecycle import (
    ACTOR,
    Columns,
    Creation,
    Deadline,
    Emit,
    Guard,
    IllegalTransition,
    Lifecycle,
    Transition,
    constant,
)
from app.models.catalogue import services
from app.models.files import FilePurpose, files
from app.models.providers import providers
from app.models.service_requests import ServiceRequestStatus as Status
from app.models.service_requests import lead_purchases, service_requests
from app.services.service_requests import access, events


class Action(StrEnum):
    PURCHASE = "purchase"
    START = "start"
    COMPLETE = "complete"
    APPROVE = "approve"
    SEND_BACK = "send_back"
    CANCEL = "cancel"
    EXPIRE = "expire"


class NotMatching(Forbidden):
    code, title = "not_matching", "Only approved providers who offer this service here may buy this lead."


class NotAPurchaser(Forbidden):
    code, title = "not_a_purchaser", "Buy the lead first."


class NotTheCustomer(Forbidden):
    code, title = "not_the_customer", "Only the customer may do this."


class AlreadyPurchased(Conflict):
    code, title = "already_purchased", "You have bought this lead; it was charged once."


class LeadSoldOut(Conflict):
    code, title = "lead_sold_out", "As many providers as may have bought this lead."


class WeeklyBudgetReached(Conflict):
    code, title = "weekly_budget_reached", "This would pass your own weekly cap for leads."


class AlreadyCompleted(Conflict):
    code, title = "already_completed", "Another provider completed this request first."


class NothingToApprove(Conflict):
    code, title = "nothing_to_approve", "Nobody has completed this request."


class ProofRefused(Unprocessable):
    code, title = "proof_refused", "The proof must be a file of yours with the purpose `proof`, used for nothing else."


_purchaser = Guard(access.has_purchased, NotAPurchaser)
_racing = Guard(access.is_in_the_race, NotAPurchaser)
_customer = Guard(access.is_customer, NotTheCustomer)
# Locked, so that a file which is at this moment attached elsewhere or discarded is waited for, and then refused.
_proof_is_own = (
    select(files.c.id)
    .where(
        files.c.id == bindparam("proof_id", type_=files.c.id.type),
        files.c.owner_id == ACTOR,
        files.c.purpose == constant(FilePurpose.PROOF),
        files.c.subject_id.is_(None),
        files.c.discarded_at.is_(None),
    )
    .with_for_update(key_share=True)
    .exists()
)


def _to_customer(row: Columns) -> ColumnElement[Any]:
    return row.customer_id


def _to_purchasers(row: Columns) -> Select[Any]:
    """Asked of a function, which looks anew: the statement's own snapshot is older than its wait for the row's lock,
    and would miss who bought in the meantime."""
    return select(func.lead_buyers(row.id, type_=Uuid).label("provider_id"))


def _to_losers(row: Columns) -> Select[Any]:
    buyers = select(func.lead_buyers(row.id, type_=Uuid).label("provider_id"), row.completed_by).subquery()
    return select(buyers.c.provider_id).where(buyers.c.provider_id != buyers.c.completed_by)


def _to_customer_and_purchasers(row: Columns) -> Select[Any]:
    return select(_to_purchasers(row).union(select(row.customer_id)).subquery().c.provider_id)


def _to_matching_providers(row: Columns) -> Select[Any]:
    """Best rated and nearest first, in case there are more than may be told; none who is at the weekly cap.

    OFFSET 0 keeps the planner from weighing the budgets of all providers there are against the index on who is near.
    """
    distance = distance_metres(providers.c.latitude, providers.c.longitude, row.latitude, row.longitude)
    near = (
        select(
            providers.c.id,
            providers.c.weekly_lead_budget_minor,
            providers.c.rating_average,
            distance.label("distance"),
            row.fee_minor,
        )
        .where(access.matches(row))
        .offset(literal_column("0"))
        .subquery("near")
    )
    return (
        select(near.c.id)
        .where(access.within_budget(near.c, near.c.fee_minor))
        .order_by(near.c.rating_average.desc(), near.c.distance)
    )


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"service_request_id": row.id, "status": row.status}


def _about_provider(row: Columns, provider_id: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
    name = select(providers.c.business_name).where(providers.c.id == provider_id).scalar_subquery()
    return _about(row) | {"provider_id": provider_id, "provider_name": name}


def _completed(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _about_provider(row, row.completed_by) | {"proof_id": row.proof_id, "notes": row.notes}


def _created(row: Columns) -> dict[str, ColumnElement[Any]]:
    def of_service(column: ColumnElement[Any]) -> ColumnElement[Any]:
        return select(column).where(services.c.id == row.service_id).scalar_subquery()

    return {
        "service_request_id": row.id,
        "service_id": row.service_id,
        "service_name": of_service(services.c.name_en),
        "service_name_hi": of_service(services.c.name_hi),
        "fee_minor": row.fee_minor,
        "currency": row.currency,
    }


def _worked(row: Columns) -> Any:
    """From now on a cancellation does not give this provider's fee back."""
    return (
        update(lead_purchases)
        .where(lead_purchases.c.service_request_id == row.id, lead_purchases.c.provider_id == ACTOR)
        .values(worked_at=func.coalesce(lead_purchases.c.worked_at, func.now()))
    )


def _attach_proof(row: Columns) -> Any:
    return (
        update(files)
        .where(files.c.id == row.proof_id)
        .values(subject_type=constant("service_request"), subject_id=row.id)
    )


_untouched = Deadline("expire", after="service_request_expiry_seconds")
_settled = Deadline("expire", after=None)

LIFECYCLE = Lifecycle(
    "service_request",
    service_requests,
    Status,
    Creation(
        Status.PENDING,
        who="a customer",
        emits=[
            Emit(
                events.Created,
                _to_matching_providers,
                _created,
                up_to="matching_providers_notified",
                quietly_to=_to_customer,
            )
        ],
        deadlines=[_untouched],
    ),
    [
        Transition(
            Action.PURCHASE,
            frozenset({Status.PENDING, Status.PURCHASED, Status.IN_PROGRESS}),
            {Status.PENDING: Status.PURCHASED},
            who="a matching provider",
            allowed=Guard(access.actor_matches, NotMatching),
            guards=[
                Guard(~access.has_purchased, AlreadyPurchased),
                # The row lock makes buyers queue up, so each compares the count that the one before left behind.
                Guard(service_requests.c.buyers_count < service_requests.c.lead_cap, LeadSoldOut),
                Guard(access.actor_within_budget, WeeklyBudgetReached),
            ],
            sets={"buyers_count": service_requests.c.buyers_count + literal(1)},
            emits=[
                Emit(
                    events.Purchased,
                    _to_customer,
                    lambda row: _about_provider(row, ACTOR) | {"buyers_count": row.buyers_count},
                )
            ],
            deadlines=[_untouched],
        ),
        Transition(
            Action.START,
            frozenset({Status.PURCHASED}),
            Status.IN_PROGRESS,
            who="a purchaser",
            allowed=_purchaser,
            guards=[_racing],
            also=lambda row: [_worked(row)],
            emits=[
                Emit(events.Started, _to_customer, lambda row: _about_provider(row, ACTOR)),
                Emit(events.Progressed, None, _about, quietly_to=_to_purchasers),
            ],
            deadlines=[_settled],
        ),
        Transition(
            Action.COMPLETE,
            frozenset({Status.PURCHASED, Status.IN_PROGRESS}),
            Status.COMPLETED,
            who="a purchaser, with proof",
            allowed=_purchaser,
            guards=[_racing, Guard(_proof_is_own, ProofRefused)],
            records=["proof_id", "notes"],
            sets={"completed_by": ACTOR, "send_back_reason": None},
            also=lambda row: [_worked(row), _attach_proof(row)],
            emits=[
                Emit(events.Completed, _to_customer, _completed, quietly_to=lambda row: row.completed_by),
                Emit(events.Lost, _to_losers, _about),
            ],
            deadlines=[_settled],
            refusals={Status.COMPLETED: AlreadyCompleted, Status.APPROVED: AlreadyCompleted},
        ),
        Transition(
            Action.APPROVE,
            frozenset({Status.COMPLETED}),
            Status.APPROVED,
            who="the customer",
            allowed=_customer,
            sets={"assigned_provider_id": service_requests.c.completed_by},
            emits=[
                Emit(
                    events.Approved,
                    lambda row: row.completed_by,
                    lambda row: _about(row) | {"provider_id": row.completed_by},
                    quietly_to=_to_customer_and_purchasers,
                )
            ],
            refusals=dict.fromkeys((Status.PENDING, Status.PURCHASED, Status.IN_PROGRESS), NothingToApprove),
        ),
        Transition(
            Action.SEND_BACK,
            frozenset({Status.COMPLETED}),
            Status.IN_PROGRESS,
            who="the customer, with reason",
            allowed=_customer,
            records=["send_back_reason"],
            sets={"completed_by": None, "proof_id": None, "notes": None},
            emits=[
                Emit(
                    events.SentBack,
                    _to_purchasers,
                    lambda row: _about(row) | {"reason": row.send_back_reason},
                    quietly_to=_to_customer,
                )
            ],
        ),
        Transition(
            Action.CANCEL,
            frozenset({Status.PENDING, Status.PURCHASED, Status.IN_PROGRESS}),
            Status.CANCELLED,
            who="the customer, with reason",
            allowed=_customer,
            records=["cancel_reason"],
            emits=[
                Emit(
                    events.Cancelled,
                    _to_purchasers,
                    lambda row: _about(row) | {"reason": row.cancel_reason},
                    quietly_to=_to_customer,
                )
            ],
            deadlines=[_settled],
        ),
        Transition(
            Action.EXPIRE,
            frozenset({Status.PENDING, Status.PURCHASED}),
            Status.EXPIRED,
            who="the clock, 30 days untouched",
            allowed=None,
            guards=[Guard(deadlines.still_due(service_requests.c.id, "expire"), IllegalTransition)],
            emits=[Emit(events.Expired, _to_customer_and_purchasers, _about)],
            deadlines=[_settled],
        ),
    ],
    visible=access.is_visible,
)


subjects.register(
    subjects.Subject(
        "service_request",
        service_requests,
        readers={
            FilePurpose.PHOTO: access.is_visible,
            FilePurpose.PROOF: access.is_customer | access.is_winner | access.is_staff,
        },
        parties=_to_customer_and_purchasers,
        conversation=subjects.Conversation(
            host=_to_customer, counterpart=access.may_ask, contacts_open=access.has_bought
        ),
    )
)

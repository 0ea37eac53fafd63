"""Payments and refunds, as tables: what the payer, the provider's webhooks, the clock and admins may do to them."""

from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, or_, select

from app.core.errors import Conflict, Forbidden
from app.kernel import deadlines
from app.kernel.lifecycle import (
    ACTOR,
    Choice,
    Columns,
    Creation,
    Deadline,
    Emit,
    Guard,
    IllegalTransition,
    Lifecycle,
    Transition,
    actor_has,
)
from app.models.payments import PaymentStatus as Status
from app.models.payments import RefundStatus, payments, refunds
from app.models.users import Role
from app.services.payments import events
from app.services.users import roles


class Action(StrEnum):
    OPEN = "open"
    SUCCEED = "succeed"
    FAIL = "fail"
    HOLD = "hold"
    CANCEL = "cancel"
    EXPIRE = "expire"
    ACCEPT = "accept"
    REFUND = "refund"
    TAKE_BACK_REFUND = "take_back_refund"


class RefundAction(StrEnum):
    SEND = "send"
    REFUSE = "refuse"
    SUCCEED = "succeed"
    FAIL = "fail"


class NotThePayer(Forbidden):
    code, title = "not_the_payer", "Only the payer may do this."


class RefundAboveCaptured(Conflict):
    code, title = "refund_above_captured", "This is more than was paid and not refunded yet."


_is_payer = payments.c.payer_id == ACTOR
_is_admin = actor_has(Role.ADMIN)
_payer = Guard(_is_payer, NotThePayer)
_admin = Guard(_is_admin, Forbidden)
_OPEN = frozenset({Status.CREATED, Status.PENDING})
_refund = bindparam("refund_minor", type_=BigInteger)
_captured = func.coalesce(payments.c.captured_minor, 0)
_expiry = Deadline("expire", after="payment_checkout_seconds")
_settled = Deadline("expire", after=None)


def _to_payer(row: Columns) -> ColumnElement[Any]:
    return row.payer_id


def _to_payer_and_admins(row: Columns) -> Select[Any]:
    return select(roles.holding(Role.ADMIN).union(select(row.payer_id)).subquery().c.user_id)


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {
        "payment_id": row.id,
        "purpose": row.purpose,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "status": row.status,
    }


def _about_taken(row: Columns) -> dict[str, ColumnElement[Any]]:
    """With what the provider took, which need not be what was asked for."""
    return _about(row) | {"amount_minor": row.captured_minor, "currency": row.captured_currency}


LIFECYCLE = Lifecycle(
    "payment",
    payments,
    Status,
    Creation(Status.CREATED, who="the payer", deadlines=[_expiry]),
    [
        Transition(
            Action.OPEN,
            _OPEN,
            Status.PENDING,
            who="the payer, by opening the provider's page",
            allowed=_payer,
            records=["checkout_url", "checkout_reference"],
        ),
        Transition(
            Action.SUCCEED,
            _OPEN | {Status.FAILED},
            Status.SUCCEEDED,
            who="the provider's webhook, with the amount that was asked for",
            allowed=None,
            records=["reference", "captured_minor", "captured_currency"],
            sets={"fulfilled_at": func.now(), "failure": None},
            emits=[Emit(events.Succeeded, _to_payer, _about_taken)],
            deadlines=[_settled],
        ),
        Transition(
            Action.FAIL,
            _OPEN,
            Status.FAILED,
            who="the provider's webhook",
            allowed=None,
            records=["failure"],
            emits=[Emit(events.Failed, _to_payer, _about)],
            deadlines=[_settled],
        ),
        Transition(
            Action.HOLD,
            _OPEN | {Status.FAILED, Status.EXPIRED},
            Status.UNDER_REVIEW,
            who="the provider's webhook, when the money cannot be used as it was meant",
            allowed=None,
            records=["reference", "captured_minor", "captured_currency", "failure"],
            emits=[
                Emit(events.Held, _to_payer_and_admins, lambda row: _about_taken(row) | {"reason": row.failure}),
            ],
            deadlines=[_settled],
        ),
        Transition(
            Action.CANCEL,
            _OPEN | {Status.FAILED},
            Status.EXPIRED,
            who="the payer",
            allowed=_payer,
            deadlines=[_settled],
        ),
        Transition(
            Action.EXPIRE,
            _OPEN,
            Status.EXPIRED,
            who="the clock, 30 minutes unpaid",
            allowed=None,
            guards=[Guard(deadlines.still_due(payments.c.id, "expire"), IllegalTransition)],
            emits=[Emit(events.Expired, _to_payer, _about)],
            deadlines=[_settled],
        ),
        Transition(
            Action.ACCEPT,
            frozenset({Status.UNDER_REVIEW}),
            Status.SUCCEEDED,
            who="an admin, with reason: what was taken goes to the payer's wallet",
            allowed=_admin,
            sets={"fulfilled_at": func.now(), "failure": None},
            emits=[Emit(events.Succeeded, _to_payer, _about_taken)],
        ),
        Transition(
            Action.REFUND,
            frozenset({Status.SUCCEEDED, Status.UNDER_REVIEW, Status.PARTIALLY_REFUNDED}),
            Choice([(payments.c.refunded_minor + _refund < _captured, Status.PARTIALLY_REFUNDED)], Status.REFUNDED),
            who="an admin, with reason; the platform, when the money cannot be used as it was meant",
            allowed=Guard(or_(_is_admin, ACTOR.is_(None)), Forbidden),
            # Compared under the row's lock, so two refunds at once see each other.
            guards=[Guard(payments.c.refunded_minor + _refund <= _captured, RefundAboveCaptured)],
            sets={"refunded_minor": payments.c.refunded_minor + _refund},
        ),
        Transition(
            Action.TAKE_BACK_REFUND,
            frozenset({Status.PARTIALLY_REFUNDED, Status.REFUNDED}),
            Choice(
                [
                    (payments.c.refunded_minor > _refund, Status.PARTIALLY_REFUNDED),
                    (payments.c.fulfilled_at.is_(None), Status.UNDER_REVIEW),
                ],
                Status.SUCCEEDED,
            ),
            who="the platform, when the provider could not pay a refund out",
            allowed=None,
            sets={"refunded_minor": payments.c.refunded_minor - _refund},
        ),
    ],
    visible=or_(_is_payer, _is_admin),
)


def _payer_of(row: Columns) -> Select[Any]:
    return select(payments.c.payer_id).where(payments.c.id == row.payment_id)


def _payer_of_and_admins(row: Columns) -> Select[Any]:
    return select(roles.holding(Role.ADMIN).union(_payer_of(row)).subquery().c.user_id)


def _about_refund(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {
        "refund_id": row.id,
        "payment_id": row.payment_id,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "status": row.status,
        "reason": row.reason,
    }


REFUNDS = Lifecycle(
    "refund",
    refunds,
    RefundStatus,
    Creation(
        RefundStatus.REQUESTED,
        who="an admin, with reason; the platform, when the money cannot be used as it was meant",
        emits=[Emit(events.Refunding, _payer_of, _about_refund)],
    ),
    [
        Transition(
            RefundAction.SEND,
            frozenset({RefundStatus.REQUESTED}),
            RefundStatus.SENT,
            who="the job that asks the provider",
            allowed=None,
            records=["provider_reference"],
        ),
        Transition(
            RefundAction.REFUSE,
            frozenset({RefundStatus.REQUESTED}),
            RefundStatus.FAILED,
            who="the provider, by its answer to the job; the money goes back to where it was",
            allowed=None,
            records=["failure"],
            emits=[Emit(events.RefundFailed, _payer_of_and_admins, _about_refund)],
        ),
        Transition(
            RefundAction.SUCCEED,
            frozenset({RefundStatus.REQUESTED, RefundStatus.SENT}),
            RefundStatus.SUCCEEDED,
            who="the provider's webhook",
            allowed=None,
            emits=[Emit(events.Refunded, _payer_of, _about_refund)],
        ),
        Transition(
            RefundAction.FAIL,
            # Also what it said to be paid out before: a bank may send it back, and the webhooks come in any order.
            frozenset({RefundStatus.REQUESTED, RefundStatus.SENT, RefundStatus.SUCCEEDED}),
            RefundStatus.FAILED,
            who="the provider's webhook; the money goes back to where it was",
            allowed=None,
            records=["failure"],
            emits=[Emit(events.RefundFailed, _payer_of_and_admins, _about_refund)],
        ),
    ],
)

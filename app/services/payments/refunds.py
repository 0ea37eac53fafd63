"""Refunds: the money leaves the books when it is asked for, and comes back if the provider cannot pay it out."""

from typing import Any, Final
from uuid import UUID

import structlog
from pydantic_core import to_json
from sqlalchemy import Uuid, bindparam, select

from app.adapters.payments.port import ProviderRefused, RefundOrder
from app.core.actor import CLOCK, Actor
from app.core.database import Row, Session, Statement
from app.core.ids import uuid7
from app.kernel import jobs, ledger
from app.kernel.platform import Platform
from app.kernel.transitions import IllegalTransition
from app.models.ledger import AccountKind
from app.models.payments import RefundStatus, payments, refunds
from app.schemas.payments import Refund, RequestRefund, ReviewedPayment
from app.services.payments.lifecycle import LIFECYCLE, REFUNDS, Action, RefundAction
from app.services.payments.providers import asking

_log = structlog.get_logger()

SEND_REFUND: Final = "send_refund"
"""The job of `send`."""

_ORDER = Statement(
    select(*refunds.c, payments.c.provider, payments.c.reference)
    .join(payments, payments.c.id == refunds.c.payment_id)
    .where(refunds.c.id == bindparam("refund_id"))
)
# What can still be refunded. The payment is locked before its refunds and the wallet, always: whoever asks for a refund
# and whoever hears that one failed cannot wait for each other, and nothing changes what is left in the meantime.
_LOCK_PAYMENT = Statement(
    select(payments.c.captured_minor - payments.c.refunded_minor)
    .where(payments.c.id == bindparam("payment_id", type_=Uuid))
    .with_for_update(key_share=True)
)


async def request(session: Session, actor: Actor, payment_id: UUID, wanted: RequestRefund) -> Refund:
    """An admin sends a payment back, whole or in part, with a reason. The money leaves the payer's wallet at once.

    The payment's row lock and the check `payments_refunds_within_captured` keep any number of refunds within what was
    taken. Raises `NotFound`, `RefundAboveCaptured`, `IllegalTransition`, `InsufficientFunds`.
    """
    # Where nothing is left, asking for the least there is gets the refusal that says so.
    amount = wanted.amount_minor or await session.scalar(_LOCK_PAYMENT, payment_id=payment_id) or 1
    return await give_back(session, actor, payment_id, amount, wanted.reason)


async def give_back(session: Session, actor: Actor, payment_id: UUID, amount: int, reason: str) -> Refund:
    """Book the refund, and have a job ask the provider for it once this is durable."""
    payment = await LIFECYCLE.advance(session, payment_id, Action.REFUND, actor, reason=reason, refund_minor=amount)
    source = "wallet" if payment["fulfilled_at"] else "escrow"
    refund = await REFUNDS.create(
        session,
        actor,
        {
            "id": uuid7(),
            "payment_id": payment_id,
            "amount_minor": amount,
            "currency": payment["captured_currency"],
            "source": source,
            "reason": reason,
        },
    )
    await ledger.transfer(
        session,
        "payment_refund",
        _source(payment, source),
        ledger.platform(AccountKind.CLEARING, refund["currency"]),
        amount,
        idempotency_key=_key(refund["id"]),
        subject=("payment", payment_id),
        actor_id=actor.id,
        reason=reason,
    )
    await jobs.enqueue(session, [(SEND_REFUND, to_json({"refund_id": refund["id"]}))])
    return Refund.model_validate(dict(refund))


async def accept(session: Session, actor: Actor, payment_id: UUID, reason: str) -> ReviewedPayment:
    """An admin takes what arrived as it is: it goes to the payer's wallet."""
    row = await LIFECYCLE.advance(session, payment_id, Action.ACCEPT, actor, reason=reason)
    await ledger.transfer(
        session,
        "payment_accepted",
        _source(row, "escrow"),
        _source(row, "wallet"),
        row["captured_minor"] - row["refunded_minor"],
        idempotency_key=f"payment:{payment_id}:accepted",
        subject=("payment", payment_id),
        actor_id=actor.id,
        reason=reason,
    )
    return ReviewedPayment.model_validate(dict(row))


async def send(platform: Platform, refund_id: UUID) -> None:
    """The job: ask the provider, outside of any transaction. Asked twice, it pays out once: it knows our id.

    `ProviderAway` leaves, and the queue tries again.
    """
    async with platform.database.read() as session:
        refund = await session.first(_ORDER, refund_id=refund_id)
    if refund is None or refund["status"] != RefundStatus.REQUESTED:
        return
    order = RefundOrder(
        refund_id=refund_id,
        payment_id=refund["payment_id"],
        reference=refund["reference"],
        amount_minor=refund["amount_minor"],
        currency=refund["currency"],
    )
    try:
        await _ask(platform, refund["provider"], order, refund)
    except IllegalTransition:
        _log.info("refund_was_faster", refund_id=str(refund_id))  # its webhook came before this answer


async def _ask(platform: Platform, provider: str, order: RefundOrder, refund: Row) -> None:
    try:
        async with asking(platform, provider) as adapter:
            reference = await adapter.refund(order)
    except ProviderRefused as refused:
        _log.error("refund_refused", refund_id=str(order.refund_id), reason=str(refused))
        async with platform.database.write() as writing:
            await fail(writing, refund, RefundAction.REFUSE, str(refused)[:500])
        return
    async with platform.database.write_single() as writing:
        await REFUNDS.advance(writing, order.refund_id, RefundAction.SEND, CLOCK, provider_reference=reference)


async def succeed(session: Session, refund: Row) -> None:
    """The provider's webhook: paid out."""
    await REFUNDS.advance(session, refund["id"], RefundAction.SUCCEED, CLOCK)


async def fail(session: Session, refund: Row, action: RefundAction, failure: str) -> None:
    """The provider does not pay it out (`REFUSE`), or could not (`FAIL`): the money goes back to where it was, once.

    Raises `IllegalTransition` before anything was changed.
    """
    await session.first(_LOCK_PAYMENT, payment_id=refund["payment_id"])
    await REFUNDS.advance(session, refund["id"], action, CLOCK, reason=failure, failure=failure)
    amount = refund["amount_minor"]
    await LIFECYCLE.advance(
        session, refund["payment_id"], Action.TAKE_BACK_REFUND, CLOCK, reason=failure, refund_minor=amount
    )
    await ledger.reverse(session, _key(refund["id"]), actor_id=None, reason=failure)


async def find(session: Session, refund_id: UUID, provider: str) -> Row | None:
    """The refund, if this provider has to do with it."""
    row = await session.first(_ORDER, refund_id=refund_id)
    return row if row is not None and row["provider"] == provider else None


def _key(refund_id: UUID) -> str:
    return f"refund:{refund_id}"


def _source(payment: Row, source: str) -> ledger.Account:
    currency: Any = payment["captured_currency"]
    return (
        ledger.wallet(payment["payer_id"], currency) if source == "wallet" else ledger.escrow(payment["id"], currency)
    )

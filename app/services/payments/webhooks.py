"""Webhooks in: stored first, processed once, in any order (money.md: Webhooks in).

`webhook_events_once` lets one of any number of copies in. Whoever stored it processes it at once; if that process dies
or fails, the deadline that was stored with it lets the clock do it. What a notice does depends on the state that it
finds under the payment's row lock, and the outcomes do not depend on the order of the notices: a success wins over a
failure, a failed refund over a refund.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import TypeAdapter
from sqlalchemy import Uuid, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.adapters.payments.port import Notice, NoticeKind
from app.core.actor import CLOCK
from app.core.database import Row, Session, Statement
from app.core.errors import NotFound, Problem
from app.core.ids import uuid7
from app.core.sql import constant
from app.kernel import deadlines as clock
from app.kernel import ledger
from app.kernel.platform import Platform
from app.kernel.transitions import IllegalTransition
from app.models.deadlines import deadlines
from app.models.ledger import AccountKind
from app.models.payments import PaymentStatus as Status
from app.models.payments import RefundStatus, payments, webhook_events
from app.services.payments import refunds
from app.services.payments.lifecycle import LIFECYCLE, Action, RefundAction
from app.services.payments.purposes import PURPOSES

_log = structlog.get_logger()

_NOTICE: Final = TypeAdapter(Notice)
_TEXT_LIMIT: Final = 200

_stored = (
    upsert(webhook_events)
    .values(
        {
            name: bindparam(name, type_=webhook_events.c[name].type)
            for name in ("id", "provider", "event_id", "name", "body", "notice")
        }
    )
    .on_conflict_do_nothing(constraint="webhook_events_once")
    .returning(webhook_events.c.id)
    .cte("stored")
)
_to_process = (
    insert(deadlines)
    .from_select(
        ["subject_type", "subject_id", "kind", "due_at"],
        select(
            constant("webhook_event"),
            _stored.c.id,
            constant("process"),
            func.now() + literal_column("interval '5 seconds'"),
        ),
    )
    .cte("to_process")
)
_STORE = Statement(select(_stored.c.id).add_cte(_to_process))
_TAKE = Statement(
    select(webhook_events.c.id, webhook_events.c.provider, webhook_events.c.notice)
    .where(webhook_events.c.id == bindparam("id", type_=Uuid), webhook_events.c.processed_at.is_(None))
    .with_for_update()
)
_processed = (
    update(webhook_events)
    .where(webhook_events.c.id == bindparam("id", type_=Uuid))
    .values(processed_at=func.now(), outcome=bindparam("outcome"))
    .returning(webhook_events.c.id)
    .cte("processed")
)
_DONE = Statement(
    delete(deadlines).where(
        deadlines.c.subject_id == select(_processed.c.id).scalar_subquery(), deadlines.c.kind == constant("process")
    )
)
_PAYMENT = Statement(
    select(*payments.c)
    .where(payments.c.id == bindparam("payment_id", type_=Uuid), payments.c.provider == bindparam("provider"))
    .with_for_update(key_share=True)
)


async def receive(platform: Platform, provider: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check, store, process. Copies and events that mean nothing are taken without a word.

    Raises as `store`. A fault while processing is the clock's to mend, not the provider's.
    """
    stored_id = await store(platform, provider, headers, body, now)
    if stored_id is None:
        return
    try:
        async with platform.database.write() as session:
            await process(session, stored_id)
    except Exception as error:
        _log.exception("webhook_waits", id=str(stored_id), error=type(error).__name__)


async def store(platform: Platform, provider: str, headers: Mapping[str, str], body: bytes, now: float) -> UUID | None:
    """Check and store; the id of what is to be processed, None for a copy.

    Raises `NotFound` for a provider that is not in use and `SignatureRefused`; then nothing is stored.
    """
    adapter = platform.payments.get(provider)
    if adapter is None:
        raise NotFound()
    notice = adapter.read_webhook(headers, body, now)
    async with platform.database.write_single() as session:
        stored_id: UUID | None = await session.scalar(
            _STORE,
            id=uuid7(),
            provider=provider,
            event_id=notice.event_id[:_TEXT_LIMIT],
            name=notice.name[:_TEXT_LIMIT],
            body=body,
            notice=_NOTICE.dump_python(notice, mode="json"),
        )
    return stored_id


async def process(session: Session, event_id: UUID) -> None:
    """What a stored webhook means, once: its row is locked until that is durable."""
    stored = await session.first(_TAKE, id=event_id)
    if stored is None:
        return
    notice = _NOTICE.validate_python(stored["notice"])
    match notice.kind:
        case NoticeKind.PAID | NoticeKind.FAILED:
            outcome = await _about_payment(session, stored["provider"], notice)
        case NoticeKind.REFUNDED | NoticeKind.REFUND_FAILED:
            outcome = await _about_refund(session, stored["provider"], notice)
        case _:
            outcome = "of_no_interest"
    if outcome.startswith("unexpected"):
        _log.error("webhook", id=str(event_id), provider=stored["provider"], outcome=outcome)
    await session.execute(_DONE, id=event_id, outcome=outcome)


class ProcessingFailed(Exception):
    """Why a stored webhook has to wait."""


async def process_later(session: Session, event_id: UUID) -> None:
    """The clock: what could not be processed at once. To the clock some refusals mean that nothing is to do any more;
    here none may, or the webhook would be forgotten."""
    try:
        await process(session, event_id)
    except Problem as problem:
        raise ProcessingFailed(problem.code) from problem


clock.when_due("webhook_event", "process", process_later)


async def _about_payment(session: Session, provider: str, notice: Notice) -> str:
    payment = None
    if notice.payment_id is not None:
        payment = await session.first(_PAYMENT, payment_id=notice.payment_id, provider=provider)
    if payment is None:
        return "unexpected: no such payment"
    if notice.kind is NoticeKind.PAID:
        return await _paid(session, payment, notice)
    if payment["status"] not in (Status.CREATED, Status.PENDING):
        return "too_late"
    await LIFECYCLE.advance(
        session, payment["id"], Action.FAIL, CLOCK, failure=(notice.reason or "declined")[:_TEXT_LIMIT]
    )
    return "failed"


async def _paid(session: Session, payment: Row, notice: Notice) -> str:
    """Whether the money can be used as it was meant; if not, it is held, and sent back where nobody has to decide."""
    if notice.amount_minor is None or notice.amount_minor <= 0 or notice.currency is None or notice.reference is None:
        return "unexpected: paid without saying what"
    if payment["status"] not in (Status.CREATED, Status.PENDING, Status.FAILED, Status.EXPIRED):
        return "paid_before" if payment["reference"] == notice.reference else "unexpected: paid twice"
    if (notice.amount_minor, notice.currency) != (payment["amount_minor"], payment["currency"]):
        await _hold(session, payment, notice, "amount_differs")
        return "held"
    if payment["status"] == Status.EXPIRED:
        return await _send_back(session, payment, notice, "too_late")
    purpose = PURPOSES.get(payment["purpose"])
    try:
        async with session.savepoint() if purpose else nullcontext():
            if purpose:
                await purpose.lock(session, payment)
            row = await LIFECYCLE.advance(session, payment["id"], Action.SUCCEED, CLOCK, **_captured(notice))
            await _book(session, payment, notice, ledger.wallet(payment["payer_id"], payment["currency"]))
            if purpose:
                await purpose.fulfil(session, row)
    except Problem as refusal:
        if refusal.status >= 500:
            raise
        return await _send_back(session, payment, notice, refusal.code)
    return "succeeded"


async def _send_back(session: Session, payment: Row, notice: Notice, why: str) -> str:
    await _hold(session, payment, notice, why)
    await refunds.give_back(session, CLOCK, payment["id"], notice.amount_minor or 0, why)
    return "sent_back"


async def _hold(session: Session, payment: Row, notice: Notice, why: str) -> None:
    await LIFECYCLE.advance(session, payment["id"], Action.HOLD, CLOCK, reason=why, failure=why, **_captured(notice))
    await _book(session, payment, notice, ledger.escrow(payment["id"], notice.currency or ""))


def _captured(notice: Notice) -> dict[str, Any]:
    return {
        "reference": notice.reference,
        "captured_minor": notice.amount_minor,
        "captured_currency": notice.currency,
    }


async def _book(session: Session, payment: Row, notice: Notice, target: ledger.Account) -> None:
    """What the provider took arrives in the books, once for each payment, wherever it goes."""
    await ledger.transfer(
        session,
        "payment",
        ledger.platform(AccountKind.CLEARING, target.currency),
        target,
        notice.amount_minor or 0,
        idempotency_key=f"payment:{payment['id']}",
        subject=("payment", payment["id"]),
    )


async def _about_refund(session: Session, provider: str, notice: Notice) -> str:
    refund = None if notice.refund_id is None else await refunds.find(session, notice.refund_id, provider)
    if refund is None:
        return "unexpected: no such refund"
    try:
        if notice.kind is NoticeKind.REFUND_FAILED:
            why = notice.reason or "the provider could not pay it out"
            await refunds.fail(session, refund, RefundAction.FAIL, why[:_TEXT_LIMIT])
            return "refund_failed"
        await refunds.succeed(session, refund)
    except IllegalTransition as late:
        return "refunded_before" if late.extra["current_status"] == RefundStatus.SUCCEEDED else "too_late"
    return "refunded"

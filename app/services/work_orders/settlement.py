"""What moves a work order and its money, in one transaction: approval, cancellation, resolution, override.

The transition comes first: its row lock makes everybody who would move the same money queue up, so of many exactly one
gets as far as the ledger, where the keys of `kernel/escrow.py` stand behind it. Locks: order → its deadline → accounts.
"""

from uuid import UUID

from sqlalchemy import Uuid, bindparam, select

from app.core.actor import Actor
from app.core.database import Row, Session, Statement
from app.core.errors import Unprocessable
from app.core.money import commission
from app.kernel import escrow, ledger
from app.kernel.ledger import Posting
from app.models.ledger import AccountKind
from app.models.work_orders import WorkOrderStatus, work_orders
from app.schemas.work_orders import OverrideDecision, ResolveDispute, WorkOrderState
from app.services.work_orders.lifecycle import LIFECYCLE, Action
from app.services.work_orders.purchase import subject


class SplitRefused(Unprocessable):
    code, title = "split_refused", "A resumed order keeps its money; any other names both parts."


# Frozen, so that they may be read without a lock.
_TERMS = Statement(
    select(work_orders.c.price_minor, work_orders.c.commission_basis_points).where(
        work_orders.c.id == bindparam("order_id", type_=Uuid)
    )
)


async def approve(session: Session, actor: Actor, order_id: UUID) -> WorkOrderState:
    """The evidence shows that the work is done: escrow → booster, less the commission that was frozen."""
    row = await LIFECYCLE.advance(session, order_id, Action.APPROVE, actor)
    await _release(session, actor, row)
    return WorkOrderState.model_validate(dict(row))


async def cancel(session: Session, actor: Actor, order_id: UUID, reason: str) -> WorkOrderState:
    """Call it off: escrow → buyer. `TooLateToCancel` for a buyer once a booster is assigned."""
    row = await LIFECYCLE.advance(session, order_id, Action.CANCEL, actor, reason=reason, cancel_reason=reason)
    await escrow.refund(session, subject(order_id), row["buyer_id"], row["currency"], actor_id=actor.id, reason=reason)
    return WorkOrderState.model_validate(dict(row))


async def resolve(session: Session, actor: Actor, order_id: UUID, given: ResolveDispute) -> WorkOrderState:
    """Decide a dispute, once: divide what is held exactly, or let the work go on.

    The commission is taken of the booster's part, at the frozen rate. `PartsDoNotAddUp`, `SplitRefused`.
    """
    notes = {"reason": given.resolution_notes, "resolution_notes": given.resolution_notes}
    parts = [part for part in (given.booster_minor, given.buyer_minor) if part is not None]
    if len(parts) != (0 if given.outcome == "RESUMED" else 2):
        raise SplitRefused()
    if not parts:
        row = await LIFECYCLE.advance(session, order_id, Action.RESUME, actor, **notes)
        return WorkOrderState.model_validate(dict(row))
    await LIFECYCLE.check(session, order_id, Action.RESOLVE, actor)
    terms = await session.first(_TERMS, order_id=order_id)
    assert terms is not None  # noqa: S101 - `check` has found the order
    if sum(parts) != terms["price_minor"]:
        raise escrow.PartsDoNotAddUp(held_minor=terms["price_minor"])
    row = await LIFECYCLE.advance(
        session,
        order_id,
        Action.RESOLVE,
        actor,
        outcome=given.outcome,
        earned_minor=parts[0] - commission(parts[0], terms["commission_basis_points"]),
        refunded_minor=parts[1],
        **notes,
    )
    await _release(session, actor, row, given.resolution_notes)
    return WorkOrderState.model_validate(dict(row))


async def override(session: Session, actor: Actor, order_id: UUID, given: OverrideDecision) -> WorkOrderState:
    """An admin decides otherwise, once for each order, and the money is posted anew so that all parts still add up.

    To `CANCELLED`: the buyer gets back what the booster earned, from the booster's wallet and then as a debt, and what
    the platform kept; `DebtLimitReached`. To `COMPLETED`: a rejected order is paid out of its escrow; for a cancelled
    one the buyer pays the price again, `InsufficientFunds`.
    """
    action = Action.OVERRIDE_COMPLETE if given.outcome == "COMPLETED" else Action.OVERRIDE_CANCEL
    row = await LIFECYCLE.advance(session, order_id, action, actor, reason=given.reason, override_reason=given.reason)
    effect = {
        WorkOrderStatus.COMPLETED: _take_back,
        WorkOrderStatus.CANCELLED: _pay_again,
        WorkOrderStatus.REJECTED: _release,
    }[row["from_status"]]
    await effect(session, actor, row, given.reason)
    return WorkOrderState.model_validate(dict(row))


async def _release(session: Session, actor: Actor, order: Row, reason: str | None = None) -> None:
    """Divide the escrow as it is written on the order."""
    earned, refunded = order["earned_minor"], order["refunded_minor"]
    parts = [
        escrow.earning(order["booster_id"], earned),
        escrow.refunded(order["buyer_id"], refunded),
        escrow.commissioned(order["price_minor"] - earned - refunded),
    ]
    await escrow.release(session, subject(order["id"]), order["currency"], parts, actor_id=actor.id, reason=reason)


async def _take_back(session: Session, actor: Actor, order: Row, reason: str) -> None:
    """Booster and platform → buyer: the whole price."""
    kept = order["commission_minor"]
    await escrow.claw_back(
        session,
        subject(order["id"]),
        order["booster_id"],
        order["buyer_id"],
        order["price_minor"] - kept,
        order["currency"],
        commission=kept,
        actor_id=actor.id,
        reason=reason,
    )


async def _pay_again(session: Session, actor: Actor, order: Row, reason: str) -> None:
    """Buyer → booster and platform: the whole price."""
    price, kept, currency = order["price_minor"], order["commission_minor"], order["currency"]
    await ledger.earn(
        session,
        "override",
        [
            Posting(ledger.wallet(order["buyer_id"], currency), -price),
            Posting(ledger.platform(AccountKind.COMMISSION, currency), kept),
        ],
        [Posting(ledger.wallet(order["booster_id"], currency), price - kept)],
        idempotency_key=f"override:{order['id']}",
        subject=subject(order["id"]),
        actor_id=actor.id,
        reason=reason,
    )

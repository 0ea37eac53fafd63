"""What admins do with a requested payout: send it, fail it, or take back what the bank returned (money.md: payout)."""

from uuid import UUID

from app.core.actor import Actor
from app.core.database import Session
from app.kernel import ledger
from app.models.ledger import AccountKind
from app.schemas.payouts import Payout
from app.services.payouts.lifecycle import LIFECYCLE, Action
from app.services.payouts.requests import request_key


async def send(session: Session, actor: Actor, payout_id: UUID, reference: str) -> Payout:
    """The bank has the order: escrow → clearing. Of many reviewers at once the first decides; the row's lock orders
    them, and an escrow that is empty behind that. `PayoutProfileNotVerified`, `PayoutDestinationChanged`."""
    row = await LIFECYCLE.advance(session, payout_id, Action.SEND, actor, reference=reference)
    await ledger.transfer(
        session,
        "payout_sent",
        ledger.escrow(payout_id, row["currency"]),
        ledger.platform(AccountKind.CLEARING, row["currency"]),
        row["amount_minor"],
        idempotency_key=f"payout_sent:{payout_id}",
        subject=("payout", payout_id),
        actor_id=actor.id,
        reason=reference,
    )
    return Payout.model_validate(dict(row))


async def fail(session: Session, actor: Actor, payout_id: UUID, reason: str) -> Payout:
    """It is not sent: the money goes back from the escrow, once."""
    row = await LIFECYCLE.advance(session, payout_id, Action.FAIL, actor, reason=reason, failure_reason=reason)
    await ledger.reverse(session, request_key(payout_id), actor_id=actor.id, reason=reason)
    return Payout.model_validate(dict(row))


async def take_back(session: Session, actor: Actor, payout_id: UUID, reason: str) -> Payout:
    """The bank returned what was sent: clearing → wallet, once."""
    row = await LIFECYCLE.advance(session, payout_id, Action.RETURN, actor, reason=reason, failure_reason=reason)
    await ledger.transfer(
        session,
        "payout_returned",
        ledger.platform(AccountKind.CLEARING, row["currency"]),
        ledger.wallet(row["owner_id"], row["currency"]),
        row["amount_minor"],
        idempotency_key=f"payout_returned:{payout_id}",
        subject=("payout", payout_id),
        actor_id=actor.id,
        reason=reason,
    )
    return Payout.model_validate(dict(row))

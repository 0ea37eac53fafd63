"""Requesting a payout: the money leaves the wallet at once, and waits in an escrow of its own (money.md: payout)."""

from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, exists, func, select

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import Row, Session, Statement
from app.core.errors import Unprocessable
from app.core.ids import uuid7
from app.core.money import InsufficientFunds
from app.kernel import ledger
from app.kernel.lifecycle import constant
from app.models.ledger import AccountKind, accounts
from app.models.payouts import PayoutProfileStatus, PayoutStatus, payout_profiles, payouts
from app.schemas.payouts import Payout
from app.services.payouts import access
from app.services.payouts.lifecycle import LIFECYCLE, PayoutOpen, PayoutProfileNotVerified


class PayoutTooSmall(Unprocessable):
    code, title = "payout_too_small", "This is less than can be paid out."


class PayoutTooLarge(Unprocessable):
    code, title = "payout_too_large", "This is more than one payout may carry."


_balance = (
    select(accounts.c.balance)
    .where(
        accounts.c.owner_id == payout_profiles.c.id,
        accounts.c.kind == constant(AccountKind.WALLET),
        accounts.c.currency == payout_profiles.c.currency,
    )
    .scalar_subquery()
)
_has_open = exists().where(
    payouts.c.owner_id == payout_profiles.c.id,
    payouts.c.currency == payout_profiles.c.currency,
    payouts.c.status == constant(PayoutStatus.REQUESTED),
)
_STANDING: Final = Statement(
    select(
        payout_profiles.c.status,
        payout_profiles.c.currency,
        payout_profiles.c.holder_name,
        payout_profiles.c.ifsc,
        payout_profiles.c.account_last4,
        payout_profiles.c.revision,
        func.coalesce(_balance, 0).label("balance"),
        _has_open.label("has_open"),
    ).where(payout_profiles.c.id == bindparam("owner_id"))
)


def request_key(payout_id: UUID) -> str:
    """Names the movement into the payout's escrow in the ledger, and with it the one way back."""
    return f"payout:{payout_id}"


async def request(session: Session, actor: Actor, amount_minor: int | None) -> Payout:
    """Take the money out of the wallet and have it sent; without an amount, all there is, up to one payout's limit.

    The owner's lock makes requests queue up, each then sees the one before; the index `payouts_one_requested` stands
    behind that, the wallet's floor behind the money. Whether the profile is still verified is asked again at sending.
    Raises `AccountNotActive`, `PayoutProfileNotVerified`, `PayoutTooSmall`, `PayoutTooLarge`, `PayoutOpen`,
    `InsufficientFunds`.
    """
    await access.lock_active_owner(session, actor.user_id)
    standing = await session.first(_STANDING, owner_id=actor.user_id)
    if standing is None or standing["status"] != PayoutProfileStatus.VERIFIED:
        raise PayoutProfileNotVerified(profile_status="none" if standing is None else standing["status"])
    amount = _everything(standing) if amount_minor is None else _within_limits(amount_minor)
    if standing["has_open"]:
        raise PayoutOpen()
    if amount is None:
        raise InsufficientFunds(minimum_minor=settings().payout_minimum_minor)
    return await _hold(session, actor, actor.user_id, standing, amount)


async def request_all(session: Session, actor: Actor, owner_id: UUID) -> Payout | None:
    """As `request` without an amount, for an owner whose lock the caller holds; None where that would be refused."""
    standing = await session.first(_STANDING, owner_id=owner_id)
    if standing is None or standing["status"] != PayoutProfileStatus.VERIFIED or standing["has_open"]:
        return None
    amount = _everything(standing)
    return None if amount is None else await _hold(session, actor, owner_id, standing, amount)


def _within_limits(amount_minor: int) -> int:
    knobs = settings()
    if amount_minor < knobs.payout_minimum_minor:
        raise PayoutTooSmall(minimum_minor=knobs.payout_minimum_minor)
    if amount_minor > knobs.payout_maximum_minor:
        raise PayoutTooLarge(maximum_minor=knobs.payout_maximum_minor)
    return amount_minor


def _everything(standing: Row) -> int | None:
    """The whole balance, up to what one payout may carry; None if that is less than can be paid out."""
    knobs = settings()
    amount: int = min(standing["balance"], knobs.payout_maximum_minor)
    return amount if amount >= knobs.payout_minimum_minor else None


async def _hold(session: Session, actor: Actor, owner_id: UUID, standing: Row, amount: int) -> Payout:
    """The payout, and its money in an escrow of its own, where it cannot be spent a second time."""
    payout_id = uuid7()
    row = await LIFECYCLE.create(
        session,
        actor,
        {
            "id": payout_id,
            "owner_id": owner_id,
            "amount_minor": amount,
            "currency": standing["currency"],
            "holder_name": standing["holder_name"],
            "ifsc": standing["ifsc"],
            "account_last4": standing["account_last4"],
            "profile_revision": standing["revision"],
        },
    )
    await ledger.transfer(
        session,
        "payout",
        ledger.wallet(owner_id, standing["currency"]),
        ledger.escrow(payout_id, standing["currency"]),
        amount,
        idempotency_key=request_key(payout_id),
        subject=("payout", payout_id),
        actor_id=actor.id,
    )
    return Payout.model_validate(dict(row))

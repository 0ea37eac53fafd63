"""What moves between people: held for a subject, paid on, given back, owed (money.md: What moves).

Each function posts one balanced entry within the caller's transaction. Its idempotency key names the effect and the
subject, so that it happens once however often and by however many it is asked for: the second call raises
`MoneyMovedBefore`. Where amounts depend on balances, all accounts of the entry are locked first, in one statement and
in the order of their ids, as entries lock them too (`ledger.lock`): nobody can deadlock.

Who has a debt repays it from what they earn, before the wallet sees anything. Refunds of one's own payment and tips are
no earnings: the one was never income, the other is a present, and both reach the wallet whole.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, exists, select

from app.core.database import ReadSession, Session, Statement
from app.core.errors import Conflict, Problem
from app.core.money import PLATFORM, MoneyMovedBefore, commission
from app.kernel import ledger
from app.kernel.ledger import Account, Posting
from app.models.ledger import AccountKind, accounts, entries

Subject = tuple[str, UUID]
"""The name of the noun and the id of the row."""


class NothingHeld(Conflict):
    code, title = "nothing_held", "No money is held for this."


class PartsDoNotAddUp(Conflict):
    """`held_minor` is what the parts have to add up to."""

    code, title = "parts_do_not_add_up", "The parts do not add up to what is held."


class Purpose(Enum):
    EARNING = auto()
    REFUND = auto()
    COMMISSION = auto()


class Part(NamedTuple):
    """A part of an escrow, in minor units, and whose it becomes; see `earning`, `refunded`, `commissioned`."""

    purpose: Purpose
    owner_id: UUID
    amount: int

    def line(self, currency: str) -> Posting:
        if self.purpose is Purpose.COMMISSION:
            return Posting(ledger.platform(AccountKind.COMMISSION, currency), self.amount)
        return Posting(ledger.wallet(self.owner_id, currency), self.amount)


def earning(owner_id: UUID, amount: int) -> Part:
    """To the seller, provider, worker or driver, whose debt it repays first."""
    return Part(Purpose.EARNING, owner_id, amount)


def refunded(owner_id: UUID, amount: int) -> Part:
    """Back to who paid, whole."""
    return Part(Purpose.REFUND, owner_id, amount)


def commissioned(amount: int) -> Part:
    """To the platform."""
    return Part(Purpose.COMMISSION, PLATFORM, amount)


def less_commission(owner_id: UUID, amount: int, basis_points: int) -> list[Part]:
    """The seller's and the platform's part of an amount, at the rate that was frozen on the subject."""
    kept = commission(amount, basis_points)
    return [earning(owner_id, amount - kept), commissioned(kept)]


_BALANCE = Statement(select(accounts.c.balance).where(accounts.c.id == bindparam("account_id")))
_IS_USED = Statement(select(exists().where(entries.c.idempotency_key == bindparam("idempotency_key"))))


async def held(session: ReadSession, subject: Subject, currency: str) -> int:
    """What is held for the subject now, in minor units."""
    return await session.scalar(_BALANCE, account_id=ledger.escrow(subject[1], currency).id) or 0


async def hold(session: Session, subject: Subject, payer_id: UUID, amount: int, currency: str, **about: Any) -> UUID:
    """Put money aside: payer's wallet → the subject's escrow. `InsufficientFunds`."""
    return await _hold(session, subject, ledger.wallet(payer_id, currency), amount, about)


async def hold_payment(session: Session, subject: Subject, amount: int, currency: str, **about: Any) -> UUID:
    """As `hold`, of what a payment provider has collected; the subject is paid once, in one way or the other."""
    return await _hold(session, subject, ledger.platform(AccountKind.CLEARING, currency), amount, about)


async def _hold(session: Session, subject: Subject, source: Account, amount: int, about: dict[str, Any]) -> UUID:
    target = ledger.escrow(subject[1], source.currency)
    key = f"hold:{subject[1]}"
    return await ledger.transfer(session, "hold", source, target, amount, idempotency_key=key, subject=subject, **about)


async def release(session: Session, subject: Subject, currency: str, parts: Sequence[Part], **about: Any) -> UUID:
    """Divide all that is held among its owners: a completed job, an approved work order, a decided dispute.

    The parts have to add up to what is held, or `PartsDoNotAddUp`; parts of zero are left out, and a negative one is a
    ValueError. An escrow is settled once, by this or by `refund`. `NothingHeld` where nothing was.
    Locks the escrow, the owners' accounts and their debts in one statement, in the order of account ids.
    """
    return await _settle(session, subject, currency, "release", parts, about)


async def refund(session: Session, subject: Subject, payer_id: UUID, currency: str, **about: Any) -> UUID:
    """Give all that is held back to who paid it: a cancellation. `NothingHeld`; locks as `release`."""
    return await _settle(session, subject, currency, "refund", payer_id, about)


async def _settle(
    session: Session, subject: Subject, currency: str, kind: str, to: Sequence[Part] | UUID, about: dict[str, Any]
) -> UUID:
    """Empty the escrow in one entry; `to` are the parts, or who gets all of it, whatever it is."""
    parts = [refunded(to, 0)] if isinstance(to, UUID) else to
    if any(part.amount < 0 for part in parts):
        raise ValueError(f"a part of {subject} is negative: {parts}")
    source, key = ledger.escrow(subject[1], currency), f"settlement:{subject[1]}"
    earnings = [part.line(currency) for part in parts if part.purpose is Purpose.EARNING]
    others = [part.line(currency) for part in parts if part.purpose is not Purpose.EARNING]
    balances = await ledger.lock_entry(session, [source, *(line.account for line in others)], earnings)
    there = balances[source]
    if isinstance(to, UUID):
        others = [refunded(to, there).line(currency)]
    if not there or sum(line.amount for line in (*earnings, *others)) != there:
        raise await _why_not(session, key, there)
    lines = [Posting(source, -there), *others, *ledger.repaying(earnings, balances)]
    return await ledger.post(session, kind, lines, idempotency_key=key, subject=subject, **about)


async def _why_not(session: Session, key: str, there: int) -> Problem:
    """Who repeats a settlement is told so, rather than that nothing is held any more."""
    if await session.scalar(_IS_USED, idempotency_key=key):
        return MoneyMovedBefore()
    return PartsDoNotAddUp(held_minor=there) if there else NothingHeld()


async def claw_back(
    session: Session,
    subject: Subject,
    seller_id: UUID,
    buyer_id: UUID,
    amount: int,
    currency: str,
    *,
    commission: int = 0,
    **about: Any,
) -> UUID:
    """Refund after the money was paid on: the seller's wallet as far as it reaches, the rest as the seller's debt.

    With `commission`, the platform gives that much of its part back too. The buyer's wallet receives all of it.
    `DebtLimitReached`, and nothing moves, where the seller may not owe so much.
    Locks all three accounts in one statement, in the order of their ids.
    """
    if min(amount, commission) < 0 or amount + commission == 0 or seller_id == buyer_id:
        raise ValueError(f"claw_back: {amount} and {commission} from {seller_id} to {buyer_id}")
    paid, owed = ledger.wallet(seller_id, currency), ledger.debt(seller_id, currency)
    back = ledger.wallet(buyer_id, currency)
    at_hand = min(amount, (await ledger.lock(session, [paid, owed, back]))[paid])
    return await ledger.post(
        session,
        "claw_back",
        [
            Posting(paid, -at_hand),
            Posting(owed, at_hand - amount),
            Posting(ledger.platform(AccountKind.COMMISSION, currency), -commission),
            Posting(back, amount + commission),
        ],
        idempotency_key=f"claw_back:{subject[1]}",
        subject=subject,
        **about,
    )


async def charge_commission(
    session: Session, subject: Subject, provider_id: UUID, amount: int, currency: str, **about: Any
) -> UUID:
    """The platform's part of what the provider was paid in cash: it becomes the provider's debt, whatever the wallet
    holds. `DebtLimitReached`.

    Locks the debt, so that it has the floor that is configured now.
    """
    owed, target = ledger.debt(provider_id, currency), ledger.platform(AccountKind.COMMISSION, currency)
    await ledger.lock(session, [owed, target])
    key = f"commission:{subject[1]}"
    return await ledger.transfer(
        session, "commission", owed, target, amount, idempotency_key=key, subject=subject, **about
    )


async def repay(session: Session, owner_id: UUID, currency: str, **about: Any) -> int:
    """Pay off the debt from the wallet, as far as that reaches; how much that was, in minor units.

    It may be asked for as often as one likes: there is nothing to repay twice. Locks both accounts.
    """
    source, owed = ledger.wallet(owner_id, currency), ledger.debt(owner_id, currency)
    balances = await ledger.lock(session, (), if_open=[source, owed])
    amount = min(balances[source], -balances[owed])
    if amount:
        await ledger.transfer(session, "repayment", source, owed, amount, **about)
    return amount


async def tip(
    session: Session, subject: Subject, giver_id: UUID, receiver_id: UUID, amount: int, currency: str, **about: Any
) -> UUID:
    """A present from wallet to wallet, once for each subject and receiver. `InsufficientFunds`.

    No commission is taken, and the receiver's debt is not repaid from it: who gives a tip gives it to a person, and the
    platform does not come first. Who likes to repay from it calls `repay`.
    """
    if giver_id == receiver_id:
        raise ValueError(f"{giver_id} tips themselves")
    source, target = ledger.wallet(giver_id, currency), ledger.wallet(receiver_id, currency)
    key = f"tip:{subject[1]}:{receiver_id}"
    return await ledger.transfer(session, "tip", source, target, amount, idempotency_key=key, subject=subject, **about)

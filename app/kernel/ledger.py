"""The ledger: money moves as one balanced entry in one statement, and in no other way (money.md: Ledger).

What an owner owes is an account of its own, the debt, whose balance is zero or less: a wallet never goes below zero.

The database holds the rules (`app/models/ledger.py`): postings that do not sum to zero, unknown accounts, balances
below their floor and second uses of an idempotency key are refused there, whatever the code does.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import ARRAY, BigInteger, Text, Uuid, bindparam, case, column, func, insert, null, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.config import settings
from app.core.database import Session, Statement, refuse_violation
from app.core.ids import uuid7
from app.core.money import PLATFORM, DebtLimitReached, InsufficientFunds, MoneyMovedBefore
from app.core.sql import given
from app.core.valkey import STREAMS
from app.kernel.books import Verification, verify
from app.models.ledger import PLATFORM_KINDS, AccountKind, accounts, entries, postings

_ACCOUNTS: Final = UUID("6b1f6b1e-0d6f-5f0a-9a0a-1ca1ba2aa200")

_TOLD: Final = frozenset({AccountKind.WALLET, AccountKind.DEBT})

refuse_violation("accounts_floor", InsufficientFunds)
refuse_violation("accounts_debt_limit", DebtLimitReached)
refuse_violation("entries_idempotency_key_key", MoneyMovedBefore)
refuse_violation("entries_reverses_id_key", MoneyMovedBefore)


class Account(NamedTuple):
    """An account is known by its owner, kind and currency; its id follows from them, so nobody has to look it up."""

    owner_id: UUID
    kind: AccountKind
    currency: str

    @property
    def id(self) -> UUID:
        return _id(self)


@lru_cache(maxsize=4096)
def _id(account: Account) -> UUID:
    # One entry asks for the same few a dozen times, and each costs a hash.
    return uuid5(_ACCOUNTS, f"{account.owner_id}/{account.kind}/{account.currency}")


def wallet(owner_id: UUID, currency: str) -> Account:
    """A user's or shop's money; the database keeps it at or above zero."""
    return Account(owner_id, AccountKind.WALLET, currency)


def escrow(subject_id: UUID, currency: str) -> Account:
    """Money held for one subject; each has its own, so busy subjects do not queue behind one row."""
    return Account(subject_id, AccountKind.ESCROW, currency)


def debt(owner_id: UUID, currency: str) -> Account:
    """What a user or shop owes, as a negative balance; the database keeps it between its floor and zero.

    Before `lock` has named it for the first time, its floor is zero.
    """
    return Account(owner_id, AccountKind.DEBT, currency)


def platform(kind: AccountKind, currency: str) -> Account:
    """One of the platform's own accounts, which keep no balance row and therefore never make a payment wait."""
    return Account(PLATFORM, kind, currency)


class Posting(NamedTuple):
    """A signed amount in minor units: positive adds to the account."""

    account: Account
    amount: int


_line = given(
    "line",
    account_ids=column("account_id", Uuid),
    owner_ids=column("owner_id", Uuid),
    kinds=column("kind", Text),
    currencies=column("currency", Text),
    amounts=column("amount", BigInteger),
)
_lines = select(_line).cte("lines")
_opened = (
    upsert(accounts)
    .from_select(
        ["id", "owner_id", "kind", "currency", "balance"],
        select(
            _lines.c.account_id,
            _lines.c.owner_id,
            _lines.c.kind,
            _lines.c.currency,
            case((_lines.c.owner_id == PLATFORM, null()), else_=0),
        )
        # Two entries that open the same accounts wait for each other's rows; in one order they cannot deadlock.
        .order_by(_lines.c.account_id),
    )
    .on_conflict_do_nothing()
    .cte("opened")
)
_entry = (
    insert(entries)
    .values(
        {
            name: bindparam(name, type_=entries.c[name].type)
            for name in (
                "id", "kind", "subject_type", "subject_id", "idempotency_key", "reverses_id", "actor_id", "reason",
            )
        }
    )
    .returning(entries.c.id)
    .cte("entry")
)  # fmt: skip
_POST: Final = Statement(
    insert(postings)
    .from_select(
        ["entry_id", "account_id", "currency", "amount"],
        select(_entry.c.id, _lines.c.account_id, _lines.c.currency, _lines.c.amount),
    )
    .add_cte(_lines, _opened)
)


async def post(
    session: Session,
    kind: str,
    lines: Sequence[Posting],
    *,
    idempotency_key: str | None = None,
    subject: tuple[str, UUID] | None = None,
    actor_id: UUID | None = None,
    reason: str | None = None,
    reverses_id: UUID | None = None,
) -> UUID:
    """Post one balanced entry and answer its id; accounts that do not exist yet are opened by the same statement.

    Lines of zero are left out; ValueError when nothing remains, or when the rest does not balance.

    `idempotency_key` names the effect ("lead_fee:<id>"), so that it happens once whoever asks: a second use raises
    `MoneyMovedBefore`. `InsufficientFunds` when a balance would fall below its floor. The trigger `postings_balance`
    locks the accounts that keep a balance in the order of their ids, so two entries over the same accounts wait for
    each other instead of deadlocking.
    """
    # Their accounts are not even opened: who has locked its accounts must not come to wait for another one here.
    lines = [line for line in lines if line.amount]
    totals: dict[str, int] = defaultdict(int)
    for line in lines:
        totals[line.account.currency] += line.amount
    if any(totals.values()) or not lines:
        raise ValueError(f"{kind}: postings do not balance, or move nothing: {lines}")
    entry_id = uuid7()
    await session.execute(
        _POST,
        id=entry_id,
        kind=kind,
        subject_type=subject[0] if subject else None,
        subject_id=subject[1] if subject else None,
        idempotency_key=idempotency_key,
        reverses_id=reverses_id,
        actor_id=actor_id,
        reason=reason,
        account_ids=[line.account.id for line in lines],
        owner_ids=[line.account.owner_id for line in lines],
        kinds=[line.account.kind.value for line in lines],
        currencies=[line.account.currency for line in lines],
        amounts=[line.amount for line in lines],
    )
    # The database has written `wallet.changed` for them.
    session.tell(STREAMS, (line.account.owner_id for line in lines if line.account.kind in _TOLD))
    return entry_id


async def transfer(session: Session, kind: str, source: Account, target: Account, amount: int, **about: Any) -> UUID:
    """Move `amount` minor units, which must be positive, from one account to another; see `post`."""
    if amount <= 0:
        raise ValueError(f"{kind}: {amount} is not an amount")
    return await post(session, kind, [Posting(source, -amount), Posting(target, amount)], **about)


_LOCK = Statement(
    select(
        func.lock_accounts(
            *(bindparam(name, type_=ARRAY(Uuid)) for name in ("ids", "owner_ids")),
            *(bindparam(name, type_=ARRAY(Text)) for name in ("kinds", "currencies")),
            bindparam("if_open", type_=ARRAY(Uuid)),
            bindparam("debt_floor", type_=BigInteger),
        ).table_valued(column("id", Uuid), column("balance", BigInteger))
    ),
    writes=True,
)


async def lock(
    session: Session, named: Iterable[Account], *, if_open: Iterable[Account] = ()
) -> defaultdict[Account, int]:
    """The balances of these accounts, which nobody else moves before this transaction ends; 0 where none is kept.

    For entries whose amounts depend on balances, and for several entries in one transaction. Call it once, before the
    first of them, with all the accounts that they may touch: those of `named` are opened, those of `if_open` need not
    exist. All are opened first and locked then, each in the order of account ids, as `post` does it too; so neither two
    callers of `lock` nor one of them and somebody's entry can deadlock. A single-statement session will not do: what
    comes after this raises RuntimeError there. Debts get the floor that the setting
    `debt_limit_minor` wants now, or their balance if that is lower.
    """
    opened, others = list(dict.fromkeys(named)), list(if_open)
    rows = await session.all(
        _LOCK,
        ids=[account.id for account in opened],
        owner_ids=[account.owner_id for account in opened],
        kinds=[account.kind.value for account in opened],
        currencies=[account.currency for account in opened],
        if_open=[account.id for account in others],
        debt_floor=-settings().debt_limit_minor,
    )
    kept = {row["id"]: row["balance"] for row in rows}
    return defaultdict(int, {account: kept.get(account.id, 0) for account in (*opened, *others)})


async def lock_entry(
    session: Session, lines: Iterable[Account], earnings: Iterable[Posting]
) -> defaultdict[Account, int]:
    """`lock` all accounts that an entry may touch which moves `lines` and brings `earnings`."""
    owners = [(account.owner_id, account.currency) for account, _ in earnings]
    named = [*lines, *(wallet(*owner) for owner in owners)]
    return await lock(session, named, if_open=[debt(*owner) for owner in owners])


def repaying(earnings: Iterable[Posting], balances: Mapping[Account, int]) -> list[Posting]:
    """The earnings, divided between what their owners owe, which comes first, and their wallets.

    Pure; `balances` are those that `lock_entry` answers.
    """
    owed: dict[Account, int] = {}
    lines: list[Posting] = []
    for account, amount in earnings:
        due = debt(account.owner_id, account.currency)
        left = owed.setdefault(due, -balances[due])
        repaid = min(amount, left)
        owed[due] = left - repaid
        lines += [Posting(due, repaid), Posting(wallet(account.owner_id, account.currency), amount - repaid)]
    return lines


async def earn(
    session: Session, kind: str, lines: Sequence[Posting], earnings: Sequence[Posting], **about: Any
) -> UUID:
    """Post one entry of `lines`, as they are, and of `earnings`: what owners receive, and repays their debts first.

    Takes the locks of `lock` on all accounts of the entry and on the debts; see `post` for the rest.
    """
    balances = await lock_entry(session, [line.account for line in lines], earnings)
    return await post(session, kind, [*lines, *repaying(earnings, balances)], **about)


_ENTRY_BY_KEY = Statement(
    select(
        entries.c.id,
        entries.c.kind.label("entry_kind"),
        entries.c.subject_type,
        entries.c.subject_id,
        accounts.c.owner_id,
        accounts.c.kind,
        accounts.c.currency,
        postings.c.amount,
    )
    .join(postings, postings.c.entry_id == entries.c.id)
    .join(accounts, accounts.c.id == postings.c.account_id)
    .where(entries.c.idempotency_key == bindparam("idempotency_key"))
    .order_by(postings.c.id)
)


async def reverse(session: Session, idempotency_key: str, *, actor_id: UUID | None, reason: str | None) -> UUID | None:
    """Post the opposite of the entry with this key, once: `entries.reverses_id` is unique.

    It is the exact opposite, but that what comes back to an owner who owes something repays that first (`earn`).
    None when there is no such entry (a free lead, say). A second call raises `MoneyMovedBefore`.
    """
    rows = await session.all(_ENTRY_BY_KEY, idempotency_key=idempotency_key)
    if not rows:
        return None
    lines = [Posting(Account(r["owner_id"], AccountKind(r["kind"]), r["currency"]), -r["amount"]) for r in rows]
    entry, owners = rows[0], (AccountKind.WALLET, AccountKind.DEBT)
    earnings = [line for line in lines if line.amount > 0 and line.account.kind in owners]
    return await earn(
        session,
        f"{entry['entry_kind']}_reversal",
        [line for line in lines if line not in earnings],
        earnings,
        idempotency_key=f"reversal:{idempotency_key}",
        subject=(entry["subject_type"], entry["subject_id"]) if entry["subject_id"] else None,
        reverses_id=entry["id"],
        actor_id=actor_id,
        reason=reason,
    )


__all__ = [
    "PLATFORM_KINDS",
    "Account",
    "AccountKind",
    "Posting",
    "Verification",
    "debt",
    "earn",
    "escrow",
    "lock",
    "lock_entry",
    "platform",
    "post",
    "repaying",
    "reverse",
    "transfer",
    "verify",
    "wallet",
]

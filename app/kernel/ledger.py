"""The ledger: money moves as one balanced entry in one statement, and in no other way (money.md: Ledger).

The database holds the rules (`app/models/ledger.py`): postings that do not sum to zero, unknown accounts, balances
below their floor and second uses of an idempotency key are refused there, whatever the code does.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import ARRAY, BigInteger, Text, Uuid, bindparam, case, column, func, insert, null, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.database import ReadSession, Row, Session, Statement, refuse_violation
from app.core.ids import uuid7
from app.core.money import PLATFORM, InsufficientFunds, MoneyMovedBefore
from app.models.ledger import PLATFORM_KINDS, AccountKind, accounts, entries, postings

_ACCOUNTS: Final = UUID("6b1f6b1e-0d6f-5f0a-9a0a-1ca1ba2aa200")

refuse_violation("accounts_floor", InsufficientFunds)
refuse_violation("entries_idempotency_key_key", MoneyMovedBefore)
refuse_violation("entries_reverses_id_key", MoneyMovedBefore)


class Account(NamedTuple):
    """An account is known by its owner, kind and currency; its id follows from them, so nobody has to look it up."""

    owner_id: UUID
    kind: AccountKind
    currency: str

    @property
    def id(self) -> UUID:
        return uuid5(_ACCOUNTS, f"{self.owner_id}/{self.kind}/{self.currency}")


def wallet(owner_id: UUID, currency: str) -> Account:
    """A user's or shop's money; the database keeps it at or above zero."""
    return Account(owner_id, AccountKind.WALLET, currency)


def escrow(subject_id: UUID, currency: str) -> Account:
    """Money held for one subject; each has its own, so busy subjects do not queue behind one row."""
    return Account(subject_id, AccountKind.ESCROW, currency)


def platform(kind: AccountKind, currency: str) -> Account:
    """One of the platform's own accounts, which keep no balance row and therefore never make a payment wait."""
    return Account(PLATFORM, kind, currency)


class Posting(NamedTuple):
    """A signed amount in minor units: positive adds to the account."""

    account: Account
    amount: int


_line = (
    func.unnest(
        bindparam("account_ids", type_=ARRAY(Uuid)),
        bindparam("owner_ids", type_=ARRAY(Uuid)),
        bindparam("kinds", type_=ARRAY(Text)),
        bindparam("currencies", type_=ARRAY(Text)),
        bindparam("amounts", type_=ARRAY(BigInteger)),
    )
    .table_valued(
        column("account_id", Uuid),
        column("owner_id", Uuid),
        column("kind", Text),
        column("currency", Text),
        column("amount", BigInteger),
    )
    .render_derived(name="line")
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
        select(_entry.c.id, _lines.c.account_id, _lines.c.currency, _lines.c.amount).where(_lines.c.amount != 0),
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
    totals: dict[str, int] = defaultdict(int)
    for line in lines:
        totals[line.account.currency] += line.amount
    if any(totals.values()) or not any(line.amount for line in lines):
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
    return entry_id


async def transfer(session: Session, kind: str, source: Account, target: Account, amount: int, **about: Any) -> UUID:
    """Move `amount` minor units, which must be positive, from one account to another; see `post`."""
    if amount <= 0:
        raise ValueError(f"{kind}: {amount} is not an amount")
    return await post(session, kind, [Posting(source, -amount), Posting(target, amount)], **about)


_ENTRY_BY_KEY = Statement(
    select(entries.c.id, entries.c.kind, entries.c.subject_type, entries.c.subject_id).where(
        entries.c.idempotency_key == bindparam("idempotency_key")
    )
)
_LINES_OF = Statement(
    select(accounts.c.owner_id, accounts.c.kind, accounts.c.currency, postings.c.amount)
    .join(accounts, accounts.c.id == postings.c.account_id)
    .where(postings.c.entry_id == bindparam("entry_id"))
    .order_by(postings.c.id)
)


async def reverse(session: Session, idempotency_key: str, *, actor_id: UUID | None, reason: str | None) -> UUID | None:
    """Post the exact opposite of the entry with this key, once: `entries.reverses_id` is unique.

    None when there is no such entry (a free lead, say). A second call raises `MoneyMovedBefore`.
    """
    entry = await session.first(_ENTRY_BY_KEY, idempotency_key=idempotency_key)
    if entry is None:
        return None
    lines = [
        Posting(Account(line["owner_id"], AccountKind(line["kind"]), line["currency"]), -line["amount"])
        for line in await session.all(_LINES_OF, entry_id=entry["id"])
    ]
    return await post(
        session,
        f"{entry['kind']}_reversal",
        lines,
        idempotency_key=f"reversal:{idempotency_key}",
        subject=(entry["subject_type"], entry["subject_id"]) if entry["subject_id"] else None,
        reverses_id=entry["id"],
        actor_id=actor_id,
        reason=reason,
    )


_UNBALANCED = Statement(
    select(postings.c.entry_id, postings.c.currency, func.sum(postings.c.amount).label("sum"))
    .group_by(postings.c.entry_id, postings.c.currency)
    .having(func.sum(postings.c.amount) != 0)
    .limit(100)
)
_EMPTY_ENTRIES = Statement(
    select(entries.c.id)
    .outerjoin(postings, postings.c.entry_id == entries.c.id)
    .where(postings.c.id.is_(None))
    .limit(100)
)
_sums = (
    select(postings.c.account_id, func.sum(postings.c.amount).label("sum")).group_by(postings.c.account_id).subquery()
)
_DRIFTED = Statement(
    select(accounts.c.id, accounts.c.balance, func.coalesce(_sums.c.sum, 0).label("sum"))
    .outerjoin(_sums, _sums.c.account_id == accounts.c.id)
    .where(accounts.c.balance.is_not(None), accounts.c.balance != func.coalesce(_sums.c.sum, 0))
    .limit(100)
)
_BELOW_FLOOR = Statement(
    select(accounts.c.id, accounts.c.balance, accounts.c.floor).where(accounts.c.balance < accounts.c.floor).limit(100)
)
_HOMELESS = Statement(
    select(postings.c.id, postings.c.account_id, postings.c.currency)
    .outerjoin(accounts, accounts.c.id == postings.c.account_id)
    .where(or_(accounts.c.id.is_(None), accounts.c.currency != postings.c.currency))
    .limit(100)
)
_TOTALS = Statement(
    select(postings.c.currency, func.count().label("postings"), func.sum(postings.c.amount).label("sum"))
    .group_by(postings.c.currency)
    .order_by(postings.c.currency)
)


class Verification(NamedTuple):
    """What `verify` found: totals per currency, and one line for each broken rule."""

    totals: list[Row]
    faults: list[str]


async def verify(session: ReadSession) -> Verification:
    """Prove the books: every entry balances and has postings, every balance is the sum of its postings, none is low,
    and no posting is outside of all accounts."""
    faults = [f"entry {r['entry_id']} is off by {r['sum']} {r['currency']}" for r in await session.all(_UNBALANCED)]
    faults += [f"entry {r['id']} has no postings" for r in await session.all(_EMPTY_ENTRIES)]
    faults += [
        f"account {r['id']} says {r['balance']}, its postings say {r['sum']}" for r in await session.all(_DRIFTED)
    ]
    faults += [
        f"account {r['id']} is at {r['balance']}, below its floor {r['floor']}" for r in await session.all(_BELOW_FLOOR)
    ]
    faults += [
        f"posting {r['id']} names no {r['currency']} account: {r['account_id']}" for r in await session.all(_HOMELESS)
    ]
    return Verification(await session.all(_TOTALS), faults)


__all__ = [
    "PLATFORM_KINDS",
    "Account",
    "AccountKind",
    "Posting",
    "escrow",
    "platform",
    "post",
    "reverse",
    "transfer",
    "verify",
    "wallet",
]

"""The proof of the books: what no code, trigger or restored backup may have broken (money.md: Ledger)."""

from typing import NamedTuple

from sqlalchemy import and_, case, func, or_, select

from app.core.database import ReadSession, Row, Statement
from app.kernel import subjects
from app.models.ledger import AccountKind, accounts, entries, postings

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
_is_debt = accounts.c.kind == AccountKind.DEBT.value
# Whatever an account's row says, only a debt's floor is below zero.
_floor = case((_is_debt, accounts.c.floor), else_=func.greatest(accounts.c.floor, 0))
_BELOW_FLOOR = Statement(
    select(accounts.c.id, accounts.c.balance, _floor.label("floor")).where(accounts.c.balance < _floor).limit(100)
)
_NOT_OWED = Statement(
    select(accounts.c.id, accounts.c.balance).where(and_(_is_debt, accounts.c.balance > 0)).limit(100)
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
    """Prove the books: every entry balances and has postings, every balance is the sum of its postings, no wallet is
    negative, every debt is within its floor, no posting is outside of all accounts, and nothing is held for a subject
    that has come to its end."""
    faults = [f"entry {r['entry_id']} is off by {r['sum']} {r['currency']}" for r in await session.all(_UNBALANCED)]
    faults += [f"entry {r['id']} has no postings" for r in await session.all(_EMPTY_ENTRIES)]
    faults += [
        f"account {r['id']} says {r['balance']}, its postings say {r['sum']}" for r in await session.all(_DRIFTED)
    ]
    faults += [
        f"account {r['id']} is at {r['balance']}, below its floor {r['floor']}" for r in await session.all(_BELOW_FLOOR)
    ]
    faults += [f"debt {r['id']} is at {r['balance']}, above zero" for r in await session.all(_NOT_OWED)]
    faults += [
        f"posting {r['id']} names no {r['currency']} account: {r['account_id']}" for r in await session.all(_HOMELESS)
    ]
    for subject, statement in subjects.held_after_the_end().items():
        faults += [
            f"{subject} {r['subject_id']} is {r['status']} and holds {r['balance']} {r['currency']}"
            for r in await session.all(statement)
        ]
    return Verification(await session.all(_TOTALS), faults)

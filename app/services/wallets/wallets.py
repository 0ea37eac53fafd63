"""Wallets: balances, statements, and top-ups by an admin (money.md: Ledger)."""

from collections.abc import Mapping
from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Text,
    any_,
    bindparam,
    cast,
    exists,
    func,
    select,
    true,
    tuple_,
)

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import ReadSession, Session, Statement
from app.core.errors import NotFound, Unprocessable
from app.core.money import UnknownCurrency
from app.core.pagination import LONGEST, decode, next_cursor
from app.core.sql import constant, constants
from app.kernel import ledger
from app.kernel.events import emit
from app.models.base import Timestamp
from app.models.ledger import AccountKind, accounts, entries, postings
from app.models.users import users
from app.schemas.base import Page
from app.schemas.wallets import Balance, TopUp, Wallet, WalletEntry, WalletPage
from app.services.wallets.events import ToppedUp


class TopUpTooLarge(Unprocessable):
    code, title = "top_up_too_large", "This is more than may be topped up at once."


def _balance(kind: AccountKind) -> ColumnElement[int]:
    return func.coalesce(func.sum(accounts.c.balance).filter(accounts.c.kind == constant(kind)), 0)


_BALANCES = Statement(
    select(
        accounts.c.currency,
        cast(_balance(AccountKind.WALLET), BigInteger).label("balance_minor"),
        cast(-_balance(AccountKind.DEBT), BigInteger).label("owed_minor"),
    )
    .where(
        accounts.c.owner_id == bindparam("owner_id"),
        accounts.c.kind == any_(constants((AccountKind.WALLET, AccountKind.DEBT))),
    )
    .group_by(accounts.c.currency)
    .order_by(accounts.c.currency)
)
_rows: BindParameter[int] = bindparam("rows")
_FILTERS: Final[Mapping[str, ColumnElement[bool]]] = {
    "since": entries.c.created_at >= bindparam("since", type_=Timestamp),
    "until": entries.c.created_at < bindparam("until", type_=Timestamp),
    "kind": entries.c.kind == bindparam("kind", type_=Text),
}


@cache
def _entries(filters: frozenset[str]) -> Statement:
    """The newest of each wallet by `postings_account_id_index`, however many there are in the ledger.

    One statement for each set of filters: of filters that may be left out the planner expects so much work that it
    would plan every call anew, as of a limit that it does not know (`newest` in `app/core/pagination.py`).
    """
    few = (
        select(
            postings.c.account_id,
            entries.c.id,
            entries.c.kind,
            postings.c.id.label("posting_id"),
            postings.c.amount.label("amount_minor"),
            postings.c.currency,
            entries.c.subject_type,
            entries.c.subject_id,
            entries.c.reason,
            entries.c.created_at,
        )
        .join(entries, entries.c.id == postings.c.entry_id)
        .where(
            # Not with `=`: the account would be no part of the order then, which the numbers alone have in any index
            # of theirs, also in that of everybody's postings.
            postings.c.account_id >= accounts.c.id,
            tuple_(postings.c.account_id, postings.c.id) < tuple_(accounts.c.id, bindparam("before", type_=BigInteger)),
            *(_FILTERS[name] for name in sorted(filters)),
        )
        .order_by(postings.c.account_id.desc(), postings.c.id.desc())
        .limit(LONGEST)
        .correlate(accounts)
        .lateral("few")
    )
    newest = select(few).order_by(few.c.account_id.desc(), few.c.posting_id.desc()).limit(_rows).lateral("newest")
    return Statement(
        select(*(column for column in newest.c if column is not newest.c.account_id))
        .select_from(accounts.join(newest, true()))
        .where(accounts.c.owner_id == bindparam("owner_id"), accounts.c.kind == constant(AccountKind.WALLET))
        .order_by(newest.c.posting_id.desc())
        .limit(_rows)
    )


_NEWEST: Final = 2**63 - 1
"""Behind every posting's number."""
_EXISTS = Statement(select(exists().where(users.c.id == bindparam("user_id"))))


async def wallet(session: ReadSession, owner_id: UUID) -> Wallet:
    """What the owner holds in each currency that ever moved; nothing yet is zero in the platform's own."""
    rows = await session.all(_BALANCES, owner_id=owner_id)
    balances = [Balance.model_validate(dict(row)) for row in rows]
    return Wallet(balances=balances or [Balance(currency=settings().currency, balance_minor=0, owed_minor=0)])


async def statement(session: ReadSession, owner_id: UUID, wanted: WalletPage) -> Page[WalletEntry]:
    """The movements, newest first: one for each posting, of which an entry may have several for one owner."""
    before = min(decode(wanted.cursor).int, _NEWEST)
    filters = wanted.model_dump(include=set(_FILTERS), exclude_none=True)
    rows = await session.all(
        _entries(frozenset(filters)), owner_id=owner_id, before=before, rows=wanted.limit + 1, **filters
    )
    items = [WalletEntry.model_validate(dict(row)) for row in rows[: wanted.limit]]
    keys = [{"id": UUID(int=row["posting_id"])} for row in rows]
    return Page(items=items, next_cursor=next_cursor(keys, wanted.limit))


async def top_up(session: Session, actor: Actor, user_id: UUID, wanted: TopUp) -> Wallet:
    """An admin books money in that arrived outside of any payment provider.

    `NotFound`, `TopUpTooLarge`, `UnknownCurrency`.
    """
    if not settings().knows_currency(wanted.currency):
        raise UnknownCurrency()
    if wanted.amount_minor > settings().wallet_top_up_limit_minor:
        raise TopUpTooLarge(limit_minor=settings().wallet_top_up_limit_minor)
    if not await session.scalar(_EXISTS, user_id=user_id):
        raise NotFound()
    entry_id = await ledger.transfer(
        session,
        "top_up_by_admin",
        ledger.platform(AccountKind.CLEARING, wanted.currency),
        ledger.wallet(user_id, wanted.currency),
        wanted.amount_minor,
        subject=("user", user_id),
        actor_id=actor.id,
        reason=wanted.reason,
    )
    topped_up = ToppedUp(entry_id=entry_id, amount_minor=wanted.amount_minor, currency=wanted.currency)
    await emit(session, topped_up, subject_type="entry", subject_id=entry_id, to=[user_id])
    return await wallet(session, user_id)

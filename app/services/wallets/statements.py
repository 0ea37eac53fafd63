"""Statements of a period: the movements of one wallet with their running balance, and as CSV (money.md: Ledger)."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Uuid, bindparam, cast, func, select

from app.core.config import settings
from app.core.database import ReadSession, Statement
from app.core.errors import Unprocessable
from app.core.money import decimal
from app.kernel import ledger
from app.models.base import Timestamp
from app.models.ledger import entries, postings
from app.schemas.wallets import ExportStatement


class InvalidPeriod(Unprocessable):
    code, title = "invalid_period", "The period must begin before it ends, and be no longer than a year."


class StatementRow(NamedTuple):
    """One movement: `amount_minor` is signed from the wallet's point of view, `balance_minor` is what it led to."""

    created_at: datetime
    kind: str
    subject_type: str | None
    subject_id: UUID | None
    reason: str | None
    amount_minor: int
    balance_minor: int


_account = postings.c.account_id == bindparam("account_id", type_=Uuid)
_since, _until = bindparam("since", type_=Timestamp), bindparam("until", type_=Timestamp)
_OPENING: Final = Statement(
    select(cast(func.coalesce(func.sum(postings.c.amount), 0), BigInteger))
    .join(entries, entries.c.id == postings.c.entry_id)
    .where(_account, entries.c.created_at < _since)
)
# In the order of the postings' numbers, which have an index; times follow it but for transactions that overlapped.
_PAGE: Final = Statement(
    select(
        postings.c.id,
        entries.c.created_at,
        entries.c.kind,
        entries.c.subject_type,
        entries.c.subject_id,
        entries.c.reason,
        postings.c.amount,
    )
    .join(entries, entries.c.id == postings.c.entry_id)
    .where(
        _account,
        postings.c.id > bindparam("after", type_=BigInteger),
        entries.c.created_at >= _since,
        entries.c.created_at < _until,
    )
    .order_by(postings.c.id)
    .limit(bindparam("rows"))
)
_FIRST: Final = Statement(
    select(func.count()).select_from(
        select(postings.c.id)
        .join(entries, entries.c.id == postings.c.entry_id)
        .where(_account, entries.c.created_at >= _since, entries.c.created_at < _until)
        .limit(bindparam("rows"))
        .subquery()
    )
)
_ABOUT: Final = ("created_at", "kind", "subject_type", "subject_id", "reason")
_ROWS_AT_ONCE: Final = 500


async def opening_balance(session: ReadSession, owner_id: UUID, currency: str, since: datetime) -> int:
    """What the wallet held before the first movement of the period, in minor units."""
    balance: int = await session.scalar(_OPENING, account_id=ledger.wallet(owner_id, currency).id, since=since)
    return balance


async def is_longer_than(
    session: ReadSession, rows: int, owner_id: UUID, currency: str, since: datetime, until: datetime
) -> bool:
    """Whether the period holds more movements than that."""
    account_id = ledger.wallet(owner_id, currency).id
    found: int = await session.scalar(_FIRST, account_id=account_id, since=since, until=until, rows=rows + 1)
    return found > rows


async def statement_rows(
    session: ReadSession, owner_id: UUID, currency: str, since: datetime, until: datetime
) -> AsyncIterator[StatementRow]:
    """The movements from `since` until before `until`, oldest first.

    Read page by page: the memory is that of one page however many there are, and no connection is held in between.
    """
    account_id = ledger.wallet(owner_id, currency).id
    balance = await opening_balance(session, owner_id, currency, since)
    after = 0
    while True:
        rows = await session.all(
            _PAGE, account_id=account_id, since=since, until=until, after=after, rows=_ROWS_AT_ONCE
        )
        for row in rows:
            balance += row["amount"]
            about = {name: row[name] for name in _ABOUT}
            yield StatementRow(**about, amount_minor=row["amount"], balance_minor=balance)
        if len(rows) < _ROWS_AT_ONCE:
            return
        after = rows[-1]["id"]


_HEADER: Final = (
    "time", "kind", "subject_type", "subject_id", "reason", "amount_minor", "amount", "balance_minor", "balance",
)  # fmt: skip
# What makes a spreadsheet take a cell for a formula.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def period_of(wanted: ExportStatement, now: datetime) -> datetime:
    """Where the period ends; `InvalidPeriod` if that is before its beginning or too far behind it."""
    until = wanted.until or now
    if not timedelta() < until - wanted.since <= timedelta(seconds=settings().statement_period_seconds):
        raise InvalidPeriod()
    return until


async def exported(session: ReadSession, owner_id: UUID, wanted: ExportStatement) -> AsyncIterator[str]:
    """The statement as lines of CSV (RFC 4180, times in UTC), in chunks. `InvalidPeriod`.

    The first chunk is made before this returns, so that what is refused is refused before the answer has begun.
    """
    until = period_of(wanted, datetime.now(UTC))
    chunks = _chunks(statement_rows(session, owner_id, wanted.currency, wanted.since, until))
    return _continued(await anext(chunks), chunks)


async def _continued(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for chunk in rest:
        yield chunk


async def _chunks(rows: AsyncIterator[StatementRow]) -> AsyncIterator[str]:
    waiting: list[tuple[str, ...]] = [_HEADER]
    async for row in rows:
        waiting.append(_cells(row))
        if len(waiting) >= _ROWS_AT_ONCE:
            yield _lines(waiting)
            waiting = []
    yield _lines(waiting)


def _cells(row: StatementRow) -> tuple[str, ...]:
    """Text is kept from being a formula; numbers are our own, and a minus before one is a minus."""
    texts = (row.kind, row.subject_type or "", str(row.subject_id or ""), row.reason or "")
    return (
        row.created_at.astimezone(UTC).isoformat(),
        *(f"'{text}" if text.startswith(_FORMULA_STARTS) else text for text in texts),
        str(row.amount_minor),
        decimal(row.amount_minor),
        str(row.balance_minor),
        decimal(row.balance_minor),
    )


def _lines(cells: Iterable[tuple[str, ...]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(cells)
    return text.getvalue()

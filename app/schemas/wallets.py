"""Wallets and their statements."""

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import Field

from app.schemas.base import Amount, Answer, Currency, Moment, PageQuery, Paragraph, Payload, Word

STATEMENT_LIMIT: Final = 5000
"""Movements of a statement on paper."""


class Balance(Answer):
    currency: str
    balance_minor: int
    owed_minor: int = Field(description="What the account owes; the next earnings repay it first.")


class Wallet(Answer):
    balances: list[Balance]


class WalletEntry(Answer):
    """One movement; `amount_minor` is signed from the wallet's point of view."""

    id: UUID
    kind: str
    amount_minor: int
    currency: str
    subject_type: str | None
    subject_id: UUID | None
    reason: str | None
    created_at: datetime


class TopUp(Payload):
    amount_minor: Amount
    currency: Currency = "INR"
    reason: Paragraph


class WalletPage(PageQuery):
    """Filters of the statement: `from` is part of the period, `to` is not."""

    since: Moment | None = Field(None, alias="from")
    until: Moment | None = Field(None, alias="to")
    kind: Word | None = None


class RequestedStatement(Answer):
    """The file that the statement will be; `/files/{file_id}` links to it once `wallet.statement_ready` has come."""

    file_id: UUID


class ExportStatement(Payload):
    """The period of an export: `from` is part of it, `to` (now, if left out) is not."""

    since: Moment = Field(alias="from")
    until: Moment | None = Field(None, alias="to")
    currency: Currency = "INR"

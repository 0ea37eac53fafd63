"""Wallets and their statements."""

from datetime import datetime
from uuid import UUID

from app.schemas.base import Amount, Answer, Currency, PageQuery, Paragraph, Payload


class Balance(Answer):
    currency: str
    balance_minor: int


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
    """No filters."""

"""Payout profiles and payouts."""

import re
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, WithJsonSchema

from app.models.payouts import PayoutProfileStatus as PayoutProfileStatus
from app.models.payouts import PayoutSchedule, PayoutStatus
from app.schemas.base import Amount, Answer, Line, PageQuery, Payload

_ACCOUNT_NUMBER = "^[0-9]{9,18}$"


def _account_number(value: SecretStr) -> SecretStr:
    if re.fullmatch(_ACCOUNT_NUMBER, value.get_secret_value()) is None:
        raise ValueError("must be 9 to 18 digits")
    return value


# A secret, so that it stands in no log and no trace by accident.
AccountNumber = Annotated[
    SecretStr,
    AfterValidator(_account_number),
    WithJsonSchema({"type": "string", "pattern": _ACCOUNT_NUMBER, "writeOnly": True}),
]
Ifsc = Annotated[str, StringConstraints(pattern=r"^[A-Z]{4}0[A-Z0-9]{6}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/_.-]{4,64}$")]


class BankAccount(Payload):
    """An account in India that takes rupees."""

    holder_name: Line
    ifsc: Ifsc = Field(description="The branch.")
    account_number: AccountNumber = Field(description="9 to 18 digits; never shown again but for the last four.")


class SetSchedule(Payload):
    schedule: PayoutSchedule


class PayoutProfile(Answer):
    """Where the owner's money goes; all but status, currency and schedule is null while there is none."""

    status: PayoutProfileStatus | Literal["none"]
    reason: str | None = Field(description="Why it was restricted or rejected.")
    holder_name: str | None
    ifsc: str | None
    account_last4: str | None
    currency: str
    revision: int = Field(description="Counts the bank accounts that were handed in.")
    schedule: PayoutSchedule
    next_payout_at: datetime | None
    updated_at: datetime | None


class ReviewedPayoutProfile(PayoutProfile):
    """A profile as those see it who review it."""

    user_id: UUID
    user_name: str


class VerifyProfile(Payload):
    revision: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] = Field(
        description="Of the bank account that was checked: one that was changed since is not verified with it."
    )


class RequestPayout(Payload):
    amount_minor: Amount | None = Field(
        None, description="Minor units (paise); if left out, the whole balance, up to what one payout may carry."
    )


class SendPayout(Payload):
    reference: Reference = Field(description="The bank's, such as a UTR.")


class Payout(Answer):
    id: UUID
    owner_id: UUID
    status: PayoutStatus
    amount_minor: int
    currency: str
    holder_name: str
    ifsc: str
    account_last4: str
    reference: str | None
    failure_reason: str | None
    created_at: datetime
    sent_at: datetime | None
    failed_at: datetime | None


class MyPayouts(PageQuery):
    status: PayoutStatus | None = None


class ReviewPayouts(PageQuery):
    status: PayoutStatus = PayoutStatus.REQUESTED


class ReviewProfiles(PageQuery):
    status: PayoutProfileStatus = PayoutProfileStatus.PENDING

"""Payments, refunds and what admins do with them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from app.models.payments import PaymentPurpose, PaymentStatus, RefundStatus
from app.schemas.base import Amount, Answer, Currency, PageQuery, Paragraph, Payload

# What an address is written with; no backslash, which browsers take for a slash and others do not.
ReturnUrl = Annotated[str, StringConstraints(max_length=500, pattern=r"^https?://[!-\[\]-~]+$")]


class CreatePayment(Payload):
    """What is to be paid for. The amount is the payer's to say for a top-up only; prices come from what is bought."""

    purpose: PaymentPurpose
    subject_id: UUID | None = Field(None, description="The service request whose lead is bought; none for a top-up.")
    amount_minor: Amount | None = None
    currency: Currency = "INR"
    return_url: ReturnUrl | None = Field(
        None, description="Where the payer's browser goes afterwards: an address of this service or an allowed origin."
    )

    @model_validator(mode="after")
    def _whole(self) -> "CreatePayment":
        topping_up = self.purpose is PaymentPurpose.TOP_UP
        if topping_up != (self.amount_minor is not None) or topping_up != (self.subject_id is None):
            raise ValueError("a top-up has an amount and no subject; everything else has a subject and no amount")
        return self


class Payment(Answer):
    id: UUID
    purpose: PaymentPurpose
    subject_id: UUID | None
    status: PaymentStatus
    amount_minor: int
    currency: str
    refunded_minor: int
    provider: str
    checkout_url: str | None
    failure: str | None
    created_at: datetime


class ReviewedPayment(Payment):
    """As admins see it: with what the provider says that it took."""

    payer_id: UUID
    reference: str | None
    captured_minor: int | None
    captured_currency: str | None


class PaymentPage(PageQuery):
    """No filters."""


class AllPayments(PageQuery):
    status: PaymentStatus | None = None


class RequestRefund(Payload):
    amount_minor: Amount | None = Field(None, description="Everything that was not refunded yet, if not given.")
    reason: Paragraph


class Refund(Answer):
    id: UUID
    payment_id: UUID
    status: RefundStatus
    amount_minor: int
    currency: str
    reason: str
    failure: str | None
    created_at: datetime


class Received(Answer):
    """The webhook is stored, or was before; there is nothing to send again."""

    received: bool = True

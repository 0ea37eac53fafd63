"""The port to payment providers: what the platform asks of one, and what it hears from one (money.md).

A provider is told our own ids and uses them as its idempotency keys, so that asking again after a lost answer does
nothing twice. What happened to the money is only ever believed from a signed webhook.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from app.core.config import ProviderName as ProviderName
from app.core.errors import Problem, Unavailable

TOLERANCE_SECONDS: Final = 300
"""How far the time at which a webhook was signed may lie in the past or in the future."""


class ProviderAway(Unavailable):
    """The payment provider did not answer, or not as documented; asking again later is safe."""

    code, title = "payment_provider_away", "The payment provider does not answer."


class ProviderRefused(Exception):
    """The payment provider has decided against it, for good; the message is the provider's reason."""


class SignatureRefused(Problem):
    """The webhook is not signed by the provider, or at another time than now."""

    status, code, title = 400, "invalid_signature", "This is not signed by the payment provider, now."


class NoticeKind(StrEnum):
    """What a webhook tells; whatever else a provider sends is `OTHER` and changes nothing."""

    PAID = "paid"
    FAILED = "failed"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Notice:
    """One webhook in the platform's words. A field that the provider did not send, or not in its documented shape, is
    None; nobody fills it with a guess."""

    event_id: str
    """The provider's own, unique for the provider: a second one of the same id is a copy."""
    kind: NoticeKind
    name: str
    """The provider's name of the event, for the log."""
    payment_id: UUID | None = None
    """Ours, which the provider was given when the checkout was opened."""
    refund_id: UUID | None = None
    """Ours, which the provider was given when the refund was asked for."""
    reference: str | None = None
    """The provider's id of the money itself, which a refund has to name."""
    amount_minor: int | None = None
    currency: str | None = None
    """Upper case."""
    reason: str | None = None
    """Why it failed, in the provider's words."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a checkout is opened for."""

    payment_id: UUID
    amount_minor: int
    currency: str
    description: str
    return_url: str
    """Where the payer's browser goes afterwards; it proves nothing."""
    expires_in_seconds: int


@dataclass(frozen=True, slots=True)
class Checkout:
    """A page of the provider's on which the payer pays."""

    url: str
    reference: str
    """The provider's id of the checkout."""


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money that is to go back the way it came."""

    refund_id: UUID
    payment_id: UUID
    reference: str
    """What `Notice.reference` of the payment was."""
    amount_minor: int
    currency: str


class PaymentProvider(Protocol):
    """What an adapter does. Every call may be repeated: the ids in the order are the provider's idempotency keys."""

    async def open_checkout(self, order: Order) -> Checkout:
        """Open a page to pay on. Raises `ProviderAway`, `ProviderRefused`."""

    async def refund(self, order: RefundOrder) -> str:
        """Ask for a refund; the provider's id of it. Whether it succeeds comes by webhook. Raises as above."""

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> Notice:
        """Check the signature over the raw body, and the time, then translate. `headers` have lower-case names; `now`
        is in seconds since 1970.

        Raises `SignatureRefused`: forged, unsigned, signed longer than `TOLERANCE_SECONDS` ago or ahead. The adapter of
        a provider that signs no time (Razorpay) says what it holds against age instead. A signed body that makes no
        sense is a `Notice` of the kind `OTHER`.
        """

    async def close(self) -> None:
        """Close the connections."""

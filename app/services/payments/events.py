"""What happens to payments and refunds."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import Event


class Succeeded(Event):
    """The money is in the payer's wallet, or was spent from there on what it was paid for."""

    name: ClassVar = "payment.succeeded"
    messages: ClassVar = {"en": "Your payment has arrived.", "hi": "आपका भुगतान मिल गया है।"}
    payment_id: UUID
    purpose: str
    amount_minor: int
    currency: str
    status: str


class Failed(Event):
    name: ClassVar = "payment.failed"
    messages: ClassVar = {
        "en": "Your payment did not go through. Nothing was taken.",
        "hi": "आपका भुगतान नहीं हो सका। कोई राशि नहीं ली गई।",
    }
    payment_id: UUID
    purpose: str
    amount_minor: int
    currency: str
    status: str


class Expired(Event):
    name: ClassVar = "payment.expired"
    messages: ClassVar = {"en": "The checkout was left open for too long.", "hi": "भुगतान का समय समाप्त हो गया।"}
    payment_id: UUID
    purpose: str
    amount_minor: int
    currency: str
    status: str


class Held(Event):
    """Money arrived that cannot be used as it was meant: to the payer, and to the admins, who decide."""

    name: ClassVar = "payment.held"
    messages: ClassVar = {
        "en": "Your payment is being looked at.",
        "hi": "आपके भुगतान की जाँच की जा रही है।",
    }
    payment_id: UUID
    purpose: str
    amount_minor: int
    currency: str
    status: str
    reason: str


class Refunding(Event):
    """A refund is on its way; how it ends is told by `refund.succeeded` or `refund.failed`."""

    name: ClassVar = "refund.requested"
    messages: ClassVar = {"en": "Your refund is on its way.", "hi": "आपका रिफ़ंड भेजा जा रहा है।"}
    refund_id: UUID
    payment_id: UUID
    amount_minor: int
    currency: str
    status: str
    reason: str


class Refunded(Event):
    name: ClassVar = "refund.succeeded"
    messages: ClassVar = {"en": "Your refund was paid out.", "hi": "आपका रिफ़ंड पूरा हो गया है।"}
    refund_id: UUID
    payment_id: UUID
    amount_minor: int
    currency: str
    status: str
    reason: str


class RefundFailed(Event):
    """To the payer and the admins; the money is where it was before the refund."""

    name: ClassVar = "refund.failed"
    messages: ClassVar = {
        "en": "Your refund could not be paid out; we are looking into it.",
        "hi": "आपका रिफ़ंड नहीं हो सका; हम इसे देख रहे हैं।",
    }
    refund_id: UUID
    payment_id: UUID
    amount_minor: int
    currency: str
    status: str
    reason: str

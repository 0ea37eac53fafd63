"""What happens to payout profiles and payouts. None of them names a bank account."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import EVERYWHERE, MAILED, PUSHED, Channel, Event, entitle

entitle("payout_profile", en="Your bank account", hi="आपका बैंक खाता")
entitle("payout", en="Payouts", hi="भुगतान निकासी")


class ProfileSubmitted(Event):
    """To the admins, who verify it."""

    name: ClassVar = "payout_profile.submitted"
    messages: ClassVar = {
        "en": "A bank account for payouts waits to be verified.",
        "hi": "भुगतान के लिए एक बैंक खाता सत्यापन की प्रतीक्षा में है।",
    }
    channels: ClassVar = PUSHED
    user_id: UUID
    revision: int


class BankAccountChanged(Event):
    """To the owner, who will know if it was somebody else."""

    name: ClassVar = "payout_profile.bank_account_changed"
    messages: ClassVar = {
        "en": "The bank account for your payouts was changed. If it was not you, change your password and tell us.",
        "hi": "आपके भुगतान का बैंक खाता बदला गया है। यदि यह आपने नहीं किया, तो पासवर्ड बदलें और हमें बताएँ।",
    }
    channels: ClassVar = EVERYWHERE
    mandatory: ClassVar = True
    urgent: ClassVar = True
    user_id: UUID


class ProfileVerified(Event):
    name: ClassVar = "payout_profile.verified"
    messages: ClassVar = {
        "en": "Your bank account is verified: you can have your money paid out.",
        "hi": "आपका बैंक खाता सत्यापित हो गया है: अब आप अपना पैसा निकाल सकते हैं।",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    user_id: UUID


class ProfileRejected(Event):
    name: ClassVar = "payout_profile.rejected"
    messages: ClassVar = {
        "en": "Your bank account was not accepted: {reason}",
        "hi": "आपका बैंक खाता स्वीकार नहीं किया गया: {reason}",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    user_id: UUID
    reason: str


class ProfileRestricted(Event):
    name: ClassVar = "payout_profile.restricted"
    messages: ClassVar = {
        "en": "Payouts to you are on hold: {reason}",
        "hi": "आपके भुगतान रोक दिए गए हैं: {reason}",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    user_id: UUID
    reason: str


class _AboutPayout(Event):
    payout_id: UUID
    amount_minor: int
    currency: str


class PayoutRequested(_AboutPayout):
    """To the owner, who may not have asked for it by hand, and to the admins, who send it."""

    name: ClassVar = "payout.requested"
    messages: ClassVar = {
        "en": "A payout was requested.",
        "hi": "एक भुगतान का अनुरोध किया गया।",
    }
    channels: ClassVar = PUSHED


class PayoutSent(_AboutPayout):
    name: ClassVar = "payout.sent"
    messages: ClassVar = {
        "en": "Your payout is on its way to your bank; its reference is {reference}.",
        "hi": "आपका भुगतान आपके बैंक को भेज दिया गया है; संदर्भ संख्या {reference} है।",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    reference: str


class PayoutFailed(_AboutPayout):
    """Turned down before it was sent; the money is in the wallet again."""

    name: ClassVar = "payout.failed"
    messages: ClassVar = {
        "en": "Your payout was not made, and the money is back in your wallet: {reason}",
        "hi": "आपका भुगतान नहीं हुआ और पैसा आपके वॉलेट में वापस है: {reason}",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    reason: str


class PayoutReturned(_AboutPayout):
    """Sent back by the bank; the money is in the wallet again."""

    name: ClassVar = "payout.returned"
    messages: ClassVar = {
        "en": "The bank returned your payout, and the money is back in your wallet: {reason}",
        "hi": "बैंक ने आपका भुगतान लौटा दिया और पैसा आपके वॉलेट में वापस है: {reason}",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    reason: str

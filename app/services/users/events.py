"""What happens to accounts."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import EVERYWHERE, MAILED, Event, entitle

entitle("auth", en="Your account", hi="आपका खाता")


class Registered(Event):
    """Drives the two sign-up codes."""

    name: ClassVar = "auth.registered"
    messages: ClassVar = {
        "en": "Welcome to LocalBazaar, {user_name}! Enter the two codes that we sent you.",
        "hi": "लोकलबाज़ार में आपका स्वागत है, {user_name}! भेजे गए दोनों कोड दर्ज करें।",
    }
    user_id: UUID
    user_name: str


class Verified(Event):
    name: ClassVar = "auth.verified"
    messages: ClassVar = {"en": "Your account is active.", "hi": "आपका खाता सक्रिय हो गया है।"}
    user_id: UUID


class CodeRequested(Event):
    """A code is to be sent; nobody's sockets hear of it. `purpose` is verify, reset or change."""

    name: ClassVar = "auth.code_requested"
    messages: ClassVar = {"en": "A code is on its way.", "hi": "कोड भेजा जा रहा है।"}
    user_id: UUID
    channel: str
    purpose: str


class TokenReused(Event):
    """A refresh token came a second time: somebody else has a copy, so the session was ended."""

    name: ClassVar = "auth.token_reused"
    messages: ClassVar = {
        "en": "A sign-in token of yours was used twice. We ended that session; change your password if it was not you.",
        "hi": "आपका साइन-इन टोकन दो बार इस्तेमाल हुआ। हमने वह सत्र बंद कर दिया; यदि यह आप नहीं थे तो पासवर्ड बदलें।",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True
    urgent: ClassVar = True
    user_id: UUID
    session_id: UUID


class PasswordChanged(Event):
    """To the owner, who will know if it was somebody else; every session has ended."""

    name: ClassVar = "auth.password_changed"
    messages: ClassVar = {
        "en": "Your password was changed. If it was not you, ask for a new code at once and set another.",
        "hi": "आपका पासवर्ड बदला गया है। यदि यह आपने नहीं किया, तो तुरंत नया कोड मँगाकर दूसरा पासवर्ड रखें।",
    }
    channels: ClassVar = EVERYWHERE
    mandatory: ClassVar = True
    urgent: ClassVar = True
    user_id: UUID


class Suspended(Event):
    name: ClassVar = "auth.suspended"
    messages: ClassVar = {
        "en": "Your account is suspended: {reason}",
        "hi": "आपका खाता निलंबित है: {reason}",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True
    user_id: UUID
    reason: str


class Banned(Event):
    name: ClassVar = "auth.banned"
    messages: ClassVar = {
        "en": "Your account is closed for good: {reason}",
        "hi": "आपका खाता स्थायी रूप से बंद है: {reason}",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True
    user_id: UUID
    reason: str


class Reinstated(Event):
    name: ClassVar = "auth.reinstated"
    messages: ClassVar = {"en": "Your account is active again.", "hi": "आपका खाता फिर से सक्रिय है।"}
    channels: ClassVar = MAILED
    mandatory: ClassVar = True
    user_id: UUID


class SupportAppointed(Event):
    name: ClassVar = "auth.support_appointed"
    messages: ClassVar = {
        "en": "Your account belongs to support now.",
        "hi": "आपका खाता अब सहायता दल का है।",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True
    user_id: UUID


class SupportDismissed(Event):
    name: ClassVar = "auth.support_dismissed"
    messages: ClassVar = {
        "en": "Your account does not belong to support any more: {reason}",
        "hi": "आपका खाता अब सहायता दल का नहीं है: {reason}",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True
    user_id: UUID
    reason: str

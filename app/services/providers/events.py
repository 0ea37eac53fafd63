"""What happens to providers and their applications."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import MAILED, PUSHED, Channel, Event, entitle

entitle("provider", en="Your work as a provider", hi="सेवा प्रदाता के रूप में आपका काम")


class SubmittedForReview(Event):
    """To the managers of the provider's region."""

    name: ClassVar = "provider.submitted_for_review"
    messages: ClassVar = {
        "en": "{business_name} applied as a provider.",
        "hi": "{business_name} ने सेवा प्रदाता बनने का आवेदन किया है।",
    }
    channels: ClassVar = PUSHED
    provider_id: UUID
    business_name: str
    region_id: UUID


class ReapplicationRefused(Event):
    """Somebody who was rejected or banned before tried again: for the managers to know."""

    name: ClassVar = "provider.reapplication_refused"
    messages: ClassVar = {
        "en": "A provider who was turned down before tried to apply again.",
        "hi": "पहले अस्वीकृत किए गए एक प्रदाता ने फिर से आवेदन करने की कोशिश की।",
    }
    channels: ClassVar = PUSHED
    provider_id: UUID


class Approved(Event):
    name: ClassVar = "provider.approved"
    messages: ClassVar = {
        "en": "You are approved: leads near you are open to you now.",
        "hi": "आपका आवेदन स्वीकृत हो गया है: आस-पास के काम अब आपके लिए खुले हैं।",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    provider_id: UUID


class Rejected(Event):
    name: ClassVar = "provider.rejected"
    messages: ClassVar = {
        "en": "Your application was turned down: {reason}",
        "hi": "आपका आवेदन अस्वीकार कर दिया गया: {reason}",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    provider_id: UUID
    reason: str


class Suspended(Event):
    name: ClassVar = "provider.suspended"
    messages: ClassVar = {
        "en": "Your provider account is suspended: {reason}",
        "hi": "आपका प्रदाता खाता निलंबित है: {reason}",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    provider_id: UUID
    reason: str


class Reinstated(Event):
    name: ClassVar = "provider.reinstated"
    messages: ClassVar = {
        "en": "Your provider account is active again.",
        "hi": "आपका प्रदाता खाता फिर से सक्रिय है।",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    provider_id: UUID


class Banned(Event):
    name: ClassVar = "provider.banned"
    messages: ClassVar = {
        "en": "Your provider account is closed for good: {reason}",
        "hi": "आपका प्रदाता खाता स्थायी रूप से बंद कर दिया गया है: {reason}",
    }
    channels: ClassVar = MAILED
    on_request: ClassVar = frozenset({Channel.SMS})
    provider_id: UUID
    reason: str

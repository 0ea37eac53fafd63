"""What happens to webhook endpoints."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import MAILED, Event, entitle

entitle("webhook_endpoint", en="Webhooks", hi="वेबहुक")


class _ToTheOwner(Event):
    webhook_endpoint_id: UUID
    url: str


class WebhookEndpointRegistered(_ToTheOwner):
    """To the owner, who will know if it was somebody else: from now on events of the account go there."""

    name: ClassVar = "webhook_endpoint.registered"
    messages: ClassVar = {
        "en": "Events of your account now go to {url}. If it was not you, delete that and change your password.",
        "hi": "आपके खाते में जो होता है, वह अब {url} पर भेजा जाता है। यदि यह आपने नहीं किया, तो उसे हटाएँ और पासवर्ड बदलें।",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True


class WebhookEndpointMoved(_ToTheOwner):
    """To the owner: an endpoint has another address."""

    name: ClassVar = "webhook_endpoint.moved"
    messages: ClassVar = WebhookEndpointRegistered.messages
    channels: ClassVar = MAILED
    mandatory: ClassVar = True


class WebhookEndpointDisabled(_ToTheOwner):
    """To the owner: nothing that was sent there for days was taken."""

    name: ClassVar = "webhook_endpoint.disabled"
    messages: ClassVar = {
        "en": "Your webhook endpoint {url} was disabled: nothing sent there was taken for days. Repair and enable it.",
        "hi": "आपका वेबहुक पता {url} बंद कर दिया गया: कई दिनों से वहाँ कुछ स्वीकार नहीं हुआ।",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True

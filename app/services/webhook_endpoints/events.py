"""What happens to webhook endpoints."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import MAILED, Event, entitle

entitle("webhook_endpoint", en="Webhooks", hi="वेबहुक")


class WebhookEndpointDisabled(Event):
    """To the owner: nothing that was sent there for days was taken."""

    name: ClassVar = "webhook_endpoint.disabled"
    messages: ClassVar = {
        "en": "Your webhook endpoint {url} was disabled: nothing sent there was taken for days. Repair and enable it.",
        "hi": "आपका वेबहुक पता {url} बंद कर दिया गया: कई दिनों से वहाँ कुछ स्वीकार नहीं हुआ।",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True
    webhook_endpoint_id: UUID
    url: str

"""What happens to advertised services, for the team that they are published under."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import Event


class _AboutService(Event):
    advertised_service_id: UUID
    advertiser_id: UUID
    service_title: str


class Published(_AboutService):
    name: ClassVar = "advertised_service.published"
    messages: ClassVar = {
        "en": "“{service_title}” is on sale now, for your team too.",
        "hi": "“{service_title}” अब बिक्री पर है, आपकी टीम के लिए भी।",
    }


class Changed(_AboutService):
    """Price or text; `revision` counts the changes."""

    name: ClassVar = "advertised_service.changed"
    messages: ClassVar = {
        "en": "“{service_title}” was changed.",
        "hi": "“{service_title}” में बदलाव किया गया है।",
    }
    revision: int


class Paused(_AboutService):
    name: ClassVar = "advertised_service.paused"
    messages: ClassVar = {
        "en": "“{service_title}” is not on sale for the time being.",
        "hi": "“{service_title}” फ़िलहाल बिक्री पर नहीं है।",
    }


class Resumed(_AboutService):
    name: ClassVar = "advertised_service.resumed"
    messages: ClassVar = {
        "en": "“{service_title}” is on sale again.",
        "hi": "“{service_title}” फिर से बिक्री पर है।",
    }


class Archived(_AboutService):
    name: ClassVar = "advertised_service.archived"
    messages: ClassVar = {
        "en": "“{service_title}” is not sold any more.",
        "hi": "“{service_title}” अब नहीं बेचा जाता।",
    }

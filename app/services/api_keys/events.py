"""What happens to API keys."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import MAILED, Event, entitle

entitle("api_key", en="API keys", hi="API कुंजियाँ")


class ApiKeyCreated(Event):
    """To the owner, who will know if it was somebody else."""

    name: ClassVar = "api_key.created"
    messages: ClassVar = {
        "en": "The API key {key_prefix} was made for you. If it was not you, revoke it and change your password.",
        "hi": "आपके खाते के लिए API कुंजी {key_prefix} बनाई गई। यदि यह आपने नहीं किया, तो उसे रद्द करें और पासवर्ड बदलें।",
    }
    channels: ClassVar = MAILED
    mandatory: ClassVar = True
    api_key_id: UUID
    key_name: str
    key_prefix: str

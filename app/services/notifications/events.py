"""What happens to the feed itself."""

from typing import ClassVar, Final
from uuid import UUID

from app.kernel.events import Event

NAMED_LIMIT: Final = 100
"""How many read events one event names."""


class Read(Event):
    """Quietly to the reader's own sockets, so that other devices follow. Each of the events becomes read once.

    `event_ids` is null when more than a hundred became read at once: fetch the feed anew.
    """

    name: ClassVar = "notification.read"
    messages: ClassVar = {"en": "You have read this on another device.", "hi": "आपने इसे किसी दूसरे उपकरण पर पढ़ लिया है।"}
    event_ids: list[UUID] | None
    count: int

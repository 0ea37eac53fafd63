"""Messages that accounts get by mail and text: codes, and the sentences of events that are mailed."""

from uuid import UUID

from sqlalchemy import bindparam, select

from app.core.database import Statement
from app.core.errors import NotFound
from app.kernel.events import message
from app.kernel.platform import Platform
from app.models.events import events
from app.models.users import UserStatus
from app.services.users import codes, queries
from app.services.users.codes import Channel, Purpose

_EVENT = Statement(select(events.c.name, events.c.payload).where(events.c.id == bindparam("event_id")))

_CODE = {
    "en": "Your LocalBazaar code is {code}. It is valid for 10 minutes.",
    "hi": "आपका लोकलबाज़ार कोड {code} है। यह 10 मिनट तक मान्य है।",
}
_SUBJECT = {"en": "Your LocalBazaar code", "hi": "आपका लोकलबाज़ार कोड"}
_NEWS = {"en": "News from LocalBazaar", "hi": "लोकलबाज़ार की सूचना"}


async def send_code(platform: Platform, user_id: UUID, channel: Channel, purpose: Purpose) -> None:
    """Make a code and send it. A job: when the sender fails, it runs again with a fresh code.

    A code that the account's state has no use for is not sent.
    """
    async with platform.database.read() as session:
        try:
            user = await queries.user(session, user_id)
        except NotFound:
            return
    if user.status is not (UserStatus.PENDING_VERIFICATION if purpose == "verify" else UserStatus.ACTIVE):
        return
    to: str | None = user.email if channel == "email" else user.phone
    if purpose == "change":
        to = await codes.pending_change(platform, user_id, channel)
    if to is None:
        return
    code = await codes.make(platform, user_id, channel, purpose, to)
    sender = platform.messengers.mail if channel == "email" else platform.messengers.text
    await sender.send(to, _SUBJECT[user.language], _CODE[user.language].format(code=code))


async def mail_event(platform: Platform, user_id: UUID, event_id: UUID) -> None:
    """Mail the sentence of an event to one of its recipients."""
    async with platform.database.read() as session:
        event = await session.first(_EVENT, event_id=event_id)
        if event is None:
            return
        user = await queries.user(session, user_id)
    sentence = message(event["name"], event["payload"], user.language)
    await platform.messengers.mail.send(user.email, _NEWS[user.language], sentence)

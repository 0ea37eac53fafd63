"""Codes on their way to accounts, by mail and text message."""

from uuid import UUID

from app.core.errors import NotFound
from app.kernel.platform import Platform
from app.models.users import UserStatus
from app.services.users import codes, queries
from app.services.users.codes import Channel, Purpose

_CODE = {
    "en": "Your LocalBazaar code is {code}. It is valid for 10 minutes.",
    "hi": "आपका लोकलबाज़ार कोड {code} है। यह 10 मिनट तक मान्य है।",
}
_SUBJECT = {"en": "Your LocalBazaar code", "hi": "आपका लोकलबाज़ार कोड"}


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

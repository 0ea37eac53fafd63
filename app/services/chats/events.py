"""What happens in conversations. With what a client had before, they are enough to show a list and an open chat."""

from typing import ClassVar, Final
from uuid import UUID

from app.kernel.events import PUSHED, Channel, Event, entitle
from app.schemas.chats import Participant

SUBJECT: Final = "conversation"
"""What the events are about."""

entitle("chat", en="Chats", hi="बातचीत")


class _InConversation(Event):
    conversation_id: UUID


class MessageSent(_InConversation):
    """To everybody who takes part, quietly to its sender. Its id is the message's; `timestamp` is when it was sent.

    `participants` are those who take part now: who is not among them but was before, stays in the conversation's list.
    """

    name: ClassVar = "chat.message_sent"
    messages: ClassVar = {"en": "You have a new message.", "hi": "आपके लिए एक नया संदेश है।"}
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    urgent: ClassVar = True
    withheld: ClassVar = {"text": None, "image_ids": []}
    subject_type: str
    subject_id: UUID
    counterpart_id: UUID | None
    contacts_open: bool
    conversation_created_at: str
    participants: list[Participant]
    message_id: UUID
    number: int
    sender_id: UUID
    text: str | None
    image_ids: list[UUID]
    masked: bool


class Read(_InConversation):
    """To everybody who takes part, quietly: also to the other devices of whoever has read."""

    name: ClassVar = "chat.read"
    messages: ClassVar = {"en": "Your messages were read.", "hi": "आपके संदेश पढ़ लिए गए हैं।"}
    user_id: UUID
    read_number: int
    unread_count: int


class MessageDeleted(_InConversation):
    """To everybody else who takes part: its text and images are gone."""

    name: ClassVar = "chat.message_deleted"
    messages: ClassVar = {"en": "A message was deleted.", "hi": "एक संदेश हटा दिया गया।"}
    message_id: UUID
    number: int


class ParticipantJoined(_InConversation):
    """To everybody else who takes part: somebody of the staff joined."""

    name: ClassVar = "chat.participant_joined"
    messages: ClassVar = {
        "en": "{user_name} of LocalBazaar has joined your conversation.",
        "hi": "LocalBazaar से {user_name} आपकी बातचीत में शामिल हुए हैं।",
    }
    user_id: UUID
    user_name: str
    role: str
    read_number: int


class ConversationDeleted(_InConversation):
    """To everybody who took part: it is gone from their lists."""

    name: ClassVar = "chat.conversation_deleted"
    messages: ClassVar = {"en": "A conversation was closed.", "hi": "एक बातचीत बंद कर दी गई।"}
    subject_type: str
    subject_id: UUID


class _OfReport(Event):
    report_id: UUID
    message_id: UUID
    conversation_id: UUID


class MessageReported(_OfReport):
    """To support and the region's managers."""

    name: ClassVar = "chat.message_reported"
    messages: ClassVar = {
        "en": "A message was reported: {report_reason}.",
        "hi": "एक संदेश की शिकायत की गई: {report_reason}।",
    }
    report_reason: str


class ReportUpheld(_OfReport):
    """To who reported."""

    name: ClassVar = "chat.report_upheld"
    messages: ClassVar = {
        "en": "We agree with your report of a message: {reason}",
        "hi": "संदेश के बारे में आपकी शिकायत सही पाई गई: {reason}",
    }
    reason: str


class ReportDismissed(_OfReport):
    """To who reported."""

    name: ClassVar = "chat.report_dismissed"
    messages: ClassVar = {
        "en": "We found nothing wrong with a message that you reported: {reason}",
        "hi": "आपने जिस संदेश की शिकायत की थी उसमें कुछ ग़लत नहीं मिला: {reason}",
    }
    reason: str

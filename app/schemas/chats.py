"""Conversations and their messages."""

import unicodedata
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.models.chats import IMAGES_LIMIT, MESSAGE_LIMIT, MessageReportReason, MessageReportStatus
from app.models.chats import ParticipantRole as ParticipantRole
from app.schemas.base import Answer, PageQuery, Paragraph, Payload, Storable, Word


def _printable(value: str) -> str:
    if any(unicodedata.category(character) == "Cc" and character not in "\n\t" for character in value):
        raise ValueError("must not contain control characters")
    return value


MessageText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MESSAGE_LIMIT),
    Storable,
    AfterValidator(_printable),
]


class OpenConversation(Payload):
    subject_type: Word = Field(examples=["service_request"])
    subject_id: UUID
    counterpart_id: UUID | None = Field(
        None,
        description="Where several compete for one customer: with whom of them. A provider may leave it out.",
    )


class SendMessage(Payload):
    text: MessageText | None = None
    image_ids: Annotated[list[UUID], Field(max_length=IMAGES_LIMIT)] = Field(
        default_factory=list, description="Files uploaded with the purpose `chat_image`."
    )
    client_message_id: UUID | None = Field(
        None, description="Made by the client: sent again with the same one, the message is there once."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.text is None and not self.image_ids:
            raise ValueError("a message has a text, images, or both")
        if len(set(self.image_ids)) < len(self.image_ids):
            raise ValueError("an image can be in a message once")
        return self


class Message(Answer):
    """A message as its reader may see it: what was deleted has neither text nor images."""

    id: UUID
    conversation_id: UUID
    number: int = Field(description="Its place: 1, 2, 3 … without a gap.")
    sender_id: UUID
    text: str | None
    original_text: str | None = Field(description="For staff: as it was written, where contact details were masked.")
    image_ids: list[UUID]
    masked: bool = Field(description="Contact details were masked, because nobody has paid yet.")
    deleted: bool
    created_at: datetime


class Participant(Answer):
    user_id: UUID
    name: str | None = Field(description="Null while contacts are not open; staff always have one.")
    role: ParticipantRole
    read_number: int = Field(description="The newest message that they have read.")


class Conversation(Answer):
    id: UUID
    subject_type: str
    subject_id: UUID
    counterpart_id: UUID | None
    contacts_open: bool = Field(description="Whether contact details and images may be exchanged.")
    participants: list[Participant] = Field(description="Who takes part, or did.")
    last_message: Message | None
    unread_count: int = Field(description="Messages of others since the last one that was read. Counted up to 1,000.")
    created_at: datetime
    deleted_at: datetime | None = Field(description="For staff: since when the parties do not see it any more.")


class ConversationsPage(PageQuery):
    subject_id: UUID | None = None


class SubjectsConversations(PageQuery):
    subject_id: UUID


class MarkConversationRead(Payload):
    number: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]


class ReadPosition(Answer):
    read_number: int
    unread_count: int


class ReportMessage(Payload):
    reason: MessageReportReason
    note: Paragraph | None = None


class MessageReport(Answer):
    id: UUID
    message_id: UUID
    conversation_id: UUID
    reporter_id: UUID
    status: MessageReportStatus
    reason: MessageReportReason
    note: str | None
    decision_reason: str | None
    created_at: datetime
    updated_at: datetime


class ReportedMessage(MessageReport):
    """A report with what was written around the message."""

    messages: list[Message] = Field(description="The message, up to ten before it and ten after it.")


class ReportsPage(PageQuery):
    status: MessageReportStatus = MessageReportStatus.OPEN


class BlockedUser(Answer):
    id: UUID = Field(description="Of the user.")
    created_at: datetime

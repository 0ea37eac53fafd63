"""Conversations about subjects: who takes part, what was written, how far it was read, who blocked whom, what was
reported (realtime.md: Chat).

The database holds the rules:
* `conversations_one_alive`: one conversation per subject and counterpart, besides those that were deleted.
* `messages_number_follows` (a foreign key): a number can only be given if the one before it was, so there is no gap.
* `messages_once`: what a client sends twice is there once.
"""

from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY

from app.models.base import identifier, metadata, moment, one_of, text


class ParticipantRole(StrEnum):
    """As what somebody takes part: as a party of the subject, or as staff who joined."""

    PARTY = "party"
    SUPPORT = "support"
    MANAGER = "manager"
    ADMIN = "admin"


class MessageReportReason(StrEnum):
    ABUSE = "abuse"
    FRAUD = "fraud"
    CONTACT_DETAILS = "contact_details"
    SPAM = "spam"
    OTHER = "other"


class MessageReportStatus(StrEnum):
    OPEN = "OPEN"
    DISMISSED = "DISMISSED"
    UPHELD = "UPHELD"


MESSAGE_LIMIT = 4000
IMAGES_LIMIT = 10

conversations = Table(
    "conversations",
    metadata,
    identifier(),
    text("subject_type"),
    Column("subject_id", Uuid, nullable=False),
    Column("counterpart_id", Uuid),  # NULL: all parties of the subject talk together
    Column("region_id", Uuid, ForeignKey("regions.id")),  # NULL: of no region; support and admins look on
    Column("last_number", Integer, nullable=False, server_default="0"),  # of the newest message
    moment("created_at", now=True),
    Column("deleted_by", Uuid),
    moment("deleted_at"),
    Index(
        "conversations_one_alive",
        "subject_type",
        "subject_id",
        "counterpart_id",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sql("deleted_at IS NULL"),
    ),
    Index("conversations_subject_id_index", "subject_id", "id"),
)

conversation_participants = Table(
    "conversation_participants",
    metadata,
    Column("conversation_id", Uuid, ForeignKey("conversations.id"), primary_key=True),
    Column("user_id", Uuid, primary_key=True),
    Column("role", Text, nullable=False, server_default=ParticipantRole.PARTY),
    Column("read_number", Integer, nullable=False, server_default="0"),
    Column("unread_count", Integer, nullable=False, server_default="0"),
    # The newest message, or the conversation itself for whoever opened it: what the list is sorted by. NULL: nothing
    # was written yet, and somebody else opened it.
    Column("activity_id", Uuid),
    moment("created_at", now=True),
    one_of("role", ParticipantRole),
    CheckConstraint("unread_count >= 0", name="unread_count_not_negative"),
    Index("conversation_participants_activity_index", "user_id", "activity_id"),
)

messages = Table(
    "messages",
    metadata,
    identifier(),  # also the id of the event that tells of it
    Column("conversation_id", Uuid, ForeignKey("conversations.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("follows", Integer, Computed("nullif(number - 1, 0)", persisted=True)),
    Column("sender_id", Uuid, nullable=False),
    text("text", nullable=True),  # as the participants read it
    text("original_text", nullable=True),  # as it was written, where contact details were masked: for staff
    Column("image_ids", ARRAY(Uuid), nullable=False),
    Column("client_message_id", Uuid),
    moment("created_at", now=True),
    moment("deleted_at"),
    CheckConstraint("number > 0", name="number_positive"),
    CheckConstraint("text IS NOT NULL OR cardinality(image_ids) > 0", name="not_empty"),
    CheckConstraint(
        f"length(coalesce(original_text, text)) <= {MESSAGE_LIMIT} AND cardinality(image_ids) <= {IMAGES_LIMIT}",
        name="bounded",
    ),
    UniqueConstraint("conversation_id", "number", name="messages_numbered_once"),
    UniqueConstraint("conversation_id", "sender_id", "client_message_id", name="messages_once"),
    ForeignKeyConstraint(
        ["conversation_id", "follows"],
        ["messages.conversation_id", "messages.number"],
        name="messages_number_follows",
    ),
)

user_blocks = Table(
    "user_blocks",
    metadata,
    Column("blocker_id", Uuid, ForeignKey("users.id"), primary_key=True),
    Column("blocked_id", Uuid, ForeignKey("users.id"), primary_key=True),
    moment("created_at", now=True),
    CheckConstraint("blocker_id <> blocked_id", name="not_oneself"),
)

message_reports = Table(
    "message_reports",
    metadata,
    identifier(),
    Column("message_id", Uuid, ForeignKey("messages.id"), nullable=False),
    Column("conversation_id", Uuid, ForeignKey("conversations.id"), nullable=False),
    Column("region_id", Uuid),
    Column("reporter_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("status", Text, nullable=False),
    text("reason"),
    text("note", nullable=True),
    text("decision_reason", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", MessageReportStatus),
    one_of("reason", MessageReportReason),
    CheckConstraint("(status = 'OPEN') = (decision_reason IS NULL)", name="decided_with_reason"),
    UniqueConstraint("message_id", "reporter_id", name="message_reports_once"),
    Index("message_reports_status_index", "status", "id"),
    Index("message_reports_region_id_index", "region_id", "status", "id"),
)

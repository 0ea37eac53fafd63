"""Private files: what was uploaded, by whom, and what it belongs to. The bytes are in the object storage."""

from enum import StrEnum

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, Table, Text, Uuid
from sqlalchemy import text as sql

from app.models.base import identifier, metadata, moment, one_of, text


class UploadPurpose(StrEnum):
    """What a user may upload a file for."""

    PROOF = "proof"
    PHOTO = "photo"
    DOCUMENT = "document"
    CHAT_IMAGE = "chat_image"
    EVIDENCE = "evidence"


class FilePurpose(StrEnum):
    """What a file is for: an upload, or something that the platform itself has made."""

    PROOF = "proof"
    PHOTO = "photo"
    DOCUMENT = "document"
    CHAT_IMAGE = "chat_image"
    EVIDENCE = "evidence"
    INVOICE = "invoice"
    STATEMENT = "statement"


files = Table(
    "files",
    metadata,
    identifier(),  # also the key in the object storage
    Column("owner_id", Uuid, ForeignKey("users.id"), nullable=False),
    text("purpose"),
    text("content_type"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("thumbnail_bytes", BigInteger),  # of an image's small copy, which lies beside it; NULL: it has none
    Column("subject_type", Text),
    Column("subject_id", Uuid),  # NULL: not attached; swept after a while
    moment("created_at", now=True),
    moment("discarded_at"),  # its object is being removed; from now on it can be attached to nothing
    one_of("purpose", FilePurpose),
    Index("files_subject_id_index", "subject_id"),
    Index("files_owner_id_index", "owner_id", "created_at"),
    Index("files_discarded_index", "discarded_at", postgresql_where=sql("discarded_at IS NOT NULL")),
    Index("files_unattached_index", "owner_id", "created_at", postgresql_where=sql("subject_id IS NULL")),
)

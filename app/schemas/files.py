"""Private files."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.models.files import FilePurpose as FilePurpose
from app.models.files import UploadPurpose as UploadPurpose
from app.schemas.base import Answer


class StoredFile(Answer):
    id: UUID
    purpose: FilePurpose
    content_type: str
    size_bytes: int
    created_at: datetime


class FileLink(StoredFile):
    url: str = Field(description="Opens the file without further proof for a few minutes.")
    thumbnail_url: str | None = Field(description="The same for its small copy, a JPEG; null for what is no image.")
    expires_at: datetime

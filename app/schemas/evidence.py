"""Evidence: what is handed in to show that work is done, and what became of it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.models.evidence import Verdict as Verdict
from app.schemas.base import Answer, Paragraph, Payload


class SubmitEvidence(Payload):
    image_ids: Annotated[list[UUID], Field(min_length=1, max_length=20)] = Field(
        description="Files uploaded with the purpose `evidence`."
    )
    notes: Paragraph


class EvidenceRound(Answer):
    number: int
    submitted_by: UUID
    notes: str
    image_ids: list[UUID] = Field(description="See `/files/{id}`; there until `images_erased_at`.")
    submitted_at: datetime
    verdict: Verdict | None = Field(description="Null: not judged, or the subject ended otherwise.")
    verdict_reason: str | None
    reviewed_by: UUID | None
    reviewed_at: datetime | None
    images_erased_at: datetime | None

"""Applications for the roles of boosters, advertisers and drivers, and their review."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.models.role_applications import ReviewedRole, RoleApplicationStatus
from app.schemas.base import Answer, PageQuery, Paragraph, Payload


class ApplyForRole(Payload):
    role: ReviewedRole
    statement: Paragraph = Field(description="Why one is fit for it: experience, licences, what one means to do.")
    document_ids: Annotated[list[UUID], Field(max_length=10)] = Field(
        default_factory=list, description="Files uploaded with the purpose `document`; only reviewers see them."
    )


class RoleApplication(Answer):
    """An application as its applicant and its reviewers see it."""

    id: UUID
    user_id: UUID
    user_name: str
    role: ReviewedRole
    status: RoleApplicationStatus
    statement: str
    rejection_reason: str | None
    status_reason: str | None = Field(description="Why the role was taken away, or why one may apply again.")
    approved_at: datetime | None
    created_at: datetime
    document_ids: list[UUID]


class ListRoleApplications(PageQuery):
    role: ReviewedRole | None = None
    status: RoleApplicationStatus = RoleApplicationStatus.PENDING

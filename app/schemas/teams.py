"""Teams of advertisers and their members."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from app.models.teams import TeamMembershipStatus
from app.schemas.base import Answer, PageQuery, Payload, Storable
from app.schemas.users import Email

TeamName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), Storable]


class NameTeam(Payload):
    name: TeamName


class Invitee(Payload):
    """An advertiser, by exactly one of the two."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "0190a0a0-0000-7000-8000-000000000000"}]})

    user_id: UUID | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.user_id is None) == (self.email is None):
            raise ValueError("give either user_id or email")
        return self


class TransferTeam(Payload):
    user_id: UUID = Field(description="An active member.")


class MyTeam(Answer):
    """A team as somebody sees it who is in it or invited."""

    id: UUID
    name: str
    owner_id: UUID
    owner_name: str
    members_count: int = Field(description="Active members, the owner included.")
    created_at: datetime
    membership_id: UUID
    membership_status: TeamMembershipStatus


class TeamMember(Answer):
    """An active member; `id` names the membership."""

    id: UUID
    user_id: UUID
    user_name: str
    is_owner: bool
    joined_at: datetime


class TeamMembership(Answer):
    id: UUID
    team_id: UUID
    user_id: UUID
    status: TeamMembershipStatus
    joined_at: datetime | None
    left_at: datetime | None


class ListTeams(PageQuery):
    invited: bool = Field(False, description="Teams that one is invited to, instead of those that one is in.")

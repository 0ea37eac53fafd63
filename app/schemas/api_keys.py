"""API keys."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.models.api_keys import Scope as Scope
from app.schemas.base import Answer, Line, Moment, Payload


class MakeApiKey(Payload):
    name: Line = Field(description="What it is for: the list shows it.")
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = Field(
        description="What it opens. `events:read_all` is for admins."
    )
    expires_at: Moment | None = Field(None, description="Without, it lives until it is revoked.")


class ApiKey(Answer):
    id: UUID
    name: str
    prefix: str = Field(description="What the key begins with, to tell keys apart.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class NewApiKey(ApiKey):
    """The only time that the key is shown."""

    key: str = Field(repr=False)

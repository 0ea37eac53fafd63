"""Who acts: a signed-in user, or the platform's own clock."""

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """The user behind a request, as verified for it. `id` is None for the clock."""

    id: UUID | None
    roles: frozenset[str] = field(default_factory=frozenset)
    session_id: UUID | None = None
    language: str = "en"

    @property
    def user_id(self) -> UUID:
        """The user's id, where only a user can have come this far."""
        if self.id is None:
            raise LookupError("the clock is not a user")
        return self.id


CLOCK: Final = Actor(id=None)

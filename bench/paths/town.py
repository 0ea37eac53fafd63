"""What the paths are asked about: a world, what is sold in it, and the server that knows both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from bench.work import Market
from bench.world import Person, World

_ROLE: Final = """
INSERT INTO user_roles (user_id, role) SELECT id, $2 FROM unnest($1::uuid[]) AS id ON CONFLICT DO NOTHING
"""


class Somebody(NamedTuple):
    """What is asked about nothing but the one who asks."""

    user_id: UUID


@dataclass(frozen=True)
class Town:
    world: World
    market: Market
    port: int
    """Of the product's server."""

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        rows: list[Any] = await self.world.connection.fetch(statement, *values)
        return rows

    async def appoint(self, people: Sequence[Person], role: str) -> None:
        """Give them a role, as whoever reviewed their application would have."""
        await self.world.connection.execute(_ROLE, [person.id for person in people], role)

    async def admin(self) -> Person:
        """Somebody who has become one."""
        person = self.world.crowd[-1]
        await self.appoint([person], "admin")
        return person


def in_turn(people: Sequence[Person], count: int) -> list[Somebody]:
    return [Somebody(people[n % len(people)].id) for n in range(count)]

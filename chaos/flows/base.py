"""What a flow gives: people, a story that is played again and again, and rules of its own."""

import random
from abc import ABC, abstractmethod
from typing import ClassVar

from chaos.clients import Clients
from tests.support.world import Person, World


class Flow(ABC):
    """One flow. What holds for every noun (audit trail, events, books, deadlines) is checked by `verdict.py`; `rules`
    are queries of this flow that have to find nothing, each with what it would mean if they did."""

    name: ClassVar[str]
    rules: ClassVar[dict[str, str]]
    players: ClassVar[int] = 8
    """Stories that are played side by side."""

    def __init__(self, world: World, clients: Clients) -> None:
        self.world, self.clients = world, clients
        self.people: list[Person] = []
        """Everybody in this flow; some of them listen on sockets."""

    @abstractmethod
    async def prepare(self) -> None:
        """Make the people, before anything burns."""

    @abstractmethod
    async def play(self, rng: random.Random) -> None:
        """One story, from beginning to end."""

    async def broken_promises(self) -> list[str]:
        """What the flow's own clients were told and did not find in the end; most are told by deeds only."""
        return []

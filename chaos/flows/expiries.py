"""Requests that nobody takes, so that many deadlines fall due while it is quiet (leads.md: expire)."""

import random
from typing import ClassVar

from chaos.clients import Deed
from chaos.flows.base import Flow

_CUSTOMERS = 40


class Expiries(Flow):
    name: ClassVar = "expiries"
    players: ClassVar = 3
    rules: ClassVar = {}

    async def prepare(self) -> None:
        self.people = [await self.world.person() for _ in range(_CUSTOMERS)]

    async def play(self, rng: random.Random) -> None:
        # Offered by nobody here, so that nobody hears of it.
        wanted = self.world.request_payload(service="painting", answers={"scope": "room"})
        await self.clients.do(
            rng.choice(self.people), Deed("service_request", "create"), "/api/v1/service-requests", wanted, keyed=True
        )

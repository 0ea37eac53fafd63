"""Money leaves: a payout is requested, and sent, refused or returned by an admin (money.md)."""

import asyncio
import random
from typing import ClassVar
from uuid import UUID

from chaos.clients import Deed
from chaos.flows.base import Flow
from tests.payouts.steps import REASON, with_profile

_OWNERS = 30
_FUNDS_MINOR = 10_000_000_00
_NOUN = "payout"
_DECISIONS = {"send": {"reference": "UTR-2026/001"}, "fail": REASON}


class Payouts(Flow):
    name: ClassVar = "payouts"
    players: ClassVar = 4
    rules: ClassVar = {
        "a payout was not taken from the wallet exactly once": """
            SELECT p.id FROM payouts p
            WHERE (SELECT count(*) FROM entries e WHERE e.subject_id = p.id AND e.kind = 'payout') <> 1""",
        "a payout was not sent exactly as often as it says": """
            SELECT p.id FROM payouts p WHERE (p.sent_at IS NOT NULL) <> (
                SELECT count(*) = 1 FROM entries e WHERE e.subject_id = p.id AND e.kind = 'payout_sent')""",
        "an escrow does not hold what its payout says": """
            SELECT p.id FROM payouts p JOIN accounts a ON a.owner_id = p.id
            WHERE a.balance <> CASE p.status WHEN 'REQUESTED' THEN p.amount_minor ELSE 0 END""",
    }

    async def prepare(self) -> None:
        self.people = [await with_profile(self.world, funds_minor=_FUNDS_MINOR) for _ in range(_OWNERS)]

    async def play(self, rng: random.Random) -> None:
        owner = rng.choice(self.people)
        wanted = {"amount_minor": rng.randint(200_00, 900_00)}
        requested = await self.clients.do(owner, Deed(_NOUN, "create"), "/api/v1/payouts", wanted, keyed=True)
        payout_id = requested.subject_id
        if payout_id is None:
            # Refused, perhaps because of one whose answer was lost: that one is decided now.
            page = await self.clients.get(owner, "/api/v1/payouts?limit=1")
            if not page or not page["items"]:
                return
            payout_id = UUID(page["items"][0]["id"])
        await asyncio.gather(*(self._decide(payout_id, action) for action in rng.choices(list(_DECISIONS), k=3)))
        if rng.random() < 0.2:
            await self._act(payout_id, "return", REASON)

    async def _decide(self, payout_id: UUID, action: str) -> None:
        await self._act(payout_id, action, _DECISIONS[action])

    async def _act(self, payout_id: UUID, action: str, body: object) -> None:
        path = f"/api/v1/admin/payouts/{payout_id}/{action}"
        await self.clients.do(self.world.admin, Deed(_NOUN, action, payout_id), path, body, keyed=True)

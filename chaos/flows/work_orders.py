"""A service is bought into escrow, done, shown, and judged by several reviewers at once (work-orders.md)."""

import asyncio
import random
from typing import ClassVar
from uuid import UUID

from app.models.users import Role
from chaos.clients import Deed, Operation, Outcome
from chaos.flows.base import Flow
from tests.support.world import Person
from tests.work_orders import steps

_BUYERS = 25
_BOOSTERS = 15
_NOUN = "work_order"
_REASON = {"reason": "It does not show the timer."}


class WorkOrders(Flow):
    name: ClassVar = "work_orders"
    rules: ClassVar = {
        "an order was not paid into escrow exactly once": """
            SELECT o.id FROM work_orders o
            WHERE (SELECT count(*) FROM entries e WHERE e.subject_id = o.id AND e.kind = 'hold') <> 1""",
        "an order was not settled exactly as often as it says": """
            SELECT o.id FROM work_orders o
            WHERE (SELECT count(*) FROM entries e WHERE e.subject_id = o.id AND e.kind IN ('release', 'refund'))
                <> (o.status IN ('COMPLETED', 'CANCELLED'))::int""",
        "an escrow does not hold what its order says": """
            SELECT o.id FROM work_orders o JOIN accounts a ON a.owner_id = o.id
            WHERE a.balance <> CASE WHEN o.status IN ('COMPLETED', 'CANCELLED') THEN 0 ELSE o.price_minor END""",
        "the booster of a completed order was not paid its price": """
            SELECT o.id FROM work_orders o WHERE o.status = 'COMPLETED' AND o.earned_minor IS DISTINCT FROM (
                SELECT sum(p.amount) FROM postings p JOIN entries e ON e.id = p.entry_id
                JOIN accounts a ON a.id = p.account_id WHERE e.subject_id = o.id AND a.owner_id = o.booster_id)""",
        "an order has not the rounds of evidence that it counts": """
            SELECT o.id FROM work_orders o
            WHERE o.rounds_count <> (SELECT count(*) FROM evidence_rounds r WHERE r.subject_id = o.id)""",
        "an order was completed without an approved round": """
            SELECT o.id FROM work_orders o WHERE o.status = 'COMPLETED' AND NOT EXISTS (
                SELECT FROM evidence_rounds r
                WHERE r.subject_id = o.id AND r.number = o.rounds_count AND r.verdict = 'approved')""",
    }

    async def prepare(self) -> None:
        self._buyers = [await steps.buyer(self.world) for _ in range(_BUYERS)]
        self._boosters = [await self.world.person(Role.BOOSTER) for _ in range(_BOOSTERS)]
        self._advertiser, mate = await steps.advertiser(self.world), await steps.advertiser(self.world)
        team_id, _ = await steps.team(self._advertiser, mate)
        self._offered = await steps.service(self._advertiser, team_id=team_id)
        self._reviewers = [self._advertiser, mate, self.world.support, self.world.admin]
        self.people = [*self._buyers, *self._boosters, self._advertiser, mate]

    async def play(self, rng: random.Random) -> None:
        buyer, booster = rng.choice(self._buyers), rng.choice(self._boosters)
        bought = await self.clients.do(
            buyer, Deed(_NOUN, "create"), steps.PATH, steps.purchase_of(self._offered), keyed=True
        )
        order_id = bought.subject_id
        if order_id is None:
            return
        if rng.random() < 0.15:
            # Before anybody is assigned, or at the very moment.
            await asyncio.gather(
                self._do(buyer, order_id, "cancel", {"reason": "I changed my mind."}, keyed=True),
                self._do(self._advertiser, order_id, "assign", {"booster_id": str(booster.id)}),
            )
            return
        await self._do(self._advertiser, order_id, "assign", {"booster_id": str(booster.id)})
        await self._do(booster, order_id, "start")
        for _ in range(3):
            if not await self._show(booster, order_id):
                return
            decisions = await asyncio.gather(*(self._judge(person, order_id, rng) for person in self._reviewers))
            if not any(done.deed.action == "reject" and done.outcome is Outcome.DONE for done in decisions):
                return

    async def _show(self, booster: Person, order_id: UUID) -> bool:
        uploaded = await self.clients.post(
            booster,
            "/api/v1/files",
            data={"purpose": "evidence"},
            files={"file": ("timer.png", steps.screenshot(), "image/png")},
        )
        if uploaded is None or not uploaded.is_success:
            return False
        shown = {"image_ids": [uploaded.json()["id"]], "notes": steps.NOTES}
        return (await self._do(booster, order_id, "submit", shown)).outcome is not Outcome.REFUSED

    async def _judge(self, reviewer: Person, order_id: UUID, rng: random.Random) -> Operation:
        match rng.choice(("approve", "approve", "reject", "open_review")):
            case "approve":
                return await self._do(reviewer, order_id, "approve", keyed=True)
            case "reject":
                return await self._do(reviewer, order_id, "reject", _REASON)
            case _:
                return await self._do(reviewer, order_id, "open_review")

    async def _do(
        self, person: Person, order_id: UUID, action: str, json: object = None, *, keyed: bool = False
    ) -> Operation:
        path = f"{steps.PATH}/{order_id}/{action.replace('_', '-')}"
        return await self.clients.do(person, Deed(_NOUN, action, order_id), path, json, keyed=keyed)

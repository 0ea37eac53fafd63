"""A customer asks, providers buy and race, the customer decides (leads.md)."""

import asyncio
import random
from typing import ClassVar
from uuid import UUID

from chaos.clients import Deed, Operation, Outcome
from chaos.flows.base import Flow
from tests.support.world import Person, picture

_CUSTOMERS = 60
_PROVIDERS = 80
_RACERS = 6
_FUNDS_MINOR = 100_000_00
_NOUN = "service_request"
_PATH = "/api/v1/service-requests"
_PROOF = picture()


class Leads(Flow):
    name: ClassVar = "leads"
    players: ClassVar = 10
    rules: ClassVar = {
        "a bought lead was not charged exactly once": """
            SELECT p.id FROM lead_purchases p
            WHERE (SELECT count(*) FROM entries e WHERE e.subject_id = p.id AND e.kind = 'lead_fee') <> 1""",
        "a fee was charged for no lead": """
            SELECT e.id FROM entries e WHERE e.kind = 'lead_fee'
            AND NOT EXISTS (SELECT FROM lead_purchases p WHERE p.id = e.subject_id)""",
        "the number of buyers is not the number of leads": """
            SELECT r.id FROM service_requests r
            WHERE r.buyers_count <> (SELECT count(*) FROM lead_purchases p WHERE p.service_request_id = r.id)""",
        "a lead was sold above its cap": "SELECT id FROM service_requests WHERE buyers_count > lead_cap",
        "a request has two winners": """
            SELECT done.subject_id FROM audit_trail done JOIN audit_trail again ON again.subject_id = done.subject_id
            AND again.action = 'complete' AND again.id > done.id
            WHERE done.subject_type = 'service_request' AND done.action = 'complete' AND NOT EXISTS (
                SELECT FROM audit_trail back WHERE back.subject_id = done.subject_id AND back.action = 'send_back'
                AND back.id BETWEEN done.id AND again.id)""",
        "the winner is not who completed last": """
            SELECT r.id FROM service_requests r WHERE r.completed_by IS NOT NULL AND r.completed_by <> (
                SELECT a.actor_id FROM audit_trail a WHERE a.subject_id = r.id AND a.action = 'complete'
                ORDER BY a.id DESC LIMIT 1)""",
        "a proof of a winner is attached to something else": """
            SELECT r.id FROM service_requests r LEFT JOIN files f ON f.id = r.proof_id
            WHERE r.proof_id IS NOT NULL AND f.subject_id IS DISTINCT FROM r.id""",
    }

    async def prepare(self) -> None:
        self._customers = [await self.world.person() for _ in range(_CUSTOMERS)]
        self._providers = [await self.world.provider(funds_minor=_FUNDS_MINOR) for _ in range(_PROVIDERS)]
        self.people = [*self._customers, *self._providers]

    async def play(self, rng: random.Random) -> None:
        customer = rng.choice(self._customers)
        asked = await self.clients.do(customer, Deed(_NOUN, "create"), _PATH, self.world.request_payload(), keyed=True)
        request_id = asked.subject_id
        if request_id is None or rng.random() < 0.1:
            return  # nobody is interested: the clock takes it away
        racers = rng.sample(self._providers, _RACERS)
        bought = await asyncio.gather(*(self._do(racer, request_id, "purchase", keyed=True) for racer in racers))
        if rng.random() < 0.15:
            await self._do(customer, request_id, "cancel", {"reason": "I mended it."})
            return
        await asyncio.gather(
            *(
                self._race(racer, request_id, rng)
                for racer, purchase in zip(racers, bought, strict=True)
                if purchase.outcome is not Outcome.REFUSED
            )
        )
        if rng.random() < 0.2:
            await self._do(customer, request_id, "send_back", {"reason": "It drips."})
            await asyncio.gather(*(self._race(racer, request_id, rng) for racer in racers[:3]))
        await self._do(customer, request_id, "approve")

    async def _race(self, provider: Person, request_id: UUID, rng: random.Random) -> None:
        if rng.random() < 0.3:
            await self._do(provider, request_id, "start")
        uploaded = await self.clients.post(
            provider, "/api/v1/files", data={"purpose": "proof"}, files={"file": ("tap.jpg", _PROOF, "image/jpeg")}
        )
        if uploaded is not None and uploaded.is_success:
            await self._do(provider, request_id, "complete", {"proof_id": uploaded.json()["id"]})

    async def _do(
        self, person: Person, request_id: UUID, action: str, json: object = None, *, keyed: bool = False
    ) -> Operation:
        path = f"{_PATH}/{request_id}/{action.replace('_', '-')}"
        return await self.clients.do(person, Deed(_NOUN, action, request_id), path, json, keyed=keyed)

"""Wallets are topped up by payments on the sandbox's hosted page, which tells of them by webhooks (money.md)."""

import random
from typing import ClassVar
from urllib.parse import urlsplit
from uuid import UUID

from chaos.clients import Deed
from chaos.flows.base import Flow
from tests.support.world import Person

_PAYERS = 40
_PATH = "/api/v1/payments"
_DOCUMENTS = "/api/v1/invoices"
_ON_PAPER = 0.1


class TopUps(Flow):
    name: ClassVar = "top_ups"
    players: ClassVar = 6
    rules: ClassVar = {
        "a payment that succeeded is not in the books exactly once": """
            SELECT p.id FROM payments p WHERE p.status = 'SUCCEEDED'
            AND (SELECT count(*) FROM entries e WHERE e.subject_id = p.id AND e.kind = 'payment') <> 1""",
        "money arrived for a payment that did not succeed": """
            SELECT p.id FROM payments p WHERE p.status IN ('CREATED', 'PENDING', 'FAILED', 'EXPIRED')
            AND EXISTS (SELECT FROM entries e WHERE e.subject_id = p.id)""",
        "the payer's wallet did not get what was taken": """
            SELECT p.id FROM payments p WHERE p.status = 'SUCCEEDED' AND p.captured_minor <> (
                SELECT sum(amount) FROM postings JOIN entries e ON e.id = entry_id JOIN accounts a ON a.id = account_id
                WHERE e.subject_id = p.id AND a.owner_id = p.payer_id)""",
        "a webhook was stored and never worked off": "SELECT id FROM webhook_events WHERE processed_at IS NULL",
    }

    async def prepare(self) -> None:
        self.people = [await self.world.person() for _ in range(_PAYERS)]
        self._paid: set[UUID] = set()
        self._asked: set[UUID] = set()

    async def play(self, rng: random.Random) -> None:
        payer = rng.choice(self.people)
        wanted = {"purpose": "top_up", "amount_minor": rng.randint(100_00, 9_000_00)}
        created = await self.clients.do(payer, Deed("payment", "create"), _PATH, wanted, keyed=True)
        payment_id = created.subject_id
        if payment_id is None:
            return
        opened = await self.clients.post(payer, f"{_PATH}/{payment_id}/checkout")
        if opened is None or not opened.is_success or rng.random() < 0.1:
            return
        page = urlsplit(opened.json()["checkout_url"]).path
        choice = rng.choice(("pay", "pay", "pay", "decline", "abandon"))
        answer = await self.clients.post(None, f"{page}/{choice}")
        # If it was too late, the way leads to the page again, not back to where the payer came from.
        if choice == "pay" and answer is not None and answer.is_redirect and "://" in answer.headers["location"]:
            self._paid.add(payment_id)
        if rng.random() < _ON_PAPER:
            await self._ask_for_paper(payer)

    async def _ask_for_paper(self, payer: Person) -> None:
        """For the PDF of the newest document, which is made because somebody asks for it."""
        documents = await self.clients.get(payer, f"{_DOCUMENTS}?limit=1") or {"items": []}
        for document in documents["items"]:
            if await self.clients.ask(payer, f"{_DOCUMENTS}/{document['id']}/pdf") is not None:
                self._asked.add(UUID(document["id"]))

    async def broken_promises(self) -> list[str]:
        """Who has paid on the page has paid, and what was asked for on paper was written."""
        done = {row["id"] for row in await self.world.rows("payments", status="SUCCEEDED")}
        written = {row["id"] for row in await self.world.rows("invoices") if row["rendered_at"]}
        return [
            *(f"payment {payment} was paid on the page and did not succeed" for payment in self._paid - done),
            *(f"document {document} was asked for and not written" for document in self._asked - written),
        ]

"""Steps that tests of payments share: payments over HTTP, and webhooks as the sandbox provider signs them."""

import itertools
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx

from app.adapters.payments.sandbox import Sandbox
from app.adapters.payments.sandbox_webhooks import EventType, compose
from app.core.config import ProviderName
from tests.support.world import Person, World

PAYMENTS = "/api/v1/payments"
WEBHOOKS = "/webhooks/sandbox"
AMOUNT = 500_00

_numbers = itertools.count()


def sandbox(world: World) -> Sandbox:
    provider = world.platform.payments[ProviderName.SANDBOX]
    assert isinstance(provider, Sandbox)
    return provider


async def top_up(person: Person, amount: int = AMOUNT, **more: Any) -> dict[str, Any]:
    """A payment that was created, and nothing else."""
    answer = await person.post(PAYMENTS, {"purpose": "top_up", "amount_minor": amount} | more)
    assert answer.status_code == 201, answer.text
    payment: dict[str, Any] = answer.json()
    return payment


async def for_lead(person: Person, request_id: str) -> dict[str, Any]:
    """A payment for a lead."""
    answer = await person.post(PAYMENTS, {"purpose": "lead", "subject_id": request_id})
    assert answer.status_code == 201, answer.text
    payment: dict[str, Any] = answer.json()
    return payment


def notice(event: EventType, payment: Mapping[str, Any], **data: Any) -> bytes:
    """The body of a webhook about a payment; `data` joins or replaces what it says."""
    said = {
        "payment_id": payment["id"],
        "reference": f"sbx_{payment['id']}",
        "amount_minor": payment["amount_minor"],
        "currency": payment["currency"],
    }
    return compose(event, said | data)


async def send(world: World, body: bytes, *, event_id: str | None = None, at: float | None = None) -> httpx.Response:
    """Post it, rightly signed; each call is an event of its own unless `event_id` says which."""
    event_id = event_id or f"evt_test_{next(_numbers)}"
    headers = sandbox(world).sign(event_id, body, time.time() if at is None else at)
    return await world.http.post(WEBHOOKS, content=body, headers=headers)


async def paid(world: World, payment: Mapping[str, Any], **data: Any) -> None:
    """The provider tells that the money was taken."""
    answer = await send(world, notice(EventType.PAYMENT_SUCCEEDED, payment, **data))
    assert answer.status_code == 200, answer.text


async def read(person: Person, payment: Mapping[str, Any]) -> dict[str, Any]:
    answer = await person.get(f"{PAYMENTS}/{payment['id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refund(world: World, payment: Mapping[str, Any], amount: int | None = None) -> httpx.Response:
    """The admin sends money back."""
    body = {"reason": "for the test"} | ({} if amount is None else {"amount_minor": amount})
    return await world.admin.post(f"/api/v1/admin/payments/{payment['id']}/refunds", body)


async def outcomes(world: World, payment: Mapping[str, Any]) -> list[str]:
    """What became of the webhooks about a payment, in no order."""
    rows = await world.rows("webhook_events", provider="sandbox")
    return sorted(row["outcome"] for row in rows if row["notice"]["payment_id"] == payment["id"])


async def escrow_of(world: World, payment: Mapping[str, Any]) -> int:
    rows = await world.rows("accounts", owner_id=UUID(payment["id"]), kind="escrow")
    return sum(int(row["balance"]) for row in rows)

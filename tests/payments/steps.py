"""Steps that tests of payments share: payments over HTTP, and webhooks as the sandbox provider signs them."""

import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import httpx

from app.adapters.payments.port import Checkout, Notice, Order, RefundOrder
from app.adapters.payments.sandbox import Sandbox
from app.adapters.payments.sandbox_webhooks import EventType, compose
from app.core.config import ProviderName
from app.jobs import clock
from app.kernel.platform import Platform
from app.models.payments import PaymentStatus
from tests.support.world import Person, World

PAYMENTS = "/api/v1/payments"
WEBHOOKS = "/webhooks/sandbox"
AMOUNT = 500_00
FEE = 50_00

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


async def row_of(world: World, payment: Mapping[str, Any]) -> dict[str, Any]:
    """The payment as it is stored."""
    [row] = await world.rows("payments", id=UUID(payment["id"]))
    return row


async def refunds_of(world: World, payment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The payment's refunds as they are stored, oldest first."""
    return await world.rows("refunds", payment_id=UUID(payment["id"]))


async def refund_notice(
    world: World, event: EventType, refund_id: UUID | str, *, event_id: str | None = None
) -> httpx.Response:
    """The provider tells how a refund went."""
    data = {"refund_id": refund_id, "reason": "The bank sent it back."}
    return await send(world, compose(event, data), event_id=event_id)


async def in_status(world: World, person: Person, status: PaymentStatus) -> dict[str, Any]:
    """A top-up of the person's that came into this status the way it usually does."""
    payment = await top_up(person)
    match status:
        case PaymentStatus.PENDING:
            await person.post(f"{PAYMENTS}/{payment['id']}/checkout")
        case PaymentStatus.FAILED:
            await send(world, notice(EventType.PAYMENT_FAILED, payment))
        case PaymentStatus.EXPIRED:
            await person.post(f"{PAYMENTS}/{payment['id']}/cancel")
        case PaymentStatus.UNDER_REVIEW:
            await paid(world, payment, amount_minor=AMOUNT - 1)
        case PaymentStatus.SUCCEEDED | PaymentStatus.PARTIALLY_REFUNDED | PaymentStatus.REFUNDED:
            await paid(world, payment)
    if status in (PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED):
        partly = status is PaymentStatus.PARTIALLY_REFUNDED
        assert (await refund(world, payment, 100_00 if partly else None)).status_code == 201
    assert (await row_of(world, payment))["status"] == status
    return payment


async def make_due(world: World, subject_id: UUID | str) -> None:
    """The time of this payment, or of this stored webhook, has come."""
    moved = await world.execute(
        "UPDATE deadlines SET due_at = now() - interval '1 second' WHERE subject_id = cast(:id AS uuid)",
        id=str(subject_id),
    )
    assert moved == 1


async def expire(world: World, payment: Mapping[str, Any]) -> None:
    """Half an hour passes for this payment, and the clock ticks."""
    await make_due(world, payment["id"])
    assert await clock.tick(world.platform) >= 1


class Stub:
    """A payment provider that answers as a test says, and keeps count of what it was asked."""

    def __init__(self, answer: Callable[[Order | RefundOrder], Awaitable[None]], sandbox: Sandbox) -> None:
        """`answer` is awaited before each answer and may raise; the rest is the sandbox's."""
        self.asked: list[UUID] = []
        self._answer, self.sandbox = answer, sandbox

    async def open_checkout(self, order: Order) -> Checkout:
        self.asked.append(order.payment_id)
        await self._answer(order)
        return await self.sandbox.open_checkout(order)

    async def refund(self, order: RefundOrder) -> str:
        self.asked.append(order.refund_id)
        await self._answer(order)
        return await self.sandbox.refund(order)

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> Notice:
        return self.sandbox.read_webhook(headers, body, now)

    async def close(self) -> None:
        """Nothing is open."""


def use(platform: Platform, answer: Callable[[Order | RefundOrder], Awaitable[None]]) -> Stub:
    """Put a stub in the place of the sandbox, in this platform alone."""
    providers = platform.payments
    assert isinstance(providers, dict)
    behind = providers[ProviderName.SANDBOX]
    if isinstance(behind, Stub):
        behind = behind.sandbox
    assert isinstance(behind, Sandbox)
    stub = providers[ProviderName.SANDBOX] = Stub(answer, behind)
    return stub

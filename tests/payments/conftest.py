"""A sandbox that is spoken to as the platform does, and what it has to say."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic_core import from_json
from sqlalchemy import text

from app.adapters.payments.port import Order
from app.adapters.payments.sandbox import Sandbox
from app.adapters.payments.sandbox_webhooks import SEND
from app.core.config import ProviderName
from app.core.database import Statement
from app.kernel.platform import Platform
from tests.support.world import World

_QUEUED = Statement(text("SELECT payload FROM pgqueuer WHERE entrypoint = :name ORDER BY id"))


def order_of(**changed: Any) -> Order:
    """A fresh payment's order, of ₹1,234.50."""
    usual: dict[str, Any] = {
        "payment_id": uuid4(),
        "amount_minor": 123450,
        "currency": "INR",
        "description": "Top-up of your wallet",
        "return_url": "https://shop.example/wallet?tab=money#top",
        "expires_in_seconds": 900,
    }
    return Order(**usual | changed)


class Till:
    """The sandbox with short words for what tests do with it."""

    def __init__(self, platform: Platform, world: World) -> None:
        provider = platform.payments[ProviderName.SANDBOX]
        assert isinstance(provider, Sandbox)
        self.platform, self.world, self.sandbox = platform, world, provider

    async def open(self, **changed: Any) -> str:
        """A fresh checkout; its token."""
        return (await self.sandbox.open_checkout(order_of(**changed))).url.rpartition("/")[2]

    async def do(self, step: str, token: str) -> Any:
        """A step of the hosted page, in a transaction of its own."""
        async with self.platform.database.write() as session:
            return await getattr(self.sandbox, step)(session, token)

    async def paid(self, **changed: Any) -> tuple[UUID, str]:
        """A paid checkout: the payment's id, and the reference of the money."""
        checkout = await self.do("pay", await self.open(**changed))
        return checkout.payment_id, checkout.reference

    async def told(self, payment_id: UUID) -> list[dict[str, Any]]:
        """The webhooks about a payment that wait to be sent, oldest first."""
        async with self.platform.database.read() as session:
            rows = await session.all(_QUEUED, name=SEND)
        events = [from_json(row["payload"]) for row in rows]
        return [event for event in events if event["data"]["payment_id"] == str(payment_id)]

    async def make_late(self, token: str) -> None:
        changed = await self.world.execute(
            "UPDATE sandbox_checkouts SET expires_at = now() - interval '1 second' WHERE token = :token", token=token
        )
        assert changed == 1


@pytest.fixture
async def till(platform: Platform, world: World) -> AsyncIterator[Till]:
    """What it queued is not sent by a worker of another test."""
    yield Till(platform, world)
    await world.execute("DELETE FROM pgqueuer WHERE entrypoint = :name", name=SEND)

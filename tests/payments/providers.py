"""The adapters, connected to fakes of their providers over the loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from app.adapters.payments.port import Order, RefundOrder
from app.adapters.payments.razorpay import Razorpay
from app.adapters.payments.stripe import Stripe
from app.core.config import ProviderName, Settings
from app.core.ids import uuid7
from tests.conftest import serving
from tests.support.fake_razorpay import FakeRazorpay
from tests.support.fake_stripe import FakeStripe

HASTY_SECONDS = 0.4
"""How long an adapter waits that is going to wait in vain."""
BOUND_SECONDS = 5
"""Two requests of a hasty adapter, on a machine that is busy."""


def stripe_settings(**changed: Any) -> Settings:
    values: dict[str, Any] = {
        "payment_provider": ProviderName.STRIPE,
        "stripe_secret_key": FakeStripe.KEY,
        "stripe_webhook_secret": FakeStripe.WEBHOOK_SECRET,
    }
    return Settings(**values | changed)


def razorpay_settings(**changed: Any) -> Settings:
    values: dict[str, Any] = {
        "payment_provider": ProviderName.RAZORPAY,
        "razorpay_key_id": FakeRazorpay.KEY_ID,
        "razorpay_key_secret": FakeRazorpay.KEY_SECRET,
        "razorpay_webhook_secret": FakeRazorpay.WEBHOOK_SECRET,
    }
    return Settings(**values | changed)


@asynccontextmanager
async def connected_stripe(fake: FakeStripe, **changed: Any) -> AsyncIterator[Stripe]:
    async with serving(fake.app) as url:
        adapter = Stripe(stripe_settings(stripe_api_url=url, **changed))
        try:
            yield adapter
        finally:
            await adapter.close()


@asynccontextmanager
async def connected_razorpay(fake: FakeRazorpay, **changed: Any) -> AsyncIterator[Razorpay]:
    async with serving(fake.app) as url:
        adapter = Razorpay(razorpay_settings(razorpay_api_url=url, **changed))
        try:
            yield adapter
        finally:
            await adapter.close()


def order(**changed: Any) -> Order:
    usual: dict[str, Any] = {
        "payment_id": uuid7(),
        "amount_minor": 50_000,
        "currency": "INR",
        "description": "Wallet top-up",
        "return_url": "https://bazaar.example/paid",
        "expires_in_seconds": 1800,
    }
    return Order(**usual | changed)


def refund_order(payment_id: UUID, reference: str, amount_minor: int = 20_000, **changed: Any) -> RefundOrder:
    usual: dict[str, Any] = {
        "refund_id": uuid7(),
        "payment_id": payment_id,
        "reference": reference,
        "amount_minor": amount_minor,
        "currency": "INR",
    }
    return RefundOrder(**usual | changed)

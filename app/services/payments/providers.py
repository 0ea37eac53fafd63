"""Asking a payment provider something: never for longer than the settings say, whatever its adapter does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.adapters.payments.port import PaymentProvider, ProviderAway
from app.kernel.platform import Platform


@asynccontextmanager
async def asking(platform: Platform, name: str) -> AsyncIterator[PaymentProvider]:
    """The provider of this name, for one request. No session may be open: the answer may take long.

    Raises `ProviderAway` after `payment_provider_seconds`, and for a provider that is not in use any more.
    """
    provider = platform.payments.get(name)
    if provider is None:
        raise ProviderAway()
    try:
        async with asyncio.timeout(platform.settings.payment_provider_seconds):
            yield provider
    except TimeoutError as error:
        raise ProviderAway() from error

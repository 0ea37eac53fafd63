"""What one process holds: made once by the composition root, handed to whatever needs more than a session."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.adapters.messages import Messengers
from app.adapters.payments import payment_providers
from app.adapters.payments.port import PaymentProvider
from app.adapters.public_http import PublicHttp
from app.adapters.push import WebPush
from app.adapters.storage import Storage
from app.core.config import Settings
from app.core.database import Database
from app.core.limits import Limits
from app.core.security import AccessTokens, Keys, Passwords, Seals, Signatures
from app.core.tasks import end
from app.core.valkey import Valkey
from app.kernel.images import Images
from app.kernel.jobs import enqueue

_WATCHING: Final = 2


@dataclass(frozen=True, slots=True)
class Platform:
    settings: Settings
    database: Database
    watching: Database
    """A few connections apart, for whoever looks all the time what is new: it must not queue up behind requests."""
    valkey: Valkey
    limits: Limits
    passwords: Passwords
    tokens: AccessTokens
    signatures: Signatures
    codes: Keys
    seals: Seals
    storage: Storage
    images: Images
    messengers: Messengers
    push: WebPush
    payments: Mapping[str, PaymentProvider]
    public_http: PublicHttp


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Platform]:
    """Connect lazily to everything, and close it in the end. Committed streams are hinted to all processes."""
    valkey = Valkey(settings)
    keys = Keys(settings)
    database = Database(settings, after_commit=valkey.hint)
    few = settings.model_copy(update={"database_pool_size": _WATCHING})
    platform = Platform(
        settings=settings,
        database=database,
        watching=Database(few, after_commit=valkey.hint),
        valkey=valkey,
        limits=Limits(settings),
        passwords=Passwords(settings),
        tokens=AccessTokens(settings, keys),
        signatures=Signatures(keys),
        codes=keys,
        seals=Seals(settings),
        storage=Storage(settings),
        images=Images(settings),
        messengers=Messengers(settings, valkey.client),
        push=WebPush(settings),
        payments=payment_providers(settings, database, enqueue),
        public_http=PublicHttp(settings),
    )
    publisher = asyncio.create_task(valkey.publish_hints())
    try:
        yield platform
    finally:
        await end(publisher)
        await platform.images.close()
        for provider in platform.payments.values():
            await provider.close()
        await platform.push.close()
        platform.public_http.close()
        await platform.database.close()
        await platform.watching.close()
        await platform.limits.close()
        await valkey.close()

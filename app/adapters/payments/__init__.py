"""Payment providers behind one port."""

from app.adapters.payments.port import PaymentProvider
from app.adapters.payments.sandbox import Enqueue, Sandbox
from app.core.config import ProviderName, Settings
from app.core.database import Database


def payment_providers(settings: Settings, database: Database, enqueue: Enqueue) -> dict[str, PaymentProvider]:
    """Every provider that the settings hold the keys of, by name: new payments are made with
    `settings.payment_provider`, and those of another one can still be refunded and heard of."""
    providers: dict[str, PaymentProvider] = {}
    if settings.payment_provider is ProviderName.SANDBOX:
        providers[ProviderName.SANDBOX] = Sandbox(database, settings, enqueue)
    return providers

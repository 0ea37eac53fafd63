"""Payment providers behind one port."""

from importlib import import_module

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
    # Loaded where they are used only: their SDKs are a third of a process's memory and half of its start.
    if settings.stripe_secret_key.get_secret_value() and settings.stripe_webhook_secret.get_secret_value():
        providers[ProviderName.STRIPE] = import_module("app.adapters.payments.stripe").Stripe(settings)
    if settings.razorpay_key_secret.get_secret_value() and settings.razorpay_webhook_secret.get_secret_value():
        providers[ProviderName.RAZORPAY] = import_module("app.adapters.payments.razorpay").Razorpay(settings)
    return providers

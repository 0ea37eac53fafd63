"""Payment providers behind one port."""

from app.adapters.payments.port import PaymentProvider
from app.adapters.payments.sandbox import Enqueue, Sandbox
from app.core.config import Settings
from app.core.database import Database


def payment_provider(settings: Settings, database: Database, enqueue: Enqueue) -> PaymentProvider:
    """The provider that this installation takes payments with."""
    return Sandbox(database, settings, enqueue)

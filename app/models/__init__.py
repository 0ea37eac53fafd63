"""Tables, one file per noun. Importing this package completes the metadata that the migrations are checked against."""

from app.models import (
    audit,
    catalogue,
    deadlines,
    events,
    files,
    idempotency,
    invoices,
    ledger,
    notifications,
    payments,
    payouts,
    providers,
    regions,
    sandbox,
    service_requests,
    users,
)
from app.models.base import metadata

__all__ = [
    "audit",
    "catalogue",
    "deadlines",
    "events",
    "files",
    "idempotency",
    "invoices",
    "ledger",
    "metadata",
    "notifications",
    "payments",
    "payouts",
    "providers",
    "regions",
    "sandbox",
    "service_requests",
    "users",
]

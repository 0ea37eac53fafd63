"""Tables, one file per noun. Importing this package completes the metadata that the migrations are checked against."""

from app.models import (
    api_keys,
    audit,
    catalogue,
    deadlines,
    events,
    files,
    idempotency,
    invoices,
    ledger,
    payments,
    payouts,
    providers,
    regions,
    sandbox,
    service_requests,
    users,
    webhook_endpoints,
)
from app.models.base import metadata

__all__ = [
    "api_keys",
    "audit",
    "catalogue",
    "deadlines",
    "events",
    "files",
    "idempotency",
    "invoices",
    "ledger",
    "metadata",
    "payments",
    "payouts",
    "providers",
    "regions",
    "sandbox",
    "service_requests",
    "users",
    "webhook_endpoints",
]

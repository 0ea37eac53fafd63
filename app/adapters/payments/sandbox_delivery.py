"""How what the sandbox tells the platform gets there: a request to this very server."""

import time
from typing import Final

import httpx
from pydantic_core import from_json

from app.adapters.payments.sandbox_webhooks import SandboxSignatures
from app.core.config import Settings

_SECONDS: Final = 20


async def deliver(settings: Settings, body: bytes) -> None:
    """Send a body, signed anew, to this very server. Raises unless the answer is a 2xx; the job queue tries again."""
    headers = SandboxSignatures(settings).sign(from_json(body)["id"], body, time.time())
    # Never by way of a proxy that the environment names: the way leads back to where it begins.
    async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
        answer = await client.post(
            f"{settings.public_url.rstrip('/')}/webhooks/sandbox",
            content=body,
            headers=headers | {"content-type": "application/json"},
        )
    answer.raise_for_status()

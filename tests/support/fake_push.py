"""A push service on the loopback, and browsers that subscribe there and really decrypt what comes."""

import asyncio
import os
import secrets
from base64 import urlsafe_b64encode
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic_core import from_json

from tests.support.asgi import taken

Answer = tuple[int, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Pushed:
    headers: dict[str, str]
    body: bytes


@dataclass
class PushService:
    """An ASGI application. For each endpoint it answers with the next of `answers`, and with 201 without any."""

    answers: defaultdict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    received: defaultdict[str, list[Pushed]] = field(default_factory=lambda: defaultdict(list))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers, body = await taken(scope, receive)
        path = scope["path"]
        self.received[path].append(Pushed(headers, body))
        status, answered = self.answers[path].pop(0) if self.answers[path] else (201, {})
        raw = [(name.encode(), value.encode()) for name, value in answered.items()]
        if status == 0:
            await asyncio.sleep(30)  # it says nothing at all
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"whatever it says"})


class Browser:
    """It keeps its private key to itself."""

    def __init__(self, service: PushService, url: str) -> None:
        self._service = service
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._auth = os.urandom(16)
        self._path = f"/push/{secrets.token_urlsafe(24)}"
        self.endpoint = url + self._path

    @property
    def subscription(self) -> dict[str, Any]:
        """`PushSubscription.toJSON()`."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {
            "endpoint": self.endpoint,
            "expirationTime": None,
            "keys": {"p256dh": encoded(point), "auth": encoded(self._auth)},
        }

    @property
    def pushed(self) -> list[Pushed]:
        """What the push service took for it, or refused."""
        return self._service.received[self._path]

    def will_answer(self, *answers: int | Answer) -> None:
        """What the push service answers to the next messages for this browser; 0 is silence."""
        made = [(answer, {}) if isinstance(answer, int) else answer for answer in answers]
        self._service.answers[self._path] = made

    def opened(self, pushed: Pushed) -> dict[str, Any]:
        """The message, decrypted."""
        message: dict[str, Any] = from_json(
            http_ece.decrypt(pushed.body, private_key=self._key, auth_secret=self._auth, version="aes128gcm")
        )
        return message

    async def wait_for(self, count: int, within_seconds: float = 15) -> list[Pushed]:
        async with asyncio.timeout(within_seconds):
            while len(self.pushed) < count:  # noqa: ASYNC110 - what is waited for is in another task
                await asyncio.sleep(0.02)
        return self.pushed


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()

"""Web push: messages that a browser gets through its maker's push service, even while no page is open.

Encrypted for the browser alone (RFC 8291), signed with our key (VAPID, RFC 8292). A browser names the address that we
post to, so only known push services are asked, over https, and no answer leads us anywhere else.
"""

import asyncio
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Final, NamedTuple

import http_ece
import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

from app.core.config import Settings
from app.core.security import push_key

PAYLOAD_LIMIT_BYTES: Final = 4096 - 86 - 17
"""What push services take, less the header of the encryption, its padding mark and its tag."""
ENDPOINT_LIMIT: Final = 2000

_SHAPE: Final = re.compile(
    r"(?P<origin>https?://(?P<host>[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*)(:[0-9]+)?)/[!\x24-\x3b=?-\[\]_a-z~]*"
)
"""No user, no fragment, nothing to escape; a host in lower-case ASCII, so that one is never taken for another."""
_SIGNED_SECONDS: Final = 12 * 3600
_CONNECTIONS: Final = 50
_LATER: Final = frozenset({408, 425, 429})
_GONE: Final = frozenset({404, 410})


class Subscription(NamedTuple):
    """Where a browser takes messages (`PushSubscription`), and the keys that only it can open them with."""

    endpoint: str
    p256dh: bytes
    auth: bytes


class SubscriptionGone(Exception):
    """The browser does not take messages here any more."""


class PushAway(Exception):
    """The push service did not take the message now; it may later. `retry_after` are seconds, if it named them."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class PushRefused(Exception):
    """The push service does not want this message, or we do not want to ask it."""


class WebPush:
    """Sends messages to subscriptions; connections are kept, and opened at the first message."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key = push_key(settings)
        self._signatures: dict[str, tuple[float, str]] = {}
        self._opened: httpx.AsyncClient | None = None

    @cached_property
    def public_key(self) -> str:
        """What browsers subscribe with: `applicationServerKey`, URL-safe base64 without padding."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return urlsafe_b64encode(point).rstrip(b"=").decode()

    def may_ask(self, endpoint: str) -> bool:
        """Whether the address belongs to a push service that the settings name."""
        return self._origin(endpoint) is not None

    async def send(self, to: Subscription, payload: bytes, *, urgent: bool, topic: str | None) -> None:
        """Hand over one message of at most `PAYLOAD_LIMIT_BYTES`.

        A later message of the same topic takes the place of one that still waits. Raises `SubscriptionGone`,
        `PushAway`, `PushRefused`.
        """
        origin = self._origin(to.endpoint)
        if origin is None:
            raise PushRefused("not a push service of ours")
        headers = {
            "Authorization": self._signature(origin),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(int(self._settings.push_life_seconds)),
            "Urgency": "high" if urgent else "normal",
        } | ({"Topic": topic} if topic else {})
        try:
            status, answered = await self._post(to.endpoint, headers, _encrypted(to, payload))
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise PushAway(type(error).__name__) from error
        if status in _GONE:
            raise SubscriptionGone()
        if status >= 500 or status in _LATER:
            raise PushAway(f"answered {status}", _seconds(answered.get("retry-after"), time.time()))
        if not 200 <= status < 300:
            raise PushRefused(f"answered {status}")

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def _post(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> tuple[int, httpx.Headers]:
        # The client's own timeouts are for each step: one byte now and then would hold us up for ever.
        async with (
            asyncio.timeout(self._settings.push_seconds),
            self._client.stream("POST", endpoint, headers=headers, content=body) as answer,
        ):
            # What it has to say besides is not read: it could be endless.
            return answer.status_code, answer.headers

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._opened is None:
            self._opened = httpx.AsyncClient(
                timeout=self._settings.push_seconds,
                limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
                follow_redirects=False,
                trust_env=False,  # a proxy of the environment is not meant for this
            )
        return self._opened

    def _origin(self, endpoint: str) -> str | None:
        """The origin of an address that may be asked."""
        found = _SHAPE.fullmatch(endpoint) if len(endpoint) <= ENDPOINT_LIMIT else None
        if found is None:
            return None
        origin, host = found["origin"], found["host"]
        for service in self._settings.push_services:
            if origin == (service if "://" in service else f"https://{service}"):
                return origin
            if service.startswith("*.") and origin == f"https://{host}" and host.endswith(service[1:]):
                return origin
        return None

    def _signature(self, origin: str) -> str:
        """Who we are, for this push service; made anew twice a day."""
        now = time.time()
        until, signature = self._signatures.get(origin, (0.0, ""))
        if until <= now:
            until = now + _SIGNED_SECONDS
            # Good for longer than it is used, so that clocks may differ; a day at most is allowed.
            claims = {"aud": origin, "exp": int(until) + 3600, "sub": self._settings.push_contact}
            signature = Vapid02(self._key).sign(claims)["Authorization"]
            if len(self._signatures) >= _CONNECTIONS:
                self._signatures.clear()
            self._signatures[origin] = until, signature
        return signature


def _encrypted(to: Subscription, payload: bytes) -> bytes:
    sealed: bytes = http_ece.encrypt(
        payload,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=to.p256dh,
        auth_secret=to.auth,
        version="aes128gcm",
    )
    return sealed


def _seconds(retry_after: str | None, now: float) -> float | None:
    """What the header asks for: seconds, or a date."""
    if retry_after is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", retry_after):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return None

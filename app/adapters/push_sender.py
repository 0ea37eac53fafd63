"""One message on its way to a push service: encrypted for the browser alone (RFC 8291), signed with our key (VAPID,
RFC 8292)."""

import asyncio
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import http_ece
import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02

from app.adapters.push import PushAway, PushRefused, Subscription, SubscriptionGone
from app.core.config import Settings

_SIGNED_SECONDS: Final = 12 * 3600
_CONNECTIONS: Final = 50
_LATER: Final = frozenset({408, 425, 429})
_GONE: Final = frozenset({404, 410})


class PushSender:
    """Posts messages over connections that are kept."""

    def __init__(self, settings: Settings, key: ec.EllipticCurvePrivateKey) -> None:
        self._settings, self._key = settings, key
        self._signatures: dict[str, tuple[float, str]] = {}
        self._client = httpx.AsyncClient(
            timeout=settings.push_seconds,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            follow_redirects=False,
            trust_env=False,  # a proxy of the environment is not meant for this
        )

    async def send(self, origin: str, to: Subscription, payload: bytes, *, urgent: bool, topic: str | None) -> None:
        """As `WebPush.send`, to an address that may be asked, at this origin."""
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
        await self._client.aclose()

    async def _post(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> tuple[int, httpx.Headers]:
        # The client's own timeouts are for each step: one byte now and then would hold us up for ever.
        async with (
            asyncio.timeout(self._settings.push_seconds),
            self._client.stream("POST", endpoint, headers=headers, content=body) as answer,
        ):
            # What it has to say besides is not read: it could be endless.
            return answer.status_code, answer.headers

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

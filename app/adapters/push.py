"""Web push: messages that a browser gets through its maker's push service, even while no page is open.

A browser names the address that we post to, so only known push services are asked, over https, and no answer leads us
anywhere else.
"""

import re
from base64 import urlsafe_b64encode
from functools import cached_property
from importlib import import_module
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.core.config import Settings
from app.core.security import push_key

PAYLOAD_LIMIT_BYTES: Final = 4096 - 86 - 17
"""What push services take, less the header of the encryption, its padding mark and its tag."""
ENDPOINT_LIMIT: Final = 2000

_SHAPE: Final = re.compile(
    r"(?P<origin>https?://(?P<host>[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*)(:[0-9]+)?)/[!\x24-\x3b=?-\[\]_a-z~]*"
)
"""No user, no fragment, nothing to escape; a host in lower-case ASCII, so that one is never taken for another."""


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


class Sender(Protocol):
    """Posts messages to push services of ours."""

    async def send(self, origin: str, to: Subscription, payload: bytes, *, urgent: bool, topic: str | None) -> None: ...

    async def close(self) -> None: ...


class WebPush:
    """Sends messages to subscriptions."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key = push_key(settings)
        self._opened: Sender | None = None

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
        await self._sender.send(origin, to, payload, urgent=urgent, topic=topic)

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    @property
    def _sender(self) -> Sender:
        """Loaded at the first message: a server, which sends none, does without a client and its encryption."""
        if self._opened is None:
            self._opened = import_module("app.adapters.push_sender").PushSender(self._settings, self._key)
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

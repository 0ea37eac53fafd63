"""What the sandbox tells the platform: signed bodies, and how they are read.

Headers and signature are those of Standard Webhooks (standardwebhooks.com): `webhook-id`, `webhook-timestamp`, and
`webhook-signature`, which is "v1," and the base64 of the HMAC-SHA256 over `<id>.<timestamp>.<body>`.
"""

import hmac
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json, to_json

from app.adapters.payments.port import TOLERANCE_SECONDS, Notice, NoticeKind, SignatureRefused
from app.core.config import Settings
from app.core.ids import uuid7
from app.core.money import AMOUNT_LIMIT

SEND: Final = "sandbox_webhook"
"""The job that sends one; its payload is the body."""

_EVENT_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_REFERENCE: Final = re.compile(r"[\x21-\x7e]{1,128}")
_CURRENCY: Final = re.compile(r"[A-Z]{3,8}")
_PROSE: Final = re.compile(r"[^\x00]{1,500}")


class EventType(StrEnum):
    PAYMENT_SUCCEEDED = "payment.succeeded"
    PAYMENT_FAILED = "payment.failed"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"


_KINDS: Final[dict[str, NoticeKind]] = {
    EventType.PAYMENT_SUCCEEDED: NoticeKind.PAID,
    EventType.PAYMENT_FAILED: NoticeKind.FAILED,
    EventType.REFUND_SUCCEEDED: NoticeKind.REFUNDED,
    EventType.REFUND_FAILED: NoticeKind.REFUND_FAILED,
}


class SandboxSignatures:
    def __init__(self, settings: Settings) -> None:
        self._key = settings.sandbox_webhook_secret.get_secret_value().encode()

    def sign(self, event_id: str, body: bytes, now: float) -> dict[str, str]:
        """The headers that go with a body sent now, in seconds since 1970."""
        timestamp = str(int(now))
        return {
            "webhook-id": event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": self._signature(event_id, timestamp, body),
        }

    def check(self, headers: Mapping[str, str], body: bytes, now: float) -> str:
        """The id of the event whose body this is, or `SignatureRefused`."""
        event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not _EVENT_ID.fullmatch(event_id) or not _TIMESTAMP.fullmatch(timestamp):
            raise SignatureRefused()
        # Several, separated by spaces, while a secret is being replaced.
        given = headers.get("webhook-signature", "").split(" ")
        right = self._signature(event_id, timestamp, body).encode()
        fits = [hmac.compare_digest(right, one.encode("utf-8", "replace")) for one in given]
        if not any(fits) or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
            raise SignatureRefused()
        return event_id

    def _signature(self, event_id: str, timestamp: str, body: bytes) -> str:
        signed = f"{event_id}.{timestamp}.".encode() + body
        return f"v1,{b64encode(hmac.digest(self._key, signed, 'sha256')).decode()}"


def compose(event: EventType, data: Mapping[str, Any]) -> bytes:
    """The body of a new event. It keeps its id however often it is sent."""
    return to_json({"id": f"evt_{uuid7().hex}", "type": event, "created": int(time.time()), "data": data})


def translate(event_id: str, body: bytes) -> Notice:
    """A signed body in the platform's words; what makes no sense is `OTHER`."""
    try:
        document = from_json(body)
    except ValueError:
        document = None
    event = document if isinstance(document, dict) else {}
    name = _matching(_PROSE, event.get("type")) or ""
    data = event.get("data")
    if not isinstance(data, dict) or name not in _KINDS:
        return Notice(event_id, NoticeKind.OTHER, name)
    return Notice(
        event_id,
        _KINDS[name],
        name,
        payment_id=_id(data.get("payment_id")),
        refund_id=_id(data.get("refund_id")),
        reference=_matching(_REFERENCE, data.get("reference")),
        amount_minor=_amount(data.get("amount_minor")),
        currency=_matching(_CURRENCY, data.get("currency")),
        reason=_matching(_PROSE, data.get("reason")),
    )


def _matching(shape: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and shape.fullmatch(value) else None


def _amount(value: object) -> int | None:
    return value if type(value) is int and 0 < value <= AMOUNT_LIMIT else None


def _id(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None

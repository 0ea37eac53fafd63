"""Razorpay: Payment Links, refunds and signed webhooks, through the official SDK, which is synchronous."""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import razorpay  # type: ignore[import-untyped]  # the SDK has no types: its answers are read with `reading` only
import requests
import structlog

from app.adapters.payments import reading
from app.adapters.payments.port import (
    TOLERANCE_SECONDS,
    Checkout,
    Notice,
    NoticeKind,
    Order,
    ProviderAway,
    ProviderRefused,
    RefundOrder,
    SignatureRefused,
)
from app.core.config import Settings

_log = structlog.get_logger()

_SHORTEST_SECONDS: Final = 16 * 60
"""Razorpay takes no page of less than 15 minutes; one more for clocks that differ."""
_DESCRIPTION_LENGTH: Final = 2000
_REFUNDS_LOOKED_AT: Final = 100

_PAYMENT: Final = re.compile(r"pay_[A-Za-z0-9]{1,64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_UNDECIDED: Final = frozenset({401, 403, 408, 409, 425, 429})
"""Answers below 500 that say nothing about the order: our keys are wrong, or too much happens at once."""

_KINDS: Final[Mapping[str, NoticeKind]] = {
    "payment_link.paid": NoticeKind.PAID,
    "payment_link.expired": NoticeKind.FAILED,
    "payment_link.cancelled": NoticeKind.FAILED,
    "refund.processed": NoticeKind.REFUNDED,
    "refund.failed": NoticeKind.REFUND_FAILED,
}
"""`payment.failed` is not among them: the payer may try again on the same page."""
_ENTITIES: Final = ("payment_link", "payment", "order", "refund")
_TIMES: Final = ("created_at", "updated_at", "expired_at", "cancelled_at")


class _Away(Exception):
    """Nothing was decided; the message is a short code for the log."""

    def __init__(self, error: str, status: int | None = None) -> None:
        super().__init__(error)
        self.status = status


class _Line(requests.Session):
    """HTTP for the SDK, which by itself waits for ever, prints errors to the console, and forgets the status: to it,
    wrong keys are the same as a refused refund."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        # Threads share this session, and cookies are all that requests would change in it.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Raises `_Away` unless Razorpay has decided, in JSON."""
        try:
            answer = super().request(*args, **kwargs | {"timeout": self._seconds, "allow_redirects": False})
        except requests.RequestException as error:
            raise _Away(type(error).__name__) from None
        if answer.status_code in _UNDECIDED or 300 <= answer.status_code < 400 or answer.status_code >= 500:
            raise _Away("status", answer.status_code)
        if reading.document(answer.content.decode("utf-8", "replace")) is None:
            raise _Away("undocumented_answer", answer.status_code)
        return answer


class Razorpay:
    """The adapter. Asking again is safe:

    - A Payment Link's `reference_id` is unique for ever. A second request for it is refused, not answered with the
      first link; then the link is looked up by that id, and compared, because the filter is theirs.
    - A refund is sent with the header `X-Refund-Idempotency`, which the SDK lets through. How long Razorpay remembers
      it is not documented, so the refunds of the payment are looked through first; the header stops two at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._key_secret = settings.razorpay_key_secret.get_secret_value()
        self._webhook_secret = settings.razorpay_webhook_secret.get_secret_value()
        self._webhook_age_seconds = settings.razorpay_webhook_age_seconds
        self._seconds = settings.payment_provider_seconds
        self._line = _Line(self._seconds)
        self._client: Any = razorpay.Client(
            session=self._line,
            auth=(settings.razorpay_key_id, self._key_secret),
            base_url=settings.razorpay_api_url or razorpay.constants.URL.BASE_URL,
        )

    async def open_checkout(self, order: Order) -> Checkout:
        """A Payment Link. It lives at least 16 minutes, because Razorpay takes no shorter one."""
        try:
            link = await self._ask(self._client.payment_link.create, _link(order))
        except ProviderRefused as refused:
            if not ("reference_id" in str(refused) and "already exists" in str(refused)):
                raise
            link = await self._existing(order)
        url, reference = reading.address(link.get("short_url")), reading.identifier(link.get("id"))
        if not (url and reference):
            raise self._away("undocumented_answer")
        return Checkout(url=url, reference=reference)

    async def refund(self, order: RefundOrder) -> str:
        if not _PAYMENT.fullmatch(order.reference):
            # It becomes a part of the path.
            raise ProviderRefused("This is no payment of Razorpay's.")
        given = {"refund_id": str(order.refund_id), "payment_id": str(order.payment_id)}
        refunds = await self._ask(
            self._client.payment.fetch_multiple_refund, order.reference, {"count": _REFUNDS_LOOKED_AT}
        )
        refund = reading.refund_among(refunds.get("items"), "notes", order.refund_id)
        if refund is None:
            refund = await self._ask(
                self._client.payment.refund,
                order.reference,
                {"amount": order.amount_minor, "receipt": str(order.refund_id), "notes": given},
                headers={"X-Refund-Idempotency": str(order.refund_id)},
            )
        reference = reading.identifier(reading.at(refund, "id"))
        if not reference:
            raise self._away("undocumented_answer")
        return reference

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> Notice:
        """The port's promise, with two differences that follow from what Razorpay signs: the body, and nothing else.

        *The id of the event* comes in the header `x-razorpay-event-id`, which is not signed: whoever has seen one
        webhook could send it again under a new id. So the header is not read. The id is a digest of what makes the
        event in the signed body: its name, the id of its entity and `created_at`. These are the same when Razorpay
        sends it again, and an entity is paid, expired, refunded once.

        *The time of signing* is not sent. `created_at` is no substitute: of a Payment Link's events it is the birth of
        the link, of a refund's the birth of the refund, minutes to days before, and it stays when Razorpay sends the
        event again, for a day by itself and for 15 days on request. Five minutes would refuse most of what matters. So
        the newest time in the signed body may not lie ahead by more than the tolerance, nor be older than
        `razorpay_webhook_age_seconds`. Copies within that are what the id of the event is for: the ids have to be
        kept for longer.
        """
        event = reading.document(self._signed(headers.get("x-razorpay-signature", ""), body))
        newest = _newest_time(event)
        if newest is not None and not -TOLERANCE_SECONDS <= now - newest <= self._webhook_age_seconds:
            raise SignatureRefused
        return _notice(event, body, readable=newest is not None)

    async def close(self) -> None:
        self._line.close()

    async def _existing(self, order: Order) -> dict[str, Any]:
        """The link that was made for this payment before. Raises `ProviderRefused` if it is for another amount."""
        reference_id = str(order.payment_id)
        found = await self._ask(self._client.payment_link.all, {"reference_id": reference_id})
        for link in reading.items(found.get("payment_links")):
            if isinstance(link, dict) and link.get("reference_id") == reference_id:
                if (link.get("amount"), link.get("currency")) != (order.amount_minor, order.currency):
                    raise ProviderRefused("This payment has a page already, for another amount.")
                return link
        raise self._away("link_not_listed")

    async def _ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> dict[str, Any]:
        """The answer of one call of the SDK. Raises `ProviderAway` or `ProviderRefused`, neither of which leads back to
        the SDK's error."""
        try:
            async with asyncio.timeout(self._seconds):
                answer: dict[str, Any] = await asyncio.to_thread(call, *arguments, **options)
                return answer
        except razorpay.errors.BadRequestError as error:
            reason = reading.message(str(error), self._key_secret) or "Razorpay gave no reason."
        except _Away as away:
            raise self._away(str(away), away.status) from None
        except Exception as error:  # the SDK stumbles over undocumented answers in many ways
            raise self._away(type(error).__name__) from None
        raise ProviderRefused(reason)

    def _away(self, error: str, status: int | None = None) -> ProviderAway:
        _log.warning("payment_provider_away", provider="razorpay", error=error, status=status)
        return ProviderAway()

    def _signed(self, signature: str, body: bytes) -> str:
        """The body as text, if the signature is right. Without a secret of ours none is."""
        if not (self._webhook_secret and _SIGNATURE.fullmatch(signature)):
            raise SignatureRefused
        try:
            text = body.decode("utf-8")
            self._client.utility.verify_webhook_signature(text, signature, self._webhook_secret)
        except (UnicodeDecodeError, razorpay.errors.SignatureVerificationError):
            raise SignatureRefused from None
        return text


def _link(order: Order) -> dict[str, object]:
    return {
        "reference_id": str(order.payment_id),
        "amount": order.amount_minor,
        "currency": order.currency,
        "description": order.description[:_DESCRIPTION_LENGTH],
        "callback_url": order.return_url,
        "callback_method": "get",
        "expire_by": int(time.time()) + max(order.expires_in_seconds, _SHORTEST_SECONDS),
        "accept_partial": False,
        "reminder_enable": False,
        "notify": {"sms": False, "email": False},
        "notes": {"payment_id": str(order.payment_id)},
    }


def _newest_time(event: dict[str, Any] | None) -> int | None:
    """The newest of the times at which the body says that something has happened; None without a `created_at`."""
    created_at = reading.whole(reading.at(event, "created_at"))
    if created_at is None:
        return None
    told = (
        reading.whole(reading.at(event, "payload", entity, "entity", name)) for entity in _ENTITIES for name in _TIMES
    )
    return max([created_at, *(seconds for seconds in told if seconds is not None)])


def _notice(event: dict[str, Any] | None, body: bytes, *, readable: bool) -> Notice:
    name = reading.identifier(reading.at(event, "event")) or "unreadable"
    noun = name.partition(".")[0]
    thing = reading.at(event, "payload", noun, "entity")
    entity_id = reading.identifier(reading.at(thing, "id"))
    kind = _KINDS.get(name, NoticeKind.OTHER)
    if not (readable and entity_id):
        return Notice(event_id=hashlib.sha256(body).hexdigest(), kind=NoticeKind.OTHER, name=name)
    told = json.dumps([name, entity_id, reading.at(event, "created_at")])
    event_id = hashlib.sha256(told.encode()).hexdigest()
    if kind is NoticeKind.OTHER:
        return Notice(event_id=event_id, kind=kind, name=name)
    if noun == "payment_link":
        payment_id = reading.at(thing, "reference_id")
        amount = reading.at(thing, "amount_paid" if kind is NoticeKind.PAID else "amount")
        reference = reading.at(event, "payload", "payment", "entity", "id")
    else:
        payment_id, amount = reading.at(thing, "notes", "payment_id"), reading.at(thing, "amount")
        reference = reading.at(thing, "payment_id")
    return Notice(
        event_id=event_id,
        kind=kind,
        name=name,
        payment_id=reading.our_id(payment_id),
        refund_id=reading.our_id(reading.at(thing, "notes", "refund_id")),
        reference=reading.identifier(reference),
        amount_minor=reading.whole(amount),
        currency=reading.currency(reading.at(thing, "currency")),
    )

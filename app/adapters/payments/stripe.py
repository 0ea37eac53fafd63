"""Stripe: Checkout Sessions, Refunds and signed webhooks, through the official SDK."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import stripe
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
from app.core.ids import born_at

_log = structlog.get_logger()

_SHORTEST_SECONDS: Final = 30 * 60
_LONGEST_SECONDS: Final = 24 * 3600 - 60
"""What Stripe allows, less a minute for clocks that differ."""
_LATE_SECONDS: Final = 300
"""How late after the payment was made Stripe may be asked for its page."""
_DESCRIPTION_LENGTH: Final = 250
_REFUNDS_LOOKED_AT: Final = 100

_TIME: Final = re.compile(r"[0-9]{1,12}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")

_REFUND_EVENTS: Final = frozenset({"refund.created", "refund.updated", "charge.refund.updated", "refund.failed"})
"""`refund.created` too: a card's refund has often succeeded when it is created, and then no other event says so."""
_REFUND_KINDS: Final[Mapping[object, NoticeKind]] = {
    "succeeded": NoticeKind.REFUNDED,
    "failed": NoticeKind.REFUND_FAILED,
    "canceled": NoticeKind.REFUND_FAILED,
}


class Stripe:
    """The adapter. Amounts pass through: Stripe's minor units are ours, also where a currency has none.

    Asking again is safe: the same order makes the same request under the same idempotency key. That is why the expiry
    of a page counts from the birth of the payment's id, not from now: a later `expires_at` under the same key would be
    refused. Description and return address must not change either.
    """

    def __init__(self, settings: Settings) -> None:
        # By default the SDK keeps an id of this machine in the home folder, and sends it.
        stripe.enable_telemetry = False
        self._key = settings.stripe_secret_key.get_secret_value()
        self._webhook_secret = settings.stripe_webhook_secret.get_secret_value()
        self._seconds = settings.payment_provider_seconds
        self._http = stripe.HTTPXClient(timeout=self._seconds)
        self._client = stripe.StripeClient(
            self._key,
            base_addresses={"api": settings.stripe_api_url or stripe.DEFAULT_API_BASE},
            http_client=self._http,
            max_network_retries=0,
        )

    async def open_checkout(self, order: Order) -> Checkout:
        """A Checkout Session. It lives at least 35 minutes and at most a day after the birth of the payment's id:
        Stripe takes no shorter one, so a payment may still come when the platform has given up on it."""
        payment = {"payment_id": str(order.payment_id)}
        lifetime = min(max(order.expires_in_seconds, _SHORTEST_SECONDS) + _LATE_SECONDS, _LONGEST_SECONDS)
        session = await self._ask(
            self._client.v1.checkout.sessions.create_async(
                {
                    "mode": "payment",
                    "client_reference_id": str(order.payment_id),
                    "metadata": payment,
                    "payment_intent_data": {"metadata": payment},
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": order.currency.lower(),
                                "unit_amount": order.amount_minor,
                                "product_data": {"name": order.description[:_DESCRIPTION_LENGTH]},
                            },
                        }
                    ],
                    "success_url": order.return_url,
                    "cancel_url": order.return_url,
                    "expires_at": int(born_at(order.payment_id)) + lifetime,
                },
                {"idempotency_key": f"payment:{order.payment_id}"},
            )
        )
        url, reference = reading.address(session.get("url")), reading.identifier(session.get("id"))
        if not (url and reference):
            raise self._away("undocumented_answer")
        return Checkout(url=url, reference=reference)

    async def refund(self, order: RefundOrder) -> str:
        """A Refund of the PaymentIntent. Stripe forgets idempotency keys after a day or more, and a refund may be
        asked for again later than that: so look first whether the PaymentIntent has it already."""
        refunds = await self._ask(
            self._client.v1.refunds.list_async({"payment_intent": order.reference, "limit": _REFUNDS_LOOKED_AT})
        )
        refund = reading.refund_among(refunds.get("data"), "metadata", order.refund_id)
        if refund is None:
            refund = await self._ask(
                self._client.v1.refunds.create_async(
                    {
                        "payment_intent": order.reference,
                        "amount": order.amount_minor,
                        "metadata": {"refund_id": str(order.refund_id), "payment_id": str(order.payment_id)},
                    },
                    {"idempotency_key": f"refund:{order.refund_id}"},
                )
            )
        reference = reading.identifier(reading.at(refund, "id"))
        if not reference:
            raise self._away("undocumented_answer")
        return reference

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> Notice:
        """The port's promise; a body that is no UTF-8 counts as unsigned, because Stripe signs text."""
        text = self._signed(headers.get("stripe-signature", ""), body, now)
        event = reading.document(text)
        return _notice(event, body)

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the SDK forgot the annotation

    async def _ask(self, answer: Awaitable[stripe.StripeObject]) -> dict[str, Any]:
        """The answer as plain data. Raises `ProviderAway` or `ProviderRefused`, neither of which leads back to the
        SDK's error: that one holds whole bodies."""
        try:
            async with asyncio.timeout(self._seconds):
                return (await answer).to_dict()
        except (stripe.CardError, stripe.InvalidRequestError, stripe.IdempotencyError) as error:
            reason = reading.message(error.user_message, self._key) or "Stripe gave no reason."
        except stripe.StripeError as error:
            raise self._away(type(error).__name__, error.http_status) from None
        except Exception as error:  # the SDK stumbles over undocumented answers in many ways
            raise self._away(type(error).__name__) from None
        raise ProviderRefused(reason)

    def _away(self, error: str, status: int | None = None) -> ProviderAway:
        _log.warning("payment_provider_away", provider="stripe", error=error, status=status)
        return ProviderAway()

    def _signed(self, header: str, body: bytes, now: float) -> str:
        """The body as text, if one of the header's signatures is right and its time is about now.

        The SDK is given the header as it was understood here, so that the time that is compared is the time that is
        signed; it takes times from the future, and compares with a clock of its own, so times are compared here.
        """
        parts = [part.strip().partition("=") for part in header.split(",")]
        times = [value for name, _, value in parts if name == "t"]
        signatures = [value for name, _, value in parts if name == "v1" and _SIGNATURE.fullmatch(value)]
        if len(times) != 1 or not _TIME.fullmatch(times[0]) or not signatures:
            raise SignatureRefused
        understood = ",".join([f"t={times[0]}", *(f"v1={signature}" for signature in signatures)])
        try:
            text = body.decode("utf-8")
            stripe.WebhookSignature.verify_header(text, understood, self._webhook_secret)
        except (UnicodeDecodeError, stripe.SignatureVerificationError):
            raise SignatureRefused from None
        if abs(now - int(times[0])) > TOLERANCE_SECONDS:
            raise SignatureRefused
        return text


def _notice(event: dict[str, Any] | None, body: bytes) -> Notice:
    name = reading.identifier(reading.at(event, "type")) or "unreadable"
    event_id = reading.identifier(reading.at(event, "id")) or hashlib.sha256(body).hexdigest()
    thing = reading.at(event, "data", "object")
    if reading.at(thing, "object") == "checkout.session":
        kind = _kind_of_session(name, reading.at(thing, "payment_status"))
        payment_id, amount = reading.at(thing, "client_reference_id"), reading.at(thing, "amount_total")
    elif reading.at(thing, "object") == "refund" and name in _REFUND_EVENTS:
        status = reading.identifier(reading.at(thing, "status"))
        kind = _REFUND_KINDS.get(status, NoticeKind.OTHER)
        payment_id, amount = reading.at(thing, "metadata", "payment_id"), reading.at(thing, "amount")
    else:
        kind = NoticeKind.OTHER
    if kind is NoticeKind.OTHER:
        return Notice(event_id=event_id, kind=kind, name=name)
    return Notice(
        event_id=event_id,
        kind=kind,
        name=name,
        payment_id=reading.our_id(payment_id),
        refund_id=reading.our_id(reading.at(thing, "metadata", "refund_id")),
        reference=reading.identifier(reading.at(thing, "payment_intent")),
        amount_minor=reading.whole(amount),
        currency=reading.currency(reading.at(thing, "currency")),
        reason=reading.message(reading.at(thing, "failure_reason")),
    )


def _kind_of_session(name: str, payment_status: object) -> NoticeKind:
    match name:
        case "checkout.session.completed" if payment_status == "paid":
            return NoticeKind.PAID
        case "checkout.session.async_payment_succeeded":
            return NoticeKind.PAID
        case "checkout.session.async_payment_failed" | "checkout.session.expired":
            return NoticeKind.FAILED
        case _:
            # Completed, and the money is still on its way: another event will tell.
            return NoticeKind.OTHER

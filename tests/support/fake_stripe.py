"""Stripe: Checkout Sessions, Refunds, webhooks, idempotency keys."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import parse_qsl

from starlette.requests import Request

from tests.support.fake_providers import Body, FakeProvider, Refused, unique


class FakeStripe(FakeProvider):
    KEY = "sk_test_51FakeStripeKeyThatMustNotShow"
    WEBHOOK_SECRET = "whsec_FakeSecretThatMustNotShow"

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, Body] = {}
        self.intents: dict[str, Body] = {}
        self.refunds: dict[str, Body] = {}
        self.answered: dict[str, tuple[object, Body]] = {}
        """By idempotency key: path and parameters, and what was answered."""

    def handlers(self) -> list[tuple[str, str, Callable[[Request, bytes], Body]]]:
        return [
            ("POST", "/v1/checkout/sessions", self._once(self._create_session)),
            ("POST", "/v1/refunds", self._once(self._create_refund)),
            ("GET", "/v1/refunds", self._list_refunds),
        ]

    def check_key(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self.KEY}":
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            self._refuse(401, f"Invalid API Key provided: {given}")

    def forget_idempotency_keys(self) -> None:
        """As Stripe does after a day or more."""
        self.answered.clear()

    def pay(self, session_id: str, status: str = "paid") -> Body:
        """The payer pays; the session afterwards. `unpaid` is a bank transfer that is still on its way."""
        session = self.sessions[session_id]
        intent = {
            "id": unique("pi_"),
            "object": "payment_intent",
            "amount": session["amount_total"],
            "currency": session["currency"],
            "metadata": session["intent_metadata"],
        }
        self.intents[intent["id"]] = intent
        session |= {"status": "complete", "payment_status": status, "payment_intent": intent["id"]}
        return session

    def event(self, name: str, thing: Body) -> Body:
        return {
            "id": unique("evt_"),
            "object": "event",
            "api_version": "2026-10-28.clover",
            "created": int(time.time()),
            "data": {"object": {key: value for key, value in thing.items() if key != "intent_metadata"}},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": name,
        }

    def signature(self, body: bytes, at: float | None = None, secret: str = WEBHOOK_SECRET) -> str:
        """One `v1` signature of the body, as the header carries it behind the time."""
        signed = b"%d." % int(time.time() if at is None else at) + body
        return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

    def signed(self, body: bytes, at: float | None = None) -> dict[str, str]:
        """Headers of a webhook; `v0` is what Stripe adds in test mode."""
        at = time.time() if at is None else at
        return {"stripe-signature": f"t={int(at)},v1={self.signature(body, at)},v0={'0' * 64}"}

    def _once(self, create: Callable[[Body], Body]) -> Callable[[Request, bytes], Body]:
        def create_once(request: Request, body: bytes) -> Body:
            given = dict(parse_qsl(body.decode(), keep_blank_values=True))
            key = request.headers["idempotency-key"]
            fingerprint = (request.url.path, given)
            if key in self.answered:
                before, answer = self.answered[key]
                if before != fingerprint:
                    self._refuse(
                        400,
                        "Keys for idempotent requests can only be used with the same parameters they were first used "
                        f"with. Try using a key other than '{key}' if you meant to execute a different request.",
                        type="idempotency_error",
                    )
                return answer
            answer = create(given)
            self.answered[key] = (fingerprint, json.loads(json.dumps(answer)))
            return answer

        return create_once

    def _create_session(self, given: Body) -> Body:
        amount = int(given["line_items[0][price_data][unit_amount]"]) * int(given["line_items[0][quantity]"])
        if amount <= 0:
            self._refuse(400, "The Checkout Session's total amount due must add up to at least ₹50.00 inr")
        expires_in = int(given["expires_at"]) - time.time()
        if expires_in < 30 * 60:
            self._refuse(400, "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.")
        if expires_in > 24 * 3600:
            self._refuse(400, "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.")
        session = {
            "id": unique("cs_test_"),
            "object": "checkout.session",
            "amount_total": amount,
            "cancel_url": given["cancel_url"],
            "client_reference_id": given["client_reference_id"],
            "currency": given["line_items[0][price_data][currency]"],
            "expires_at": int(given["expires_at"]),
            "metadata": {"payment_id": given["metadata[payment_id]"]},
            "mode": given["mode"],
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "success_url": given["success_url"],
            "intent_metadata": {"payment_id": given["payment_intent_data[metadata][payment_id]"]},
            "name": given["line_items[0][price_data][product_data][name]"],
        }
        session["url"] = f"https://checkout.stripe.com/c/pay/{session['id']}#fid"
        self.sessions[session["id"]] = session
        return session

    def _create_refund(self, given: Body) -> Body:
        intent = self._intent(given["payment_intent"])
        refunded = sum(refund["amount"] for refund in self.refunds.values() if refund["payment_intent"] == intent["id"])
        if refunded == intent["amount"]:
            self._refuse(400, "Charge ch_1 has already been refunded.", code="charge_already_refunded")
        if refunded + int(given["amount"]) > intent["amount"]:
            self._refuse(400, "Refund amount (₹9.00) is greater than unrefunded amount on charge (₹1.00)")
        refund = {
            "id": unique("re_"),
            "object": "refund",
            "amount": int(given["amount"]),
            "currency": intent["currency"],
            "metadata": {
                "refund_id": given["metadata[refund_id]"],
                "payment_id": given["metadata[payment_id]"],
            },
            "payment_intent": intent["id"],
            "status": "pending",
        }
        self.refunds[refund["id"]] = refund
        return refund

    def _list_refunds(self, request: Request, _: bytes) -> Body:
        intent = self._intent(request.query_params["payment_intent"])
        found = [refund for refund in self.refunds.values() if refund["payment_intent"] == intent["id"]]
        return {"object": "list", "url": "/v1/refunds", "has_more": False, "data": found[::-1]}

    def _intent(self, intent_id: str) -> Body:
        if intent_id not in self.intents:
            self._refuse(404, f"No such payment_intent: '{intent_id}'", code="resource_missing")
        return self.intents[intent_id]

    def _refuse(self, status: int, message: str, type: str = "invalid_request_error", **more: str) -> NoReturn:
        raise Refused(status, {"type": type, "message": message} | more)

"""Stripe and Razorpay, as much of them as the adapters use, over a real socket.

Messages and shapes are those of the real ones. They check what the real ones check: keys, idempotency, expiry, and that
no more goes back than was paid. A fake can be told to misbehave for the next requests.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Body = dict[str, Any]


class Fault(StrEnum):
    HANG = "hang"
    """Takes the request and does nothing, for ever."""
    LOSE_THE_ANSWER = "lose the answer"
    """Does the work, and never answers."""
    DRIP = "drip"
    """Answers byte by byte, without an end."""
    BROKEN = "broken"
    BUSY = "busy"
    CONFLICT = "conflict"
    UNDER_WAY = "under way"
    MOVED = "moved"
    GARBAGE = "garbage"
    NO_OBJECT = "no object"
    EMPTY_OBJECT = "empty object"
    STRANGE_ERROR = "strange error"
    DEEP = "deep"


_MISBEHAVED: dict[Fault, Callable[[], Response]] = {
    Fault.BROKEN: lambda: JSONResponse({"error": {"type": "api_error", "code": "SERVER_ERROR"}}, 500),
    Fault.BUSY: lambda: JSONResponse({"error": {"code": "BAD_REQUEST_ERROR", "message": "Too many requests"}}, 429),
    Fault.CONFLICT: lambda: JSONResponse({"error": {"code": "BAD_REQUEST_ERROR", "message": "In progress"}}, 409),
    Fault.UNDER_WAY: lambda: JSONResponse({"error": {"code": "GATEWAY_ERROR", "message": "Wait"}}, 503),
    Fault.MOVED: lambda: Response(status_code=302, headers={"Location": "/elsewhere"}),
    Fault.GARBAGE: lambda: Response("<html>Bad gateway</html>", 200, media_type="text/html"),
    Fault.NO_OBJECT: lambda: JSONResponse([1, 2, 3]),
    Fault.EMPTY_OBJECT: lambda: JSONResponse({}),
    Fault.STRANGE_ERROR: lambda: JSONResponse({"error": ["not", "an", "object"]}, 500),
    Fault.DEEP: lambda: Response("[" * 100_000, 200, media_type="application/json"),
}


class Refused(Exception):
    def __init__(self, status: int, error: Body) -> None:
        super().__init__(error)
        self.status, self.error = status, error


class FakeProvider:
    """What both have in common. `fault` holds for all requests until it is taken back."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.requests: list[str] = []
        """Method and path of each that arrived."""
        self.app = Starlette(
            routes=[Route(path, self._serve(handler), methods=[method]) for method, path, handler in self.handlers()]
        )

    def handlers(self) -> list[tuple[str, str, Callable[[Request, bytes], Body]]]:
        raise NotImplementedError

    def check_key(self, request: Request) -> None:
        raise NotImplementedError

    def _serve(self, handler: Callable[[Request, bytes], Body]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            self.requests.append(f"{request.method} {request.url.path}")
            body = await request.body()
            if misbehaved := _MISBEHAVED.get(self.fault) if self.fault else None:
                return misbehaved()
            if self.fault is Fault.DRIP:
                return StreamingResponse(_drip(), media_type="application/json")
            if self.fault is Fault.HANG:
                return await _never(request)
            try:
                self.check_key(request)
                done: Response = JSONResponse(handler(request, body))
            except Refused as refused:
                done = JSONResponse({"error": refused.error}, refused.status)
            return await _never(request) if self.fault is Fault.LOSE_THE_ANSWER else done

        return answer


async def _never(request: Request) -> Response:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(status_code=499)


async def _drip() -> AsyncIterator[bytes]:
    with anyio.move_on_after(5):
        while True:
            yield b" "
            await anyio.sleep(0.05)


def _unique(prefix: str) -> str:
    return prefix + secrets.token_hex(8)


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
            "id": _unique("pi_"),
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
            "id": _unique("evt_"),
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
            "id": _unique("cs_test_"),
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
            "id": _unique("re_"),
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


class FakeRazorpay(FakeProvider):
    KEY_ID = "rzp_test_FakeKeyId000001"
    KEY_SECRET = "FakeRazorpaySecretThatMustNotShow"
    WEBHOOK_SECRET = "FakeWebhookSecretThatMustNotShow"

    def __init__(self) -> None:
        super().__init__()
        self.links: dict[str, Body] = {}
        self.payments: dict[str, Body] = {}
        self.refunds: dict[str, Body] = {}
        self.answered: dict[str, tuple[bytes, Body]] = {}
        self.lists_other_links = False
        """The filter of the list is ignored, or the list is behind."""
        self.lists_no_links = False

    def handlers(self) -> list[tuple[str, str, Callable[[Request, bytes], Body]]]:
        return [
            ("POST", "/v1/payment_links", self._create_link),
            ("GET", "/v1/payment_links", self._list_links),
            ("POST", "/v1/payments/{payment_id}/refund", self._create_refund),
            ("GET", "/v1/payments/{payment_id}/refunds", self._list_refunds),
        ]

    def check_key(self, request: Request) -> None:
        key = base64.b64encode(f"{self.KEY_ID}:{self.KEY_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {key}":
            self._refuse("Authentication failed", status=401)

    def forget_idempotency_keys(self) -> None:
        self.answered.clear()

    def pay(self, link_id: str) -> Body:
        """The payer pays; the payment."""
        link = self.links[link_id]
        payment = {
            "id": _unique("pay_"),
            "entity": "payment",
            "amount": link["amount"],
            "currency": link["currency"],
            "status": "captured",
            "captured": True,
            "description": f"#{link_id.removeprefix('plink_')}",
            "email": "gaurav.kumar@example.com",
            "contact": "+919000090000",
            "method": "upi",
            "notes": link["notes"],
            "created_at": int(time.time()),
        }
        self.payments[payment["id"]] = payment
        link |= {"status": "paid", "amount_paid": link["amount"], "updated_at": int(time.time())}
        return payment

    def event(self, name: str, **entities: Body) -> Body:
        """`created_at` is the birth of the entity, as the real one has it."""
        return {
            "account_id": "acc_FakeAccount001",
            "contains": list(entities),
            "created_at": entities[name.partition(".")[0]]["created_at"],
            "entity": "event",
            "event": name,
            "payload": {noun: {"entity": entity} for noun, entity in entities.items()},
        }

    def signed(self, body: bytes, secret: str = WEBHOOK_SECRET) -> dict[str, str]:
        return {
            "x-razorpay-signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
            "x-razorpay-event-id": _unique("evt_"),
        }

    def _create_link(self, _: Request, body: bytes) -> Body:
        given = json.loads(body)
        if any(link["reference_id"] == given["reference_id"] for link in self.links.values()):
            self._refuse(
                f"payment link with given reference_id: {given['reference_id']} already exists. "
                "Please create a payment link with a different reference_id"
            )
        if given["amount"] < 100:
            self._refuse("amount: amount should be minimum 100 for INR.")
        if given["expire_by"] < time.time() + 15 * 60:
            self._refuse("expire_by: timestamp must be atleast 15 minutes in future.")
        link = {
            "accept_partial": given["accept_partial"],
            "amount": given["amount"],
            "amount_paid": 0,
            "callback_method": given["callback_method"],
            "callback_url": given["callback_url"],
            "cancelled_at": 0,
            "created_at": int(time.time()),
            "currency": given["currency"],
            "customer": [],
            "description": given["description"],
            "expire_by": given["expire_by"],
            "expired_at": 0,
            "id": _unique("plink_"),
            "notes": given["notes"],
            "notify": given["notify"],
            "reference_id": given["reference_id"],
            "reminder_enable": given["reminder_enable"],
            "short_url": f"https://rzp.io/rzp/{secrets.token_hex(4)}",
            "status": "created",
            "updated_at": int(time.time()),
        }
        self.links[link["id"]] = link
        return link

    def _list_links(self, request: Request, _: bytes) -> Body:
        if self.lists_no_links:
            return {"payment_links": []}
        wanted = request.query_params["reference_id"]
        links = [link for link in self.links.values() if self.lists_other_links or link["reference_id"] == wanted]
        return {"payment_links": links}

    def _create_refund(self, request: Request, body: bytes) -> Body:
        payment = self._payment(request)
        given, key = json.loads(body), request.headers["x-refund-idempotency"]
        if key in self.answered:
            before, answer = self.answered[key]
            if before != body:
                self._refuse("Different request body sent for the same idempotency key")
            return answer
        refunded = sum(refund["amount"] for refund in self.refunds.values() if refund["payment_id"] == payment["id"])
        if refunded == payment["amount"]:
            self._refuse("The payment has been fully refunded already")
        if refunded + given["amount"] > payment["amount"]:
            self._refuse("The total refund amount is greater than the refund payment amount")
        refund = {
            "id": _unique("rfnd_"),
            "entity": "refund",
            "amount": given["amount"],
            "currency": payment["currency"],
            "payment_id": payment["id"],
            "notes": given["notes"],
            "receipt": given["receipt"],
            "created_at": int(time.time()),
            "status": "pending",
        }
        self.refunds[refund["id"]] = refund
        self.answered[key] = (body, refund)
        return refund

    def _list_refunds(self, request: Request, _: bytes) -> Body:
        payment = self._payment(request)
        found = [refund for refund in self.refunds.values() if refund["payment_id"] == payment["id"]]
        # Notes that nobody gave are an empty list.
        made_by_hand = {"id": "rfnd_ByHand", "entity": "refund", "amount": 0, "notes": []}
        return {"entity": "collection", "count": len(found) + 1, "items": [made_by_hand, *found[::-1]]}

    def _payment(self, request: Request) -> Body:
        payment = self.payments.get(request.path_params["payment_id"])
        if payment is None:
            self._refuse("The id provided does not exist")
        return payment

    def _refuse(self, description: str, status: int = 400) -> NoReturn:
        error = {"code": "BAD_REQUEST_ERROR", "description": description, "field": None, "reason": None}
        raise Refused(status, error)

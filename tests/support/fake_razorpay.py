"""Razorpay: Payment Links, refunds, webhooks, and its own kind of idempotency."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import NoReturn

from starlette.requests import Request

from tests.support.fake_providers import Body, FakeProvider, Refused, unique


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
            "id": unique("pay_"),
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
            "x-razorpay-event-id": unique("evt_"),
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
            "id": unique("plink_"),
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
            "id": unique("rfnd_"),
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

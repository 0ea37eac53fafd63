"""Webhooks in: only what the provider signed, and about now, is believed; and nothing that it signs does harm."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.adapters.payments.port import Notice, NoticeKind, SignatureRefused
from app.adapters.payments.razorpay import Razorpay
from app.adapters.payments.stripe import Stripe
from app.core.ids import uuid7
from tests.payments.providers import razorpay_settings, stripe_settings
from tests.support.fake_razorpay import FakeRazorpay
from tests.support.fake_stripe import FakeStripe

NOW = 1_800_000_000.0
LINK_BORN = int(NOW) - 3600
STRIPE, RAZORPAY = FakeStripe(), FakeRazorpay()
PAYMENT_ID = uuid7()


@pytest.fixture(scope="module")
async def stripe() -> AsyncIterator[Stripe]:
    adapter = Stripe(stripe_settings())
    yield adapter
    await adapter.close()


@pytest.fixture(scope="module")
async def razorpay() -> AsyncIterator[Razorpay]:
    adapter = Razorpay(razorpay_settings())
    yield adapter
    await adapter.close()


def session_paid() -> bytes:
    session = {
        "id": "cs_test_1",
        "object": "checkout.session",
        "client_reference_id": str(PAYMENT_ID),
        "payment_status": "paid",
        "payment_intent": "pi_1",
        "amount_total": 50_000,
        "currency": "inr",
    }
    return json.dumps(STRIPE.event("checkout.session.completed", session)).encode()


def link_paid(**changed: Any) -> bytes:
    """A link that was made an hour ago, and paid now."""
    link = {
        "id": "plink_1",
        "reference_id": str(PAYMENT_ID),
        "amount": 50_000,
        "amount_paid": 50_000,
        "currency": "INR",
        "created_at": LINK_BORN,
        "updated_at": int(NOW),
        "expired_at": 0,
    }
    payment = {"id": "pay_1", "amount": 50_000, "currency": "INR", "created_at": int(NOW) - 2}
    return json.dumps(RAZORPAY.event("payment_link.paid", payment_link=link | changed, payment=payment)).encode()


SESSION_PAID = session_paid()
LINK_PAID = link_paid()
RAZORPAY_SIGNATURE = RAZORPAY.signed(LINK_PAID)["x-razorpay-signature"]


def stripe_reads(stripe: Stripe, body: bytes, at: float = NOW, now: float = NOW) -> Notice:
    return stripe.read_webhook(STRIPE.signed(body, at), body, now)


def razorpay_reads(razorpay: Razorpay, body: bytes, now: float = NOW) -> Notice:
    return razorpay.read_webhook(RAZORPAY.signed(body), body, now)


def test_what_stripe_signs_now_is_believed(stripe: Stripe) -> None:
    notice = stripe_reads(stripe, session_paid())
    assert (notice.kind, notice.payment_id, notice.reference) == (NoticeKind.PAID, PAYMENT_ID, "pi_1")


def test_what_razorpay_signs_is_believed(razorpay: Razorpay) -> None:
    notice = razorpay_reads(razorpay, link_paid())
    assert (notice.kind, notice.payment_id, notice.reference) == (NoticeKind.PAID, PAYMENT_ID, "pay_1")


def time_and_signature(body: bytes, at: float = NOW, secret: str = STRIPE.WEBHOOK_SECRET) -> tuple[str, str]:
    return str(int(at)), STRIPE.signature(body, at, secret)


def stripe_forgeries() -> dict[str, dict[str, str]]:
    at, signature = time_and_signature(SESSION_PAID)
    other_secret = STRIPE.signature(SESSION_PAID, NOW, "whsec_other")
    return {
        "no header": {},
        "empty": {"stripe-signature": ""},
        "another secret": {"stripe-signature": f"t={at},v1={other_secret}"},
        "the empty secret": {"stripe-signature": f"t={at},v1={STRIPE.signature(SESSION_PAID, NOW, '')}"},
        "another time than the signed one": {"stripe-signature": f"t={int(at) + 1},v1={signature}"},
        "no time": {"stripe-signature": f"v1={signature}"},
        "two times": {"stripe-signature": f"t={at},t={at},v1={signature}"},
        "two times, the first stale": {"stripe-signature": f"t={int(at) - 9999},t={at},v1={signature}"},
        "no signature": {"stripe-signature": f"t={at}"},
        "an empty signature": {"stripe-signature": f"t={at},v1="},
        "another scheme": {"stripe-signature": f"t={at},v0={signature}"},
        "a part of it": {"stripe-signature": f"t={at},v1={signature[:-1]}"},
        "not a number": {"stripe-signature": f"t=now,v1={signature}"},
        "a huge number": {"stripe-signature": f"t={'9' * 5000},v1={signature}"},
        "a negative number": {"stripe-signature": f"t=-{at},v1={signature}"},
        "digits of another script": {"stripe-signature": f"t=१८००००००००,v1={signature}"},
        "not ASCII": {"stripe-signature": f"t={at},v1={'é' * 64}"},
        "many": {"stripe-signature": f"t={at}" + f",v1={other_secret}" * 500},
        "nothing but commas": {"stripe-signature": "," * 1000},
        "another header": {"x-razorpay-signature": signature},
    }


@pytest.mark.parametrize("headers", stripe_forgeries().values(), ids=stripe_forgeries())
def test_what_stripe_did_not_sign_is_refused(stripe: Stripe, headers: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        stripe.read_webhook(headers, SESSION_PAID, NOW)


def razorpay_forgeries() -> dict[str, dict[str, str]]:
    return {
        "no header": {},
        "empty": {"x-razorpay-signature": ""},
        "another secret": RAZORPAY.signed(LINK_PAID, "another secret"),
        "the empty secret": RAZORPAY.signed(LINK_PAID, ""),
        "a part of it": {"x-razorpay-signature": RAZORPAY_SIGNATURE[:-1]},
        "upper case": {"x-razorpay-signature": RAZORPAY_SIGNATURE.upper()},
        "two": {"x-razorpay-signature": f"{RAZORPAY_SIGNATURE},{RAZORPAY_SIGNATURE}"},
        "a line more": {"x-razorpay-signature": RAZORPAY_SIGNATURE + "\n"},
        "not ASCII": {"x-razorpay-signature": "é" * 64},
        "another header": {"stripe-signature": RAZORPAY_SIGNATURE},
    }


@pytest.mark.parametrize("headers", razorpay_forgeries().values(), ids=razorpay_forgeries())
def test_what_razorpay_did_not_sign_is_refused(razorpay: Razorpay, headers: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        razorpay.read_webhook(headers, LINK_PAID, NOW)


@given(st.data())
def test_a_body_that_was_changed_by_one_byte_is_refused(
    stripe: Stripe, razorpay: Razorpay, data: st.DataObject
) -> None:
    for adapter, body, headers in (
        (stripe, SESSION_PAID, STRIPE.signed(SESSION_PAID, NOW)),
        (razorpay, LINK_PAID, RAZORPAY.signed(LINK_PAID)),
    ):
        where = data.draw(st.integers(0, len(body) - 1))
        other = (body[where] + data.draw(st.integers(1, 255))) % 256
        for changed in (
            body[:where] + bytes([other]) + body[where + 1 :],
            body[:where] + body[where + 1 :],
            body[:where] + bytes([other]) + body[where:],
        ):
            if changed != body:
                with pytest.raises(SignatureRefused):
                    adapter.read_webhook(headers, changed, NOW)


@pytest.mark.parametrize("seconds", [0, 299, 300, -299, -300])
def test_a_time_within_the_tolerance_is_taken(stripe: Stripe, seconds: int) -> None:
    assert stripe_reads(stripe, SESSION_PAID, at=NOW - seconds).kind is NoticeKind.PAID


@pytest.mark.parametrize("seconds", [301, 3600, -301, -3600], ids=["stale", "an hour old", "future", "an hour ahead"])
def test_a_time_beyond_the_tolerance_is_refused_though_rightly_signed(stripe: Stripe, seconds: int) -> None:
    with pytest.raises(SignatureRefused):
        stripe_reads(stripe, SESSION_PAID, at=NOW - seconds)


@pytest.mark.parametrize("order", [1, -1], ids=["the right one last", "the right one first"])
def test_one_right_signature_among_several_is_enough(stripe: Stripe, order: int) -> None:
    # Given a header as it is while the secret is being replaced
    at, signature = time_and_signature(SESSION_PAID)
    several = [STRIPE.signature(SESSION_PAID, NOW, "whsec_old"), "nonsense", signature][::order]
    header = f"t={at}," + ",".join(f"v1={each}" for each in several)
    # Then it is believed
    assert stripe.read_webhook({"stripe-signature": header}, SESSION_PAID, NOW).kind is NoticeKind.PAID


@pytest.mark.parametrize(
    "born_seconds_ago", [0, 3600, 20 * 24 * 3600], ids=["a new link", "an hour old", "older than the limit"]
)
def test_a_link_that_is_paid_now_is_believed_however_old_it_is(razorpay: Razorpay, born_seconds_ago: int) -> None:
    """Razorpay's `created_at` of the event is the birth of the link."""
    body = link_paid(created_at=int(NOW) - born_seconds_ago)
    assert json.loads(body)["created_at"] == int(NOW) - born_seconds_ago
    assert razorpay_reads(razorpay, body).kind is NoticeKind.PAID


def test_a_webhook_that_razorpay_sends_again_after_a_day_is_believed(razorpay: Razorpay) -> None:
    assert razorpay_reads(razorpay, LINK_PAID, now=NOW + 24 * 3600).kind is NoticeKind.PAID


def aged(newest: int) -> bytes:
    refund = {"id": "rfnd_1", "payment_id": "pay_1", "amount": 1, "currency": "INR", "created_at": newest}
    return json.dumps(RAZORPAY.event("refund.processed", refund=refund)).encode()


@pytest.mark.parametrize("limit_seconds", [300, 15 * 24 * 3600])
def test_a_webhook_of_razorpay_is_refused_when_all_in_it_is_older_than_the_limit(limit_seconds: int) -> None:
    adapter = Razorpay(razorpay_settings(razorpay_webhook_age_seconds=limit_seconds))
    assert razorpay_reads(adapter, aged(int(NOW) - limit_seconds + 1)).kind is NoticeKind.REFUNDED
    with pytest.raises(SignatureRefused):
        razorpay_reads(adapter, aged(int(NOW) - limit_seconds - 1))


def test_a_webhook_of_razorpay_that_tells_of_the_future_is_refused(razorpay: Razorpay) -> None:
    assert razorpay_reads(razorpay, aged(int(NOW) + 299)).kind is NoticeKind.REFUNDED
    with pytest.raises(SignatureRefused):
        razorpay_reads(razorpay, aged(int(NOW) + 301))
    with pytest.raises(SignatureRefused):
        razorpay_reads(razorpay, link_paid(updated_at=int(NOW) + 301))


def test_without_a_secret_nothing_is_believed() -> None:
    """Whoever signs with no secret has signed nothing; settings refuse this too, at start."""
    stripe = Stripe(stripe_settings().model_copy(update={"stripe_webhook_secret": SecretStr("")}))
    razorpay = Razorpay(razorpay_settings().model_copy(update={"razorpay_webhook_secret": SecretStr("")}))
    at, signature = time_and_signature(SESSION_PAID, secret="")
    with pytest.raises(SignatureRefused):
        stripe.read_webhook({"stripe-signature": f"t={at},v1={signature}"}, SESSION_PAID, NOW)
    with pytest.raises(SignatureRefused):
        razorpay.read_webhook(RAZORPAY.signed(LINK_PAID, ""), LINK_PAID, NOW)


def test_a_refusal_shows_neither_body_nor_secret(stripe: Stripe, razorpay: Razorpay) -> None:
    for adapter, body in ((stripe, SESSION_PAID), (razorpay, LINK_PAID)):
        with pytest.raises(SignatureRefused) as refused:
            adapter.read_webhook(
                {"stripe-signature": f"t={int(NOW)},v1={'0' * 64}", "x-razorpay-signature": "0" * 64}, body, NOW
            )
        assert refused.value.__suppress_context__
        assert str(refused.value) == SignatureRefused.title


NONSENSE = [
    b"",
    b"null",
    b"7",
    b"NaN",
    b"[]",
    b"{}",
    b'"text"',
    b"{",
    b'{"type": "checkout.session.completed", "event": "payment_link.paid"}',
    b'{"type": ["checkout.session.completed"], "event": ["payment_link.paid"], "id": {}}',
    b'{"type": "checkout.session.completed", "data": [], "event": "payment_link.paid", "payload": []}',
    b'{"event": "payment_link.paid", "created_at": 1e999, "payload": {"payment_link": {"entity": {"id": "plink_1"}}}}',
    b'{"created_at": ' + b"9" * 5000 + b"}",
    b'{"id": "evt_\\u0000", "type": "\\ud800", "event": "\\ud800"}',
    "\ufeff{}".encode(),
    b"[" * 200_000,
    b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"type": "' + b"x" * 5_000_000 + b'"}',
    json.dumps({f"key {number}": [number] for number in range(100_000)}).encode(),
]


@pytest.mark.parametrize("body", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_that_is_rightly_signed_changes_nothing(stripe: Stripe, razorpay: Razorpay, body: bytes) -> None:
    began = time.monotonic()
    for notice in (stripe_reads(stripe, body), razorpay_reads(razorpay, body)):
        assert notice.kind is NoticeKind.OTHER
        assert is_storable(notice)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", [b"\xff", b'{"id": "\x80"}', "{}".encode("utf-16")])
def test_a_body_that_is_no_text_counts_as_unsigned(stripe: Stripe, razorpay: Razorpay, body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        stripe_reads(stripe, body)
    with pytest.raises(SignatureRefused):
        razorpay_reads(razorpay, body)


def is_storable(notice: Notice) -> bool:
    """Whether it fits into the database and the log."""
    for text in (notice.event_id, notice.name, notice.reference, notice.currency, notice.reason):
        assert text is None or (0 < len(text.encode()) <= 1200 and "\x00" not in text)
    for identifier in (notice.payment_id, notice.refund_id):
        assert identifier is None or isinstance(identifier, UUID)
    assert notice.amount_minor is None or 0 <= notice.amount_minor < 2**63
    return bool(notice.event_id and notice.name)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(str(PAYMENT_ID)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(ANYTHING)
def test_no_json_that_is_rightly_signed_breaks_anything(stripe: Stripe, razorpay: Razorpay, value: object) -> None:
    body = json.dumps(value).encode()
    assert stripe_reads(stripe, body).kind is NoticeKind.OTHER
    assert razorpay_reads(razorpay, body).kind is NoticeKind.OTHER


@given(st.text())
def test_no_text_that_is_rightly_signed_breaks_anything(stripe: Stripe, razorpay: Razorpay, text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    try:
        body.decode()
    except UnicodeDecodeError:
        return
    assert is_storable(stripe_reads(stripe, body))
    assert is_storable(razorpay_reads(razorpay, body))


def replaced(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these fields, with anything in it."""
    return st.fixed_dictionaries({}, optional={name: ANYTHING for name in names})


@given(
    replaced(["id", "object", "client_reference_id", "payment_status", "payment_intent", "amount_total", "currency"])
)
def test_no_field_of_a_session_breaks_anything(stripe: Stripe, changed: dict[str, Any]) -> None:
    event = json.loads(SESSION_PAID)
    event["data"]["object"] |= changed
    notice = stripe_reads(stripe, json.dumps(event).encode())
    assert is_storable(notice)
    assert notice.kind in {NoticeKind.PAID, NoticeKind.OTHER}


@given(replaced(["id", "object", "payment_intent", "amount", "currency", "status", "metadata", "failure_reason"]))
def test_no_field_of_a_refund_breaks_anything(stripe: Stripe, changed: dict[str, Any]) -> None:
    refund = {"id": "re_1", "object": "refund", "status": "failed", "amount": 1, "metadata": {}} | changed
    assert is_storable(stripe_reads(stripe, json.dumps(STRIPE.event("refund.updated", refund)).encode()))


@given(replaced(["id", "reference_id", "amount_paid", "currency", "created_at", "updated_at", "notes"]), ANYTHING)
def test_no_field_of_a_link_breaks_anything(razorpay: Razorpay, changed: dict[str, Any], created_at: object) -> None:
    event = json.loads(LINK_PAID) | {"created_at": created_at}
    event["payload"]["payment_link"]["entity"] |= changed
    try:
        notice = razorpay_reads(razorpay, json.dumps(event).encode())
    except SignatureRefused:
        # A time far from now; nothing else is refused.
        assert isinstance(created_at, int) or {"created_at", "updated_at"} & changed.keys()
    else:
        assert is_storable(notice)
        assert notice.kind in {NoticeKind.PAID, NoticeKind.OTHER}

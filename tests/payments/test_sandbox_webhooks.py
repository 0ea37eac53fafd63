"""The sandbox's webhooks: only its own signature counts, only now, and they are sent until they arrive."""

import asyncio
import time
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pydantic import SecretStr
from pydantic_core import from_json, to_json

from app.adapters.payments.port import Notice, NoticeKind, SignatureRefused
from app.adapters.payments.sandbox import Sandbox
from app.core.config import Settings
from app.core.database import Database
from app.core.tasks import end
from app.jobs import worker
from app.kernel.jobs import enqueue
from app.kernel.platform import open_platform
from tests.conftest import serving
from tests.payments.conftest import Till
from tests.support.receiver import Receiver

NOW = 1_800_000_000.0
PAYMENT, REFUND = UUID("0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3"), UUID("0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b4")
DATA = {"payment_id": str(PAYMENT), "reference": "sbx_1", "amount_minor": 123450, "currency": "INR"}
BODY = to_json({"id": "evt_1", "type": "payment.succeeded", "created": 1_800_000_000, "data": DATA})
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ANY_FIELD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=40)
    | st.sampled_from([str(PAYMENT), "sbx_1", "INR", "inr", "\x00", "{" * 36, [], {}, 1, 0, -1, 1.0, 10**30])
)
WRONG: dict[str, list[Any]] = {
    "payment_id": ["", "evt_1", 7, None, ["a"], str(PAYMENT)[:-1]],
    "reference": ["", "a b", "\x00", "x" * 129, 7, {}],
    "amount_minor": [0, -1, 1.0, "1", True, 10**30],
    "currency": ["inr", "IN", "₹", "INR ", "A" * 9, 356],
    "reason": ["", "a\x00b", "x" * 501, False],
}
unhurried = hypothesis.settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine that runs this may be busy."""


def built(configured: Settings, secret: str = "another secret of the sandbox's own") -> Sandbox:
    settings = configured.model_copy(update={"sandbox_webhook_secret": SecretStr(secret)})
    return Sandbox(Database(settings, after_commit=lambda *_: None), settings, enqueue)


@pytest.fixture(scope="module")
def sandbox(configured: Settings) -> Sandbox:
    return built(configured)


def test_what_it_signs_it_reads(sandbox: Sandbox) -> None:
    notice = sandbox.read_webhook(sandbox.sign("evt_1", BODY, NOW), BODY, NOW)
    assert notice == Notice(
        "evt_1", NoticeKind.PAID, "payment.succeeded", PAYMENT,
        reference="sbx_1", amount_minor=123450, currency="INR",
    )  # fmt: skip


def test_the_signature_is_the_one_of_standard_webhooks(configured: Settings) -> None:
    """Made elsewhere: printf 'evt_1.1800000000.{}' | openssl dgst -sha256 -hmac '<secret>' -binary | base64"""
    headers = built(configured, "0123456789abcdef0123456789abcdef").sign("evt_1", b"{}", 1_800_000_000.9)
    assert headers == {
        "webhook-id": "evt_1",
        "webhook-timestamp": "1800000000",
        "webhook-signature": "v1,X1pNU66lDM9r80YfzvLeuo4Zovp0WUCrRPessIOuTFk=",
    }


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("payment.succeeded", NoticeKind.PAID),
        ("payment.failed", NoticeKind.FAILED),
        ("refund.succeeded", NoticeKind.REFUNDED),
        ("refund.failed", NoticeKind.REFUND_FAILED),
        ("payment.disputed", NoticeKind.OTHER),
    ],
)
def test_each_event_has_its_kind(sandbox: Sandbox, event: str, kind: NoticeKind) -> None:
    body = to_json({"id": "evt_1", "type": event, "data": DATA | {"refund_id": str(REFUND), "reason": "why"}})
    notice = sandbox.read_webhook(sandbox.sign("evt_1", body, NOW), body, NOW)
    assert (notice.kind, notice.name) == (kind, event)
    told = kind is not NoticeKind.OTHER
    assert (notice.refund_id, notice.reason) == ((REFUND, "why") if told else (None, None))


@pytest.mark.parametrize("seconds", [-299, -300, 0, 299, 300])
def test_within_five_minutes_of_now_it_counts(sandbox: Sandbox, seconds: int) -> None:
    assert sandbox.read_webhook(sandbox.sign("evt_1", BODY, NOW + seconds), BODY, NOW).kind is NoticeKind.PAID


@pytest.mark.parametrize("seconds", [-301, 301, -86400, 86400, -NOW])
def test_older_or_newer_it_is_refused(sandbox: Sandbox, seconds: float) -> None:
    with pytest.raises(SignatureRefused):
        sandbox.read_webhook(sandbox.sign("evt_1", BODY, NOW + seconds), BODY, NOW)


def test_a_byte_changed_anywhere_is_refused(sandbox: Sandbox) -> None:
    headers = sandbox.sign("evt_1", BODY, NOW)
    for at in range(len(BODY)):
        changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
        with pytest.raises(SignatureRefused):
            sandbox.read_webhook(headers, changed, NOW)
    for body in (b"", BODY + b" ", BODY[:-1]):
        with pytest.raises(SignatureRefused):
            sandbox.read_webhook(headers, body, NOW)


def test_a_signature_counts_for_its_own_event_and_time_only(sandbox: Sandbox) -> None:
    headers = sandbox.sign("evt_1", BODY, NOW)
    for changed in ({"webhook-id": "evt_2"}, {"webhook-timestamp": str(int(NOW) + 1)}):
        with pytest.raises(SignatureRefused):
            sandbox.read_webhook(headers | changed, BODY, NOW)


def test_another_secret_is_refused(sandbox: Sandbox, configured: Settings) -> None:
    with pytest.raises(SignatureRefused):
        sandbox.read_webhook(built(configured, "x" * 32).sign("evt_1", BODY, NOW), BODY, NOW)


def test_one_right_signature_among_others_is_enough(sandbox: Sandbox) -> None:
    headers = sandbox.sign("evt_1", BODY, NOW)
    several = f"v1,AAAA v1a,{headers['webhook-signature'][3:]} {headers['webhook-signature']}"
    assert sandbox.read_webhook(headers | {"webhook-signature": several}, BODY, NOW).kind is NoticeKind.PAID


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "value", [None, "", " ", "v1", "v1,", "v2,AAAA", "nan", "1e9", "-1", "٣", "9" * 5000, "ü", "\ud800", "\x00", "a b"]
)
def test_a_header_that_is_missing_or_malformed_is_refused(sandbox: Sandbox, name: str, value: str | None) -> None:
    headers = sandbox.sign("evt_1", BODY, NOW)
    del headers[name]
    with pytest.raises(SignatureRefused):
        sandbox.read_webhook(headers if value is None else headers | {name: value}, BODY, NOW)


@unhurried
@given(headers=st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()))
def test_no_headers_but_the_right_ones_do_anything_but_refuse(sandbox: Sandbox, headers: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        sandbox.read_webhook(headers, BODY, NOW)


@unhurried
@given(body=st.binary() | ANY_JSON.map(to_json))
def test_a_signed_body_that_makes_no_sense_changes_nothing(sandbox: Sandbox, body: bytes) -> None:
    notice = sandbox.read_webhook(sandbox.sign("evt_1", body, NOW), body, NOW)
    assert (notice.event_id, notice.kind, notice.payment_id) == ("evt_1", NoticeKind.OTHER, None)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"type":' + b"9" * 50_000 + b"}", b'"\\ud800"', b'{"a":1,"a":2}'])
def test_nor_does_one_that_is_made_to_hurt_a_parser(sandbox: Sandbox, body: bytes) -> None:
    assert sandbox.read_webhook(sandbox.sign("evt_1", body, NOW), body, NOW).kind is NoticeKind.OTHER


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_field_of_another_shape_counts_as_not_sent(sandbox: Sandbox, name: str, value: Any) -> None:
    body = to_json({"id": "evt_1", "type": "payment.succeeded", "data": DATA | {"reason": "why"} | {name: value}})
    notice = sandbox.read_webhook(sandbox.sign("evt_1", body, NOW), body, NOW)
    assert notice.kind is NoticeKind.PAID
    fields = ("payment_id", "reference", "amount_minor", "currency", "reason")
    assert [field for field in fields if getattr(notice, field) is None] == [name]


@unhurried
@given(
    data=st.dictionaries(
        st.sampled_from(["payment_id", "refund_id", "reference", "amount_minor", "currency", "reason"]), ANY_FIELD
    ),
    event=st.sampled_from(["payment.succeeded", "payment.failed", "refund.succeeded", "refund.failed"]),
)
def test_whatever_the_fields_hold_only_their_own_shape_gets_through(
    sandbox: Sandbox, data: dict[str, Any], event: str
) -> None:
    body = to_json({"id": "evt_1", "type": event, "data": data})
    notice = sandbox.read_webhook(sandbox.sign("evt_1", body, NOW), body, NOW)
    assert notice.payment_id is None or str(notice.payment_id) == str(data["payment_id"])
    assert notice.reference is None or notice.reference == data["reference"]
    assert notice.amount_minor is None or (notice.amount_minor == data["amount_minor"] and notice.amount_minor > 0)
    assert notice.currency in (None, "INR") or (notice.currency.isupper() and notice.currency == data["currency"])
    assert notice.reason is None or "\x00" not in notice.reason


async def test_a_webhook_is_sent_until_it_arrives_with_one_id_and_signed_anew(till: Till, configured: Settings) -> None:
    receiver = Receiver(answers=[500, 302])
    async with serving(receiver) as address:
        settings = configured.model_copy(update={"public_url": address})
        async with open_platform(settings) as platform:
            # Given a worker of a platform that answers wrongly twice
            working = asyncio.create_task(worker.work(platform))
            try:
                # When something is paid
                paid = await till.do("pay", await till.open())
                received = await receiver.wait_for(3)
                await _nothing_left(till, paid.payment_id)
            finally:
                await end(working)
            # Then it was told three times, with a pause before each that grows
            assert [(one.method, one.path) for one in received] == [("POST", "/webhooks/sandbox")] * 3
            assert {one.body for one in received} == {received[0].body}
            assert {one.headers["webhook-id"] for one in received} == {from_json(received[0].body)["id"]}
            assert len({one.headers["webhook-timestamp"] for one in received}) == 3
            for one in received:
                assert abs(int(one.headers["webhook-timestamp"]) - time.time()) < 60
                notice = till.sandbox.read_webhook(one.headers, one.body, time.time())
                assert (notice.kind, notice.payment_id) == (NoticeKind.PAID, paid.payment_id)
                assert (notice.reference, notice.amount_minor) == (paid.reference, 123450)


async def _nothing_left(till: Till, payment_id: UUID) -> None:
    """Return when the queue has ticked the webhook off."""
    async with asyncio.timeout(10):
        while await till.told(payment_id):  # noqa: ASYNC110 - the queue tells no other way
            await asyncio.sleep(0.05)


async def test_a_webhook_that_nobody_takes_waits_in_the_queue(till: Till, configured: Settings) -> None:
    receiver = Receiver(answers=[500] * 1000)
    async with (
        serving(receiver) as address,
        open_platform(configured.model_copy(update={"public_url": address})) as platform,
    ):
        working = asyncio.create_task(worker.work(platform))
        try:
            paid = await till.do("pay", await till.open())
            await receiver.wait_for(2)
        finally:
            await end(working)
    [event] = await till.told(paid.payment_id)
    assert event["id"] == receiver.received[0].headers["webhook-id"]

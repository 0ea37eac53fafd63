"""Razorpay: the official SDK against a fake of Razorpay's, over a real socket."""

import asyncio
import dataclasses
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import CapturingLogger

from app.adapters.payments import razorpay as razorpay_adapter
from app.adapters.payments.port import Notice, NoticeKind, ProviderAway, ProviderRefused
from app.adapters.payments.razorpay import Razorpay
from app.core.ids import uuid7
from tests.payments.providers import (
    BOUND_SECONDS,
    HASTY_SECONDS,
    connected_razorpay,
    order,
    razorpay_settings,
    refund_order,
)
from tests.support.fake_providers import Fault
from tests.support.fake_razorpay import FakeRazorpay


@pytest.fixture
def fake() -> FakeRazorpay:
    return FakeRazorpay()


@pytest.fixture
async def razorpay(fake: FakeRazorpay) -> AsyncIterator[Razorpay]:
    async with connected_razorpay(fake) as adapter:
        yield adapter


@pytest.fixture
async def hasty(fake: FakeRazorpay) -> AsyncIterator[Razorpay]:
    """The same account, with little patience."""
    async with connected_razorpay(fake, payment_provider_seconds=HASTY_SECONDS) as adapter:
        yield adapter


def read(razorpay: Razorpay, fake: FakeRazorpay, event: dict[str, Any]) -> Notice:
    body = json.dumps(event).encode()
    return razorpay.read_webhook(fake.signed(body), body, time.time())


async def paid(razorpay: Razorpay, fake: FakeRazorpay, amount_minor: int = 50_000) -> tuple[UUID, str]:
    """A payment that has been made; our id and Razorpay's."""
    asked = order(amount_minor=amount_minor)
    payment = fake.pay((await razorpay.open_checkout(asked)).reference)
    return asked.payment_id, payment["id"]


async def test_a_checkout_is_a_page_for_exactly_this_payment(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    # When a page is asked for
    asked = order()
    checkout = await razorpay.open_checkout(asked)
    # Then it is for our amount and all of it, knows our id, leads back, and Razorpay writes to nobody
    link = fake.links[checkout.reference]
    assert checkout.url == link["short_url"]
    assert (link["amount"], link["currency"], link["accept_partial"]) == (50_000, "INR", False)
    assert link["reference_id"] == link["notes"]["payment_id"] == str(asked.payment_id)
    assert (link["callback_url"], link["callback_method"]) == (asked.return_url, "get")
    assert (link["notify"], link["reminder_enable"]) == ({"sms": False, "email": False}, False)
    assert link["description"] == "Wallet top-up"


@pytest.mark.parametrize("wanted_seconds", [1, 900, 1800, 24 * 3600])
async def test_a_page_lives_as_long_as_razorpay_allows_it(
    razorpay: Razorpay, fake: FakeRazorpay, wanted_seconds: int
) -> None:
    checkout = await razorpay.open_checkout(order(expires_in_seconds=wanted_seconds))
    lives = fake.links[checkout.reference]["expire_by"] - time.time()
    assert lives == pytest.approx(max(wanted_seconds, 16 * 60), abs=10)


async def test_an_answer_that_was_lost_leaves_one_page(razorpay: Razorpay, hasty: Razorpay, fake: FakeRazorpay) -> None:
    # Given an answer that did not come, though the page was made
    asked = order()
    fake.fault = Fault.LOSE_THE_ANSWER
    with pytest.raises(ProviderAway):
        await hasty.open_checkout(asked)
    # When it is asked for again
    fake.fault = None
    checkout = await razorpay.open_checkout(asked)
    # Then there is one page
    assert list(fake.links) == [checkout.reference]


async def test_many_asking_at_once_get_one_page(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    asked = order()
    checkouts = await asyncio.gather(*(razorpay.open_checkout(asked) for _ in range(10)))
    assert len(set(checkouts)) == len(fake.links) == 1


async def test_the_page_of_another_payment_is_never_handed_out(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    # Given two pages, and a list that ignores what it is asked for
    await razorpay.open_checkout(order(amount_minor=999_999))
    asked = order()
    first = await razorpay.open_checkout(asked)
    fake.lists_other_links = True
    # When the second is asked for again, then it is the second
    assert await razorpay.open_checkout(asked) == first


async def test_a_page_that_exists_and_is_not_listed_is_not_made_again(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    asked = order()
    await razorpay.open_checkout(asked)
    fake.lists_no_links = True
    with pytest.raises(ProviderAway):
        await razorpay.open_checkout(asked)
    assert len(fake.links) == 1


@pytest.mark.parametrize("changed", [{"amount_minor": 100}, {"currency": "USD"}], ids=str)
async def test_another_amount_for_the_same_payment_is_refused(
    razorpay: Razorpay, fake: FakeRazorpay, changed: dict[str, Any]
) -> None:
    asked = order()
    await razorpay.open_checkout(asked)
    with pytest.raises(ProviderRefused, match="another amount"):
        await razorpay.open_checkout(dataclasses.replace(asked, **changed))
    assert len(fake.links) == 1


async def test_what_razorpay_does_not_take_is_refused_with_its_reason(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    with pytest.raises(ProviderRefused, match="minimum 100"):
        await razorpay.open_checkout(order(amount_minor=99))
    assert not fake.links


async def test_a_refund_names_the_money_and_us(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    payment_id, reference = await paid(razorpay, fake)
    asked = refund_order(payment_id, reference)
    refund = fake.refunds[await razorpay.refund(asked)]
    assert (refund["payment_id"], refund["amount"], refund["receipt"]) == (reference, 20_000, str(asked.refund_id))
    assert refund["notes"] == {"refund_id": str(asked.refund_id), "payment_id": str(payment_id)}


async def test_a_refund_whose_answer_was_lost_is_made_once(
    razorpay: Razorpay, hasty: Razorpay, fake: FakeRazorpay
) -> None:
    # Given a refund that was made, and whose answer did not come
    payment_id, reference = await paid(razorpay, fake)
    asked = refund_order(payment_id, reference)
    fake.fault, fake.faultless = Fault.LOSE_THE_ANSWER, {"GET"}
    with pytest.raises(ProviderAway):
        await hasty.refund(asked)
    fake.fault = None
    [refund] = fake.refunds
    # When it is asked for again: at once, at the same time as others, and when Razorpay has forgotten the key
    again = await asyncio.gather(*(razorpay.refund(asked) for _ in range(5)))
    fake.forget_idempotency_keys()
    much_later = await razorpay.refund(asked)
    # Then it is the same refund
    assert {much_later, *again} == set(fake.refunds) == {refund}


async def test_the_same_refund_asked_for_by_many_at_once_is_made_once(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    payment_id, reference = await paid(razorpay, fake)
    asked = refund_order(payment_id, reference)
    assert set(await asyncio.gather(*(razorpay.refund(asked) for _ in range(10)))) == set(fake.refunds)
    assert len(fake.refunds) == 1


async def test_no_more_goes_back_than_was_paid(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    payment_id, reference = await paid(razorpay, fake)
    await razorpay.refund(refund_order(payment_id, reference, 30_000))
    with pytest.raises(ProviderRefused, match="greater than"):
        await razorpay.refund(refund_order(payment_id, reference, 30_000))
    await razorpay.refund(refund_order(payment_id, reference, 20_000))
    with pytest.raises(ProviderRefused, match="fully refunded"):
        await razorpay.refund(refund_order(payment_id, reference, 1))
    assert sum(refund["amount"] for refund in fake.refunds.values()) == 50_000


async def test_a_refund_of_an_unknown_payment_is_refused(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    with pytest.raises(ProviderRefused, match="does not exist"):
        await razorpay.refund(refund_order(uuid7(), "pay_unknown"))
    assert not fake.refunds


@pytest.mark.parametrize("reference", ["", "pi_1", "pay_1/../../payment_links", "pay_1?x=1", "pay_1\n"])
async def test_a_reference_that_is_none_of_razorpays_is_not_sent(
    razorpay: Razorpay, fake: FakeRazorpay, reference: str
) -> None:
    with pytest.raises(ProviderRefused):
        await razorpay.refund(refund_order(uuid7(), reference))
    assert not fake.requests


@pytest.mark.parametrize("fault", sorted(set(Fault) - {Fault.LOSE_THE_ANSWER}))
async def test_a_provider_that_fails_only_when_asked_to_refund_is_away(
    razorpay: Razorpay, hasty: Razorpay, fake: FakeRazorpay, fault: Fault
) -> None:
    payment_id, reference = await paid(razorpay, fake)
    fake.fault, fake.faultless = fault, {"GET"}
    with pytest.raises(ProviderAway):
        await hasty.refund(refund_order(payment_id, reference))
    assert not fake.refunds


@pytest.mark.parametrize("fault", Fault)
async def test_a_provider_that_fails_only_when_asked_for_the_page_that_exists_is_away(
    razorpay: Razorpay, hasty: Razorpay, fake: FakeRazorpay, fault: Fault
) -> None:
    asked = order()
    await razorpay.open_checkout(asked)
    fake.fault, fake.faultless = fault, {"POST"}
    with pytest.raises(ProviderAway):
        await hasty.open_checkout(asked)
    assert len(fake.links) == 1


@pytest.mark.parametrize("fault", Fault)
async def test_a_provider_that_does_not_answer_as_documented_is_away_within_a_bounded_time(
    razorpay: Razorpay, hasty: Razorpay, fake: FakeRazorpay, fault: Fault
) -> None:
    payment_id, reference = await paid(razorpay, fake)
    fake.fault = fault
    for asking in (hasty.open_checkout(order()), hasty.refund(refund_order(payment_id, reference))):
        began = time.monotonic()
        with pytest.raises(ProviderAway):
            await asking
        assert time.monotonic() - began < BOUND_SECONDS


async def test_a_request_that_is_given_up_leaves_no_thread_behind(hasty: Razorpay, fake: FakeRazorpay) -> None:
    fake.fault = Fault.HANG
    with pytest.raises(ProviderAway):
        await hasty.open_checkout(order())
    async with asyncio.timeout(5):
        while not fake.abandoned:  # noqa: ASYNC110 - the fake sees it a moment later
            await asyncio.sleep(0.01)


async def test_a_provider_that_cannot_be_reached_is_away() -> None:
    adapter = Razorpay(razorpay_settings(razorpay_api_url="http://127.0.0.1:1"))
    with pytest.raises(ProviderAway):
        await adapter.open_checkout(order())
    await adapter.close()


async def test_wrong_keys_are_our_fault_and_do_not_decide_about_the_payment(
    fake: FakeRazorpay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(razorpay_adapter, "_log", log := CapturingLogger())
    async with connected_razorpay(fake, razorpay_key_secret="another") as adapter:
        with pytest.raises(ProviderAway):
            await adapter.open_checkout(order())
    # And somebody can find out why
    (call,) = log.calls
    assert 401 in call.kwargs.values()


async def test_no_secret_shows_in_an_error_or_in_the_log(
    razorpay: Razorpay,
    hasty: Razorpay,
    fake: FakeRazorpay,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    errors: list[BaseException] = []

    async def fails(asking: Any) -> None:
        with pytest.raises((ProviderAway, ProviderRefused)) as raised:
            await asking
        errors.append(raised.value)

    # Given all kinds of failures
    await fails(razorpay.open_checkout(order(amount_minor=0)))
    for fault in (Fault.HANG, Fault.BROKEN, Fault.GARBAGE):
        fake.fault = fault
        await fails(hasty.open_checkout(order()))
    # Then neither they nor what led to them show a secret; and the SDK has printed nothing
    for error in errors:
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
        assert "MustNotShow" not in repr(error)
    assert "MustNotShow" not in caplog.text
    printed = capsys.readouterr()
    assert "MustNotShow" not in printed.out + printed.err
    assert "Request timed out" not in printed.out


async def test_a_link_that_is_paid_tells_of_the_payment(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    asked = order()
    checkout = await razorpay.open_checkout(asked)
    payment = fake.pay(checkout.reference)
    event = fake.event("payment_link.paid", payment_link=fake.links[checkout.reference], payment=payment)
    notice = read(razorpay, fake, event)
    assert notice == Notice(
        event_id=notice.event_id,
        kind=NoticeKind.PAID,
        name="payment_link.paid",
        payment_id=asked.payment_id,
        reference=payment["id"],
        amount_minor=50_000,
        currency="INR",
    )


@pytest.mark.parametrize("name", ["payment_link.expired", "payment_link.cancelled"])
async def test_a_page_that_nobody_used_tells_that_the_payment_failed(
    razorpay: Razorpay, fake: FakeRazorpay, name: str
) -> None:
    asked = order()
    link = fake.links[(await razorpay.open_checkout(asked)).reference]
    notice = read(razorpay, fake, fake.event(name, payment_link=link))
    assert (notice.kind, notice.payment_id, notice.reference) == (NoticeKind.FAILED, asked.payment_id, None)


@pytest.mark.parametrize(
    ("name", "kind"), [("refund.processed", NoticeKind.REFUNDED), ("refund.failed", NoticeKind.REFUND_FAILED)]
)
async def test_the_end_of_a_refund_is_told(razorpay: Razorpay, fake: FakeRazorpay, name: str, kind: NoticeKind) -> None:
    payment_id, reference = await paid(razorpay, fake)
    asked = refund_order(payment_id, reference)
    refund = fake.refunds[await razorpay.refund(asked)]
    notice = read(razorpay, fake, fake.event(name, refund=refund, payment=fake.payments[reference]))
    assert (notice.kind, notice.name) == (kind, name)
    assert (notice.refund_id, notice.payment_id, notice.reference) == (asked.refund_id, payment_id, reference)
    assert (notice.amount_minor, notice.currency) == (20_000, "INR")


@pytest.mark.parametrize(
    "name", ["payment.failed", "payment.captured", "refund.created", "payment_link.partially_paid"]
)
async def test_other_events_change_nothing(razorpay: Razorpay, fake: FakeRazorpay, name: str) -> None:
    payment_id, reference = await paid(razorpay, fake)
    refund = fake.refunds[await razorpay.refund(refund_order(payment_id, reference))]
    [link] = fake.links.values()
    event = fake.event(name, payment=fake.payments[reference], refund=refund, payment_link=link)
    notice = read(razorpay, fake, event)
    assert notice == Notice(event_id=notice.event_id, kind=NoticeKind.OTHER, name=name)


async def test_a_copy_has_the_id_of_the_first_whatever_the_unsigned_header_says(
    razorpay: Razorpay, fake: FakeRazorpay
) -> None:
    # Given one event, sent twice, each time under another id of the header, and with the link as it is by then
    checkout = await razorpay.open_checkout(order())
    payment = fake.pay(checkout.reference)
    link = fake.links[checkout.reference]
    first = read(razorpay, fake, fake.event("payment_link.paid", payment_link=link, payment=payment))
    later = link | {"updated_at": link["updated_at"] + 1}
    again = read(razorpay, fake, fake.event("payment_link.paid", payment_link=later, payment=payment))
    # Then both are one; and another event, or another link, is another
    assert again.event_id == first.event_id
    other_name = read(razorpay, fake, fake.event("payment_link.expired", payment_link=link))
    other_link = read(razorpay, fake, fake.event("payment_link.paid", payment_link=link | {"id": "plink_other"}))
    assert len({first.event_id, other_name.event_id, other_link.event_id}) == 3


async def test_a_field_that_is_not_as_documented_is_none(razorpay: Razorpay, fake: FakeRazorpay) -> None:
    checkout = await razorpay.open_checkout(order())
    payment = fake.pay(checkout.reference) | {"id": "pay 1"}
    strange = {"reference_id": "order 66", "amount_paid": "50000", "currency": 356}
    link = fake.links[checkout.reference] | strange
    notice = read(razorpay, fake, fake.event("payment_link.paid", payment_link=link, payment=payment))
    assert notice.kind is NoticeKind.PAID
    assert (notice.payment_id, notice.reference, notice.amount_minor, notice.currency) == (None, None, None, None)

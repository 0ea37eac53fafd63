"""Stripe: the official SDK against a fake of Stripe's, over a real socket."""

import asyncio
import dataclasses
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from structlog.testing import CapturingLogger

from app.adapters.payments import stripe as stripe_adapter
from app.adapters.payments.port import Notice, NoticeKind, ProviderAway, ProviderRefused
from app.adapters.payments.stripe import Stripe
from app.core.ids import uuid7
from tests.payments.providers import (
    BOUND_SECONDS,
    HASTY_SECONDS,
    connected_stripe,
    order,
    refund_order,
    stripe_settings,
)
from tests.support.fake_providers import Fault
from tests.support.fake_stripe import FakeStripe


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe()


@pytest.fixture
async def stripe(fake: FakeStripe) -> AsyncIterator[Stripe]:
    async with connected_stripe(fake) as adapter:
        yield adapter


@pytest.fixture
async def hasty(fake: FakeStripe) -> AsyncIterator[Stripe]:
    """The same account, with little patience."""
    async with connected_stripe(fake, payment_provider_seconds=HASTY_SECONDS) as adapter:
        yield adapter


def read(stripe: Stripe, fake: FakeStripe, event: dict[str, Any]) -> Notice:
    body = json.dumps(event).encode()
    return stripe.read_webhook(fake.signed(body), body, time.time())


async def paid(stripe: Stripe, fake: FakeStripe, amount_minor: int = 50_000) -> tuple[UUID, str]:
    """A payment that has been made; our id and Stripe's."""
    asked = order(amount_minor=amount_minor)
    session = fake.pay((await stripe.open_checkout(asked)).reference)
    return asked.payment_id, session["payment_intent"]


async def test_a_checkout_is_a_page_for_exactly_this_payment(stripe: Stripe, fake: FakeStripe) -> None:
    # When a page is asked for
    asked = order()
    checkout = await stripe.open_checkout(asked)
    # Then it is for our amount, knows our id wherever it may be needed, and leads back
    session = fake.sessions[checkout.reference]
    ours = {"payment_id": str(asked.payment_id)}
    assert checkout.url == session["url"]
    assert (session["mode"], session["amount_total"], session["currency"]) == ("payment", 50_000, "inr")
    assert session["client_reference_id"] == str(asked.payment_id)
    assert (session["metadata"], session["intent_metadata"]) == (ours, ours)
    assert session["success_url"] == session["cancel_url"] == asked.return_url
    assert session["name"] == "Wallet top-up"


async def test_amounts_of_a_currency_without_minor_units_pass_through(stripe: Stripe, fake: FakeStripe) -> None:
    checkout = await stripe.open_checkout(order(amount_minor=1200, currency="JPY"))
    session = fake.sessions[checkout.reference]
    assert (session["amount_total"], session["currency"]) == (1200, "jpy")


@pytest.mark.parametrize("wanted_seconds", [60, 1800, 3600, 24 * 3600, 7 * 24 * 3600])
async def test_a_page_lives_as_long_as_stripe_allows_it(stripe: Stripe, fake: FakeStripe, wanted_seconds: int) -> None:
    checkout = await stripe.open_checkout(order(expires_in_seconds=wanted_seconds))
    lives = fake.sessions[checkout.reference]["expires_at"] - time.time()
    assert min(wanted_seconds, 24 * 3600 - 90) <= lives <= max(wanted_seconds, 1800) + 300


async def test_asking_for_the_page_again_later_gives_the_same_page(stripe: Stripe, fake: FakeStripe) -> None:
    # Given a page
    asked = order(expires_in_seconds=3600)
    first = await stripe.open_checkout(asked)
    # When the same is asked ten minutes later
    later = time.time() + 600
    with patch("time.time", lambda: later):
        again = await stripe.open_checkout(asked)
    # Then it is the same page: the request has not changed with the clock
    assert again == first
    assert len(fake.sessions) == 1


async def test_an_answer_that_was_lost_leaves_one_page(stripe: Stripe, hasty: Stripe, fake: FakeStripe) -> None:
    # Given an answer that did not come, though the page was made
    asked = order()
    fake.fault = Fault.LOSE_THE_ANSWER
    with pytest.raises(ProviderAway):
        await hasty.open_checkout(asked)
    # When it is asked for again
    fake.fault = None
    checkout = await stripe.open_checkout(asked)
    # Then there is one page
    assert list(fake.sessions) == [checkout.reference]


async def test_many_asking_at_once_get_one_page(stripe: Stripe, fake: FakeStripe) -> None:
    asked = order()
    checkouts = await asyncio.gather(*(stripe.open_checkout(asked) for _ in range(10)))
    assert len(set(checkouts)) == len(fake.sessions) == 1


async def test_another_amount_for_the_same_payment_is_refused(stripe: Stripe, fake: FakeStripe) -> None:
    asked = order()
    await stripe.open_checkout(asked)
    with pytest.raises(ProviderRefused, match="same parameters"):
        await stripe.open_checkout(dataclasses.replace(asked, amount_minor=1))
    assert len(fake.sessions) == 1


async def test_what_stripe_does_not_take_is_refused_with_its_reason(stripe: Stripe, fake: FakeStripe) -> None:
    with pytest.raises(ProviderRefused, match="must add up to at least"):
        await stripe.open_checkout(order(amount_minor=0))
    assert not fake.sessions


async def test_a_refund_names_the_money_and_us(stripe: Stripe, fake: FakeStripe) -> None:
    payment_id, intent = await paid(stripe, fake)
    asked = refund_order(payment_id, intent)
    refund = fake.refunds[await stripe.refund(asked)]
    assert (refund["payment_intent"], refund["amount"]) == (intent, 20_000)
    assert refund["metadata"] == {"refund_id": str(asked.refund_id), "payment_id": str(payment_id)}


async def test_a_refund_whose_answer_was_lost_is_made_once(stripe: Stripe, hasty: Stripe, fake: FakeStripe) -> None:
    # Given a refund that was made, and whose answer did not come
    payment_id, intent = await paid(stripe, fake)
    asked = refund_order(payment_id, intent)
    fake.fault, fake.faultless = Fault.LOSE_THE_ANSWER, {"GET"}
    with pytest.raises(ProviderAway):
        await hasty.refund(asked)
    fake.fault = None
    [reference] = fake.refunds
    # When it is asked for again: at once, at the same time as others, and when Stripe has forgotten the key
    again = await asyncio.gather(*(stripe.refund(asked) for _ in range(5)))
    fake.forget_idempotency_keys()
    much_later = await stripe.refund(asked)
    # Then it is the same refund
    assert {much_later, *again} == set(fake.refunds) == {reference}


async def test_the_same_refund_asked_for_by_many_at_once_is_made_once(stripe: Stripe, fake: FakeStripe) -> None:
    payment_id, intent = await paid(stripe, fake)
    asked = refund_order(payment_id, intent)
    assert set(await asyncio.gather(*(stripe.refund(asked) for _ in range(10)))) == set(fake.refunds)
    assert len(fake.refunds) == 1


async def test_no_more_goes_back_than_was_paid(stripe: Stripe, fake: FakeStripe) -> None:
    payment_id, intent = await paid(stripe, fake)
    await stripe.refund(refund_order(payment_id, intent, 30_000))
    with pytest.raises(ProviderRefused, match="greater than unrefunded amount"):
        await stripe.refund(refund_order(payment_id, intent, 30_000))
    await stripe.refund(refund_order(payment_id, intent, 20_000))
    with pytest.raises(ProviderRefused, match="already been refunded"):
        await stripe.refund(refund_order(payment_id, intent, 1))
    assert sum(refund["amount"] for refund in fake.refunds.values()) == 50_000


async def test_a_refund_of_an_unknown_payment_is_refused(stripe: Stripe, fake: FakeStripe) -> None:
    with pytest.raises(ProviderRefused, match="No such payment_intent"):
        await stripe.refund(refund_order(uuid7(), "pi_unknown"))
    assert not fake.refunds


@pytest.mark.parametrize("fault", sorted(set(Fault) - {Fault.LOSE_THE_ANSWER}))
async def test_a_provider_that_fails_only_when_asked_to_refund_is_away(
    stripe: Stripe, hasty: Stripe, fake: FakeStripe, fault: Fault
) -> None:
    payment_id, intent = await paid(stripe, fake)
    fake.fault, fake.faultless = fault, {"GET"}
    with pytest.raises(ProviderAway):
        await hasty.refund(refund_order(payment_id, intent))
    assert not fake.refunds


@pytest.mark.parametrize("fault", Fault)
async def test_a_provider_that_does_not_answer_as_documented_is_away_within_a_bounded_time(
    stripe: Stripe, hasty: Stripe, fake: FakeStripe, fault: Fault
) -> None:
    payment_id, intent = await paid(stripe, fake)
    fake.fault = fault
    for asking in (hasty.open_checkout(order()), hasty.refund(refund_order(payment_id, intent))):
        began = time.monotonic()
        with pytest.raises(ProviderAway):
            await asking
        assert time.monotonic() - began < BOUND_SECONDS


async def test_a_provider_that_cannot_be_reached_is_away() -> None:
    adapter = Stripe(stripe_settings(stripe_api_url="http://127.0.0.1:1"))
    with pytest.raises(ProviderAway):
        await adapter.open_checkout(order())
    await adapter.close()


async def test_wrong_keys_are_our_fault_and_do_not_decide_about_the_payment(
    fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_adapter, "_log", log := CapturingLogger())
    async with connected_stripe(fake, stripe_secret_key="sk_test_another") as adapter:
        with pytest.raises(ProviderAway):
            await adapter.open_checkout(order())
    # And somebody can find out why
    (call,) = log.calls
    assert "AuthenticationError" in call.kwargs.values()


async def test_no_secret_shows_in_an_error_or_in_the_log(
    stripe: Stripe,
    hasty: Stripe,
    fake: FakeStripe,
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
    await fails(stripe.open_checkout(order(amount_minor=0)))
    for fault in (Fault.HANG, Fault.BROKEN, Fault.GARBAGE):
        fake.fault = fault
        await fails(hasty.open_checkout(order()))
    # Then neither they nor what led to them show a secret; and nothing was printed but our log
    for error in errors:
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
        assert "MustNotShow" not in repr(error)
    assert "MustNotShow" not in caplog.text
    assert "MustNotShow" not in "".join(capsys.readouterr())


async def test_a_talkative_reason_is_told_without_keys_and_persons(stripe: Stripe, fake: FakeStripe) -> None:
    said = f"{fake.KEY} of asha@example.com, +91 98220 00001"
    with pytest.raises(ProviderRefused) as refused:
        await stripe.refund(refund_order(uuid7(), said))
    assert str(refused.value) == "No such payment_intent: '*** of ***, ***'"


async def test_a_session_that_is_paid_tells_of_the_payment(stripe: Stripe, fake: FakeStripe) -> None:
    asked = order()
    session = fake.pay((await stripe.open_checkout(asked)).reference)
    event = fake.event("checkout.session.completed", session)
    assert read(stripe, fake, event) == Notice(
        event_id=event["id"],
        kind=NoticeKind.PAID,
        name="checkout.session.completed",
        payment_id=asked.payment_id,
        reference=session["payment_intent"],
        amount_minor=50_000,
        currency="INR",
    )


async def test_money_that_comes_later_is_told_when_it_has_come(stripe: Stripe, fake: FakeStripe) -> None:
    # Given a session that is completed, but whose bank transfer is still on its way
    asked = order()
    session = fake.pay((await stripe.open_checkout(asked)).reference, status="unpaid")
    assert read(stripe, fake, fake.event("checkout.session.completed", session)).kind is NoticeKind.OTHER
    # Then it is paid or failed when Stripe says so
    came = read(stripe, fake, fake.event("checkout.session.async_payment_succeeded", session))
    assert (came.kind, came.payment_id, came.amount_minor) == (NoticeKind.PAID, asked.payment_id, 50_000)
    failed = read(stripe, fake, fake.event("checkout.session.async_payment_failed", session))
    assert (failed.kind, failed.payment_id) == (NoticeKind.FAILED, asked.payment_id)


async def test_a_page_that_nobody_used_tells_that_the_payment_failed(stripe: Stripe, fake: FakeStripe) -> None:
    asked = order()
    session = fake.sessions[(await stripe.open_checkout(asked)).reference]
    notice = read(stripe, fake, fake.event("checkout.session.expired", session))
    assert (notice.kind, notice.payment_id, notice.reference) == (NoticeKind.FAILED, asked.payment_id, None)


@pytest.mark.parametrize("name", ["refund.created", "refund.updated", "charge.refund.updated", "refund.failed"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("succeeded", NoticeKind.REFUNDED),
        ("failed", NoticeKind.REFUND_FAILED),
        ("canceled", NoticeKind.REFUND_FAILED),
        ("pending", NoticeKind.OTHER),
        ("requires_action", NoticeKind.OTHER),
    ],
)
async def test_the_status_of_a_refund_decides_what_is_told(
    stripe: Stripe, fake: FakeStripe, name: str, status: str, kind: NoticeKind
) -> None:
    payment_id, intent = await paid(stripe, fake)
    asked = refund_order(payment_id, intent)
    refund = fake.refunds[await stripe.refund(asked)] | {"status": status, "failure_reason": "lost_or_stolen_card"}
    notice = read(stripe, fake, fake.event(name, refund))
    assert (notice.kind, notice.name) == (kind, name)
    if kind is not NoticeKind.OTHER:
        assert (notice.refund_id, notice.payment_id, notice.reference) == (asked.refund_id, payment_id, intent)
        assert (notice.amount_minor, notice.currency, notice.reason) == (20_000, "INR", "lost_or_stolen_card")


@pytest.mark.parametrize("name", ["payment_intent.succeeded", "payment_intent.payment_failed", "charge.refunded", "x"])
async def test_other_events_change_nothing(stripe: Stripe, fake: FakeStripe, name: str) -> None:
    _, intent = await paid(stripe, fake)
    event = fake.event(name, fake.intents[intent])
    assert read(stripe, fake, event) == Notice(event_id=event["id"], kind=NoticeKind.OTHER, name=name)


async def test_a_field_that_is_not_as_documented_is_none(stripe: Stripe, fake: FakeStripe) -> None:
    session = fake.pay((await stripe.open_checkout(order())).reference)
    strange = {
        "client_reference_id": "{" + str(uuid7()) + "}",
        "payment_intent": {"id": "pi_1"},
        "amount_total": True,
        "currency": "rupees",
    }
    notice = read(stripe, fake, fake.event("checkout.session.completed", session | strange))
    assert notice.kind is NoticeKind.PAID
    assert (notice.payment_id, notice.reference, notice.amount_minor, notice.currency) == (None, None, None, None)

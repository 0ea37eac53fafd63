"""The sandbox keeps its promises as a payment provider does: once for each id, never more back than was paid."""

import asyncio
import random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from app.adapters.payments.port import ProviderAway, ProviderRefused, RefundOrder
from app.adapters.payments.sandbox import CheckoutState, Sandbox
from app.core.config import Settings
from app.core.database import Database, Session
from app.core.errors import NotFound
from app.kernel.jobs import enqueue
from app.kernel.platform import Platform
from tests.payments.conftest import Till, order_of

# Opening a checkout


async def test_asked_again_for_the_same_payment_it_answers_the_same_page(till: Till) -> None:
    order = order_of()
    first = await till.sandbox.open_checkout(order)
    async with till.world.unchanged():
        assert await till.sandbox.open_checkout(order) == first
    assert first.url.startswith(f"{till.platform.settings.public_url}/sandbox/checkout/")


async def test_asked_fifty_times_at_once_it_opens_one_checkout(till: Till) -> None:
    order = order_of()
    pages = await asyncio.gather(*(till.sandbox.open_checkout(order) for _ in range(50)))
    assert len(set(pages)) == 1
    assert len(await till.world.rows("sandbox_checkouts", payment_id=order.payment_id)) == 1


@pytest.mark.parametrize("changed", [{"amount_minor": 123451}, {"currency": "USD"}], ids=str)
async def test_the_same_payment_over_another_amount_is_refused(till: Till, changed: dict[str, Any]) -> None:
    order = order_of()
    await till.sandbox.open_checkout(order)
    async with till.world.unchanged():
        with pytest.raises(ProviderRefused):
            await till.sandbox.open_checkout(order_of(payment_id=order.payment_id, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"expires_in_seconds": 0},
        *(
            {"return_url": url}
            for url in (
                "",
                "/wallet",
                "//shop.example",
                "javascript:alert(1)",
                "data:text/html,hello",
                "ftp://shop.example/",
                "https://",
                "https://user:word@shop.example/",
                "https://shop.example:port/",
                "https://shop.example:99999/",
                "https://shop.example; script-src *",
                "https://shop.example'none'/",
                "https://*/",
                "https://[::1/",
                "https://shop.example/\r\nSet-Cookie: a=b",
                "https://shop.example\\@evil.example/",
                " https://shop.example/",
            )
        ),
    ],
    ids=str,
)
async def test_an_order_that_makes_no_sense_is_refused(till: Till, changed: dict[str, Any]) -> None:
    async with till.world.unchanged():
        with pytest.raises(ProviderRefused):
            await till.sandbox.open_checkout(order_of(**changed))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "HTTPS://Shop.Example", "http://[::1]:80/a", "http://a:/"])
async def test_any_web_address_may_be_returned_to(till: Till, url: str) -> None:
    assert await till.open(return_url=url)


async def test_without_its_database_it_is_away(configured: Settings) -> None:
    nowhere = configured.model_copy(update={"database_url": "postgresql://localhost:1/none"})
    sandbox = Sandbox(Database(nowhere, after_commit=lambda *_: None), nowhere, enqueue)
    with pytest.raises(ProviderAway):
        await sandbox.open_checkout(order_of())
    with pytest.raises(ProviderAway):
        await sandbox.refund(RefundOrder(uuid4(), uuid4(), "sbx_1", 1, "INR"))


# The steps of the hosted page


async def test_paying_gives_the_money_an_id_and_tells_the_platform_once(till: Till) -> None:
    token = await till.open()
    # When it is paid, and everything is tried once more
    paid = await till.do("pay", token)
    async with till.world.unchanged():
        for step in ("pay", "decline", "abandon"):
            assert await till.do(step, token) == paid
    # Then
    assert paid.state is CheckoutState.PAID
    assert paid.reference.startswith("sbx_")
    [event] = await till.told(paid.payment_id)
    assert event["type"] == "payment.succeeded"
    assert event["data"] == {
        "payment_id": str(paid.payment_id),
        "reference": paid.reference,
        "amount_minor": 123450,
        "currency": "INR",
    }


async def test_declining_tells_the_platform_why(till: Till) -> None:
    token = await till.open()
    declined = await till.do("decline", token)
    async with till.world.unchanged():
        assert (await till.do("pay", token)).state is CheckoutState.DECLINED
    [event] = await till.told(declined.payment_id)
    assert event["type"] == "payment.failed"
    assert event["data"]["reason"] == "The payer's bank declined the payment."
    assert event["data"]["reference"] is None


async def test_going_back_tells_nobody(till: Till) -> None:
    token = await till.open()
    async with till.world.unchanged():
        abandoned = await till.do("abandon", token)
        assert (await till.do("pay", token)).state is CheckoutState.ABANDONED
    assert await till.told(abandoned.payment_id) == []


@pytest.mark.parametrize("step", ["pay", "decline"])
async def test_when_the_time_is_over_nothing_is_paid_and_nobody_is_told(till: Till, step: str) -> None:
    token = await till.open()
    await till.make_late(token)
    async with till.world.unchanged():
        late = await till.do(step, token)
    assert (late.state, late.reference) == (CheckoutState.EXPIRED, None)
    assert await till.told(late.payment_id) == []


@pytest.mark.parametrize("token", ["A" * 43, "", "\x00" * 43, "ü" * 43, "A" * 10_000])
@pytest.mark.parametrize("step", ["pay", "decline", "abandon", "find"])
async def test_an_unknown_token_is_nothing(till: Till, step: str, token: str) -> None:
    with pytest.raises(NotFound):
        await till.do(step, token)


async def test_of_a_hundred_clicks_at_once_one_counts_and_one_webhook_goes_out(till: Till) -> None:
    token = await till.open()
    clicks = ["pay", "decline"] * 50
    random.shuffle(clicks)
    # When
    seen = await asyncio.gather(*(till.do(click, token) for click in clicks))
    # Then all see the same, and the webhook says the same
    assert len(set(seen)) == 1
    [row] = await till.world.rows("sandbox_checkouts", token=token)
    [event] = await till.told(row["payment_id"])
    assert (row["status"], event["type"]) in {("PAID", "payment.succeeded"), ("DECLINED", "payment.failed")}
    assert seen[0].state == row["status"]


async def test_a_step_that_is_rolled_back_tells_nothing(till: Till, platform: Platform) -> None:
    token = await till.open()
    session = Session(platform.database)
    paid = await till.sandbox.pay(session, token)
    await session.close()
    assert await till.told(paid.payment_id) == []
    assert (await till.do("find", token)).state is CheckoutState.OPEN


# Refunds


def refund_of(paid: tuple[Any, str], amount_minor: int, **changed: Any) -> RefundOrder:
    usual = {"refund_id": uuid4(), "payment_id": paid[0], "reference": paid[1], "currency": "INR"}
    return RefundOrder(**usual | {"amount_minor": amount_minor} | changed)


async def test_a_refund_happens_once_and_is_told_once(till: Till) -> None:
    paid = await till.paid()
    order = refund_of(paid, 50000)
    made = await till.sandbox.refund(order)
    async with till.world.unchanged():
        assert await till.sandbox.refund(order) == made
    [_, event] = await till.told(paid[0])
    assert event["type"] == "refund.succeeded"
    assert event["data"] == {
        "payment_id": str(paid[0]),
        "refund_id": str(order.refund_id),
        "reference": paid[1],
        "amount_minor": 50000,
        "currency": "INR",
    }


async def test_the_same_refund_asked_for_twenty_times_at_once_happens_once(till: Till) -> None:
    paid = await till.paid()
    order = refund_of(paid, 123450)
    assert len(set(await asyncio.gather(*(till.sandbox.refund(order) for _ in range(20))))) == 1
    [row] = await till.world.rows("sandbox_checkouts", payment_id=paid[0])
    assert row["refunded_minor"] == 123450
    assert len(await till.told(paid[0])) == 2


async def test_parts_may_go_back_up_to_the_amount_and_not_one_more(till: Till) -> None:
    paid = await till.paid()
    await till.sandbox.refund(refund_of(paid, 123449))
    async with till.world.unchanged():
        with pytest.raises(ProviderRefused):
            await till.sandbox.refund(refund_of(paid, 2))
    await till.sandbox.refund(refund_of(paid, 1))
    with pytest.raises(ProviderRefused):
        await till.sandbox.refund(refund_of(paid, 1))


async def test_refunds_at_once_never_give_back_more_than_was_paid(till: Till) -> None:
    paid = await till.paid(amount_minor=10000)
    # When thirty refunds of 700 each race for 10,000
    orders = [refund_of(paid, 700) for _ in range(30)]
    answers = await asyncio.gather(*(till.sandbox.refund(order) for order in orders), return_exceptions=True)
    # Then fourteen fit
    assert sum(isinstance(answer, str) for answer in answers) == 14
    assert sum(isinstance(answer, ProviderRefused) for answer in answers) == 16
    [checkout] = await till.world.rows("sandbox_checkouts", payment_id=paid[0])
    refunds = await till.world.rows("sandbox_refunds", checkout_id=checkout["id"])
    assert checkout["refunded_minor"] == sum(refund["amount_minor"] for refund in refunds) == 9800
    assert len(await till.told(paid[0])) == 15


@pytest.mark.parametrize(
    "changed",
    [
        {"reference": "sbx_unknown"},
        {"reference": ""},
        {"payment_id": uuid4()},
        {"currency": "USD"},
        {"amount_minor": 0},
        {"amount_minor": -5},
        {"amount_minor": 123451},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_refund_of_what_was_not_paid_is_refused(till: Till, changed: dict[str, Any]) -> None:
    paid = await till.paid()
    async with till.world.unchanged():
        with pytest.raises(ProviderRefused):
            await till.sandbox.refund(refund_of(paid, **{"amount_minor": 100} | changed))


async def test_a_refund_id_stands_for_one_refund(till: Till) -> None:
    paid, other = await till.paid(), await till.paid()
    order = refund_of(paid, 100)
    await till.sandbox.refund(order)
    async with till.world.unchanged():
        for another in (
            refund_of(paid, 101, refund_id=order.refund_id),
            refund_of(other, 100, refund_id=order.refund_id),
        ):
            with pytest.raises(ProviderRefused):
                await till.sandbox.refund(another)


@pytest.mark.parametrize(
    ("wrong", "wall"),
    [
        ("refunded_minor = amount_minor + 1", "sandbox_checkouts_refunded_within_amount"),
        ("status = 'DECLINED'", "sandbox_checkouts_reference_when_paid"),
        ("reference = NULL", "sandbox_checkouts_reference_when_paid"),
        ("status = 'LOST', reference = NULL", "sandbox_checkouts_status_known"),
    ],
)
async def test_the_database_refuses_what_must_never_be(till: Till, wrong: str, wall: str) -> None:
    payment_id, _ = await till.paid()
    with pytest.raises(asyncpg.CheckViolationError, match=wall):
        await till.world.execute(
            f"UPDATE sandbox_checkouts SET {wrong} WHERE payment_id = cast(:id AS uuid)", id=str(payment_id)
        )

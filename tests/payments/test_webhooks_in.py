"""Webhooks in: what is believed, what is stored, and that it happens once, in any order (money.md: Webhooks in)."""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.adapters.payments.sandbox_webhooks import EventType
from app.jobs import clock
from app.models.payments import PaymentPurpose
from app.models.payments import PaymentStatus as Status
from app.services.payments import webhooks
from app.services.payments.purposes import PURPOSES
from tests.payments.steps import (
    AMOUNT,
    PAYMENTS,
    WEBHOOKS,
    escrow_of,
    expire,
    for_lead,
    in_status,
    make_due,
    notice,
    outcomes,
    paid,
    refund_notice,
    refunds_of,
    row_of,
    sandbox,
    send,
    top_up,
)
from tests.support.world import Person, World

SUCCEEDED, FAILED = EventType.PAYMENT_SUCCEEDED, EventType.PAYMENT_FAILED


@pytest.fixture(scope="module")
async def payer(world: World) -> Person:
    return await world.person()


async def waiting(world: World) -> list[UUID]:
    """Webhooks that were stored and not processed."""
    rows = [row for row in await world.rows("webhook_events") if row["processed_at"] is None]
    return [row["id"] for row in rows]


def signed(world: World, body: bytes, *, seconds: float = 0) -> dict[str, str]:
    return sandbox(world).sign(f"evt_{uuid4().hex}", body, time.time() + seconds)


async def refused(world: World, body: bytes, headers: dict[str, str]) -> None:
    """400, and nothing is stored."""
    async with world.unchanged():
        answer = await world.http.post(WEBHOOKS, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")


async def test_what_is_not_signed_by_the_provider_is_refused(world: World, payer: Person) -> None:
    payment = await top_up(payer)
    body = notice(SUCCEEDED, payment)
    right = signed(world, body)
    await refused(world, body, {})
    for header in right:
        await refused(world, body, {name: value for name, value in right.items() if name != header})
        await refused(world, body, right | {header: ""})
        await refused(world, body, right | {header: right[header] + "0"})
    for signature in ("v1,", "v1", right["webhook-signature"][3:], "v2" + right["webhook-signature"][2:], "v1,AAAA"):
        await refused(world, body, right | {"webhook-signature": signature})
    # Signed for another body, or with another body's signature
    await refused(world, body + b" ", right)
    await refused(world, body, signed(world, notice(FAILED, payment)))
    await refused(world, b"", right)
    assert (await row_of(world, payment))["status"] == Status.CREATED


@pytest.mark.parametrize("seconds", [-302, 302, -86_400, 10**9, -(10**9)])
async def test_what_was_signed_at_another_time_than_now_is_refused(world: World, payer: Person, seconds: int) -> None:
    body = notice(SUCCEEDED, await top_up(payer))
    await refused(world, body, signed(world, body, seconds=seconds))


@pytest.mark.parametrize("seconds", [-290, 290])
async def test_clocks_may_differ_by_five_minutes(world: World, payer: Person, seconds: int) -> None:
    payment = await top_up(payer)
    body = notice(SUCCEEDED, payment)
    answer = await world.http.post(WEBHOOKS, content=body, headers=signed(world, body, seconds=seconds))
    assert answer.status_code == 200
    assert (await row_of(world, payment))["status"] == Status.SUCCEEDED


async def test_a_replay_is_stored_and_processed_once(world: World, payer: Person) -> None:
    payment = await top_up(payer)
    body = notice(SUCCEEDED, payment)
    headers = signed(world, body)
    assert (await world.http.post(WEBHOOKS, content=body, headers=headers)).status_code == 200
    async with world.unchanged():
        for _ in range(5):
            assert (await world.http.post(WEBHOOKS, content=body, headers=headers)).status_code == 200


async def test_the_same_news_in_another_event_changes_nothing_but_the_log(world: World, payer: Person) -> None:
    payment = await in_status(world, payer, Status.SUCCEEDED)
    async with world.unchanged(but=["webhook_events"]):
        await paid(world, payment)
    assert await outcomes(world, payment) == ["paid_before", "succeeded"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"{}", b'{"type": 1}', b'{"type": "payment.succeeded"}',
        b'{"type": "payment.succeeded", "data": []}', b'{"type": "payment.exploded", "data": {}}',
        b'{"type": "\\u0000", "data": {}}', b'{"type": "\\ud800", "data": {}}', b"[" * 50_000,
        b'{"type": "payment.succeeded", "data": {"payment_id": "x"}}',
        b'{"type": "refund.failed", "data": {"refund_id": 7}}', b'{"type": "customer.created", "data": {"id": 1}}',
    ],
)  # fmt: skip
async def test_what_is_signed_and_means_nothing_is_kept_and_changes_nothing(world: World, body: bytes) -> None:
    async with world.unchanged(but=["webhook_events"]):
        answer = await send(world, body, event_id=(event_id := f"evt_{uuid4().hex}"))
    assert answer.status_code == 200
    [stored] = await world.rows("webhook_events", event_id=event_id)
    assert stored["body"] == body
    assert stored["processed_at"] is not None
    assert stored["outcome"].startswith(("unexpected", "of_no_interest"))


@pytest.mark.parametrize(
    "data",
    [
        {"amount_minor": None}, {"amount_minor": 0}, {"amount_minor": -AMOUNT}, {"amount_minor": str(AMOUNT)},
        {"amount_minor": AMOUNT + 0.5}, {"amount_minor": 2**63}, {"currency": None}, {"currency": "inr"},
        {"currency": "\x00"}, {"reference": None}, {"reference": ""}, {"payment_id": str(UUID(int=0))},
        {"payment_id": None},
    ],
)  # fmt: skip
async def test_money_is_believed_only_from_a_whole_notice(world: World, payer: Person, data: dict[str, Any]) -> None:
    payment = await top_up(payer)
    before = await row_of(world, payment)
    async with world.unchanged(but=["webhook_events"]):
        assert (await send(world, notice(SUCCEEDED, payment, **data))).status_code == 200
    assert await row_of(world, payment) == before


async def test_a_payment_of_another_provider_is_not_this_ones_business(world: World, payer: Person) -> None:
    payment = await top_up(payer)
    await world.execute("UPDATE payments SET provider = 'stripe' WHERE id = cast(:id AS uuid)", id=payment["id"])
    async with world.unchanged(but=["webhook_events"]):
        await paid(world, payment)
        await send(world, notice(FAILED, payment))
    assert await outcomes(world, payment) == ["unexpected: no such payment"] * 2
    # Nor is its refund
    other = await in_status(world, payer, Status.REFUNDED)
    [made] = await refunds_of(world, other)
    await world.execute("UPDATE payments SET provider = 'stripe' WHERE id = cast(:id AS uuid)", id=other["id"])
    async with world.unchanged(but=["webhook_events"]):
        await refund_notice(world, EventType.REFUND_FAILED, made["id"])
        await refund_notice(world, EventType.REFUND_FAILED, uuid4())


async def test_other_paths_and_methods_answer_as_documented(world: World, payer: Person) -> None:
    body = notice(SUCCEEDED, await top_up(payer))
    headers = signed(world, body)
    async with world.unchanged():
        for name in ("stripe", "razorpay", "nobody", "SANDBOX", "%00"):
            answer = await world.http.post(f"/webhooks/{name}", content=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), name
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            answer = await world.http.request(method, WEBHOOKS, content=body, headers=headers)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        large = body + b" " * world.platform.settings.json_body_limit_bytes
        answer = await world.http.post(WEBHOOKS, content=large, headers=signed(world, large))
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("data", [{"amount_minor": AMOUNT + 1}, {"amount_minor": 1}, {"currency": "USD"}])
async def test_what_differs_from_what_was_asked_for_waits_for_an_admin(
    world: World, payer: Person, data: dict[str, Any]
) -> None:
    for before in (Status.CREATED, Status.PENDING, Status.FAILED, Status.EXPIRED):
        funds = await world.balance(payer)
        payment = await in_status(world, payer, before)
        await paid(world, payment, **data)
        row = await row_of(world, payment)
        assert (row["status"], row["failure"], row["fulfilled_at"]) == (Status.UNDER_REVIEW, "amount_differs", None)
        assert await escrow_of(world, payment) == row["captured_minor"] == data.get("amount_minor", AMOUNT)
        assert await world.balance(payer) == funds


async def test_success_after_expiry_goes_back(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    await expire(world, payment)
    await paid(world, payment)
    assert (await row_of(world, payment))["status"] == Status.REFUNDED
    [made] = await refunds_of(world, payment)
    assert (made["amount_minor"], made["reason"], made["source"]) == (AMOUNT, "too_late", "escrow")
    assert (await world.balance(person), await escrow_of(world, payment)) == (0, 0)
    # and told again, it does not go back again
    await paid(world, payment)
    assert len(await refunds_of(world, payment)) == 1
    await world.books_are_clean()


@pytest.mark.parametrize("order", [(SUCCEEDED, FAILED), (FAILED, SUCCEEDED), (FAILED, SUCCEEDED, FAILED)])
async def test_a_success_wins_over_a_failure_in_any_order(world: World, order: tuple[EventType, ...]) -> None:
    person = await world.person()
    payment = await top_up(person)
    for event in order:
        await send(world, notice(event, payment))
    row = await row_of(world, payment)
    assert (row["status"], row["failure"]) == (Status.SUCCEEDED, None)
    assert await world.balance(person) == AMOUNT


async def test_a_second_payment_of_the_same_is_not_booked(world: World) -> None:
    person = await world.person()
    payment = await in_status(world, person, Status.SUCCEEDED)
    async with world.unchanged(but=["webhook_events"]):
        await paid(world, payment, reference="another")
    assert await outcomes(world, payment) == ["succeeded", "unexpected: paid twice"]
    assert (await row_of(world, payment))["reference"] == f"sbx_{payment['id']}"


async def test_of_success_and_cancellation_at_once_the_money_ends_in_one_place(world: World) -> None:
    person = await world.person()
    payments = [await top_up(person) for _ in range(20)]
    await asyncio.gather(
        *(paid(world, payment) for payment in payments),
        *(person.post(f"{PAYMENTS}/{payment['id']}/cancel") for payment in payments),
    )
    ended = [(await row_of(world, payment))["status"] for payment in payments]
    assert set(ended) <= {Status.SUCCEEDED, Status.REFUNDED}
    assert await world.balance(person) == AMOUNT * ended.count(Status.SUCCEEDED)
    await world.books_are_clean()


REFUNDED, REFUND_FAILED = EventType.REFUND_SUCCEEDED, EventType.REFUND_FAILED


@pytest.mark.parametrize(
    "order", [(REFUND_FAILED, REFUNDED), (REFUNDED, REFUND_FAILED), (REFUNDED,) * 2 + (REFUND_FAILED,) * 2]
)
@pytest.mark.parametrize("was", [Status.SUCCEEDED, Status.UNDER_REVIEW])
async def test_a_failed_refund_wins_over_a_refund_in_any_order(
    world: World, was: Status, order: tuple[EventType, ...]
) -> None:
    """A provider may fail a refund after it said that it succeeded (Stripe: a bank that sends it back)."""
    person = await world.person()
    payment = await in_status(world, person, was)
    funds = await world.balance(person), await escrow_of(world, payment)
    await world.admin.post(f"/api/v1/admin/payments/{payment['id']}/refunds", {"reason": "x"})
    [made] = await refunds_of(world, payment)
    for event in order:
        await refund_notice(world, event, made["id"])
    [made] = await refunds_of(world, payment)
    row = await row_of(world, payment)
    assert (made["status"], row["status"], row["refunded_minor"]) == ("FAILED", was, 0)
    assert (await world.balance(person), await escrow_of(world, payment)) == funds
    assert await waiting(world) == []
    await world.books_are_clean()


async def test_contrary_news_of_a_refund_at_once_end_the_same(world: World) -> None:
    person = await world.person()
    payment = await in_status(world, person, Status.REFUNDED)
    [made] = await refunds_of(world, payment)
    await asyncio.gather(*(refund_notice(world, event, made["id"]) for event in (REFUNDED, REFUND_FAILED) * 10))
    [made] = await refunds_of(world, payment)
    assert made["status"] == "FAILED"
    assert await world.balance(person) == AMOUNT
    await world.books_are_clean()


async def test_what_was_stored_by_a_process_that_died_is_processed_by_the_clock_once(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    body = notice(SUCCEEDED, payment)
    headers = signed(world, body)
    stored_id = await webhooks.store(world.platform, "sandbox", headers, body, time.time())
    assert await waiting(world) == [stored_id]
    # A copy does not bring it on: whoever stored it may be at it
    assert (await world.http.post(WEBHOOKS, content=body, headers=headers)).status_code == 200
    assert await world.balance(person) == 0
    # When its time comes and four clocks tick at once
    assert stored_id is not None
    await make_due(world, stored_id)
    await asyncio.gather(*(clock.tick(world.platform) for _ in range(4)))
    # Then the money came once
    assert await world.balance(person) == AMOUNT
    assert await outcomes(world, payment) == ["succeeded"]
    assert await world.rows("deadlines", subject_id=stored_id) == []
    assert len(await world.trail(payment["id"])) == 2
    await world.books_are_clean()


async def test_a_fault_while_processing_is_mended_by_the_clock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a lead whose purchase breaks when its payment arrives
    provider = await world.provider(funds_minor=0)
    request_id = await world.request(await world.person())
    payment = await for_lead(provider, request_id)

    async def breaks(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setitem(PURPOSES, PaymentPurpose.LEAD, PURPOSES[PaymentPurpose.LEAD]._replace(fulfil=breaks))
        async with world.unchanged(but=["webhook_events", "deadlines"]):
            await paid(world, payment)
        [stored_id] = await waiting(world)
        # The clock does no better
        await make_due(world, stored_id)
        async with world.unchanged():
            await clock.tick(world.platform)
    assert (await row_of(world, payment))["status"] == Status.CREATED
    # When it works again
    await make_due(world, stored_id)
    await asyncio.gather(*(clock.tick(world.platform) for _ in range(4)))
    # Then the lead is bought, once
    assert (await row_of(world, payment))["status"] == Status.SUCCEEDED
    assert len(await world.rows("lead_purchases", provider_id=provider.id)) == 1
    assert await waiting(world) == []
    await world.books_are_clean()


async def test_no_refusal_lets_the_clock_forget_a_webhook(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the clock `IllegalTransition` means that nothing is to do any more; of a webhook it never does."""
    person = await world.person()
    payment = await in_status(world, person, Status.REFUNDED)
    [made] = await refunds_of(world, payment)
    # Given books in which the payment knows nothing of its refund
    await world.execute(
        "UPDATE payments SET status = 'SUCCEEDED', refunded_minor = 0 WHERE id = cast(:id AS uuid)", id=payment["id"]
    )
    await refund_notice(world, REFUND_FAILED, made["id"])
    [stored_id] = await waiting(world)
    await make_due(world, stored_id)
    async with world.unchanged():
        await clock.tick(world.platform)
    assert await waiting(world) == [stored_id]
    # When they are put right, it is processed
    await world.execute(
        "UPDATE payments SET status = 'REFUNDED', refunded_minor = captured_minor WHERE id = cast(:id AS uuid)",
        id=payment["id"],
    )
    await make_due(world, stored_id)
    await clock.tick(world.platform)
    assert await waiting(world) == []
    assert (await row_of(world, payment))["status"] == Status.SUCCEEDED
    assert await world.balance(person) == AMOUNT


async def test_the_clock_and_a_slow_process_do_it_once_between_them(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    async with world.platform.database.write() as session:
        # Given a process that waits for the payment's row
        await world.hold(session, payment["id"], "payments")
        posted = asyncio.create_task(paid(world, payment))
        await world.waits(1)
        [stored_id] = await waiting(world)
        # and a clock that thinks that it died
        await make_due(world, stored_id)
        ticking = asyncio.create_task(clock.tick(world.platform))
        await world.waits(2)
    await asyncio.gather(posted, ticking)
    assert await world.balance(person) == AMOUNT
    assert await outcomes(world, payment) == ["succeeded"]
    assert await waiting(world) == []
    await world.books_are_clean()

"""Topping up a wallet by checkout (money.md: Payment providers)."""

import asyncio

from app.adapters.payments.sandbox_webhooks import EventType
from tests.payments.steps import AMOUNT, PAYMENTS, escrow_of, notice, outcomes, paid, read, refund, send, top_up
from tests.support.world import World


async def test_money_that_was_paid_is_in_the_wallet(world: World) -> None:
    # Given somebody who opened the checkout of a top-up
    person = await world.person()
    payment = await top_up(person)
    opened = (await person.post(f"{PAYMENTS}/{payment['id']}/checkout")).json()
    assert (payment["status"], opened["status"]) == ("CREATED", "PENDING")
    assert opened["checkout_url"].startswith(world.platform.settings.public_url)
    # When the provider tells that it was paid
    await paid(world, payment)
    # Then the money is in the wallet, and the payer was told
    assert (await read(person, payment))["status"] == "SUCCEEDED"
    assert await world.balance(person) == AMOUNT
    assert await world.told(payment["id"]) == [("payment.succeeded", {person.id})]
    await world.books_are_clean()


async def test_a_webhook_that_comes_again_changes_nothing(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    body = notice(EventType.PAYMENT_SUCCEEDED, payment)
    answers = await asyncio.gather(*(send(world, body, event_id=f"evt_{payment['id']}") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    async with world.unchanged():
        await send(world, body, event_id=f"evt_{payment['id']}")
    assert await world.balance(person) == AMOUNT
    assert await outcomes(world, payment) == ["succeeded"]


async def test_another_amount_is_held_for_an_admin(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    await paid(world, payment, amount_minor=AMOUNT - 1)
    assert (await read(person, payment))["status"] == "UNDER_REVIEW"
    assert await world.balance(person) == 0
    assert await escrow_of(world, payment) == AMOUNT - 1
    # The admin takes it as it is
    answer = await world.admin.post(f"/api/v1/admin/payments/{payment['id']}/accept", {"reason": "close enough"})
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCEEDED")
    assert await world.balance(person) == AMOUNT - 1
    await world.books_are_clean()


async def test_money_that_comes_after_the_payer_gave_up_goes_back(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    assert (await person.post(f"{PAYMENTS}/{payment['id']}/cancel")).json()["status"] == "EXPIRED"
    await paid(world, payment)
    assert (await read(person, payment))["status"] == "REFUNDED"
    assert (await world.balance(person), await escrow_of(world, payment)) == (0, 0)
    assert await outcomes(world, payment) == ["sent_back"]
    await world.books_are_clean()


async def test_refunds_at_once_never_pass_what_was_paid(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    await paid(world, payment)
    answers = await asyncio.gather(*(refund(world, payment, 100_00) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 15
    assert (await read(person, payment))["status"] == "REFUNDED"
    assert await world.balance(person) == 0
    await world.books_are_clean()

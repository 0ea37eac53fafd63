"""Buying a lead by checkout: paid and bought in one transaction, or sent back."""

import asyncio
from uuid import UUID

import pytest

from app.core.actor import Actor
from app.core.config import Settings
from app.models.payments import PaymentStatus as Status
from app.services.service_requests.purchase import purchase
from tests.payments.steps import FEE, escrow_of, for_lead, outcomes, paid, read, refunds_of, row_of, top_up
from tests.support.world import Person, World

REQUESTS = "/api/v1/service-requests"
CROWD, CAP = 20, 5


@pytest.fixture(scope="module")
async def customer(world: World) -> Person:
    return await world.person()


async def test_a_lead_that_was_paid_for_is_bought(world: World, customer: Person) -> None:
    request_id = await world.request(customer)
    provider = await world.provider(funds_minor=0)
    payment = await for_lead(provider, request_id)
    assert payment["amount_minor"] == FEE
    await paid(world, payment)
    assert (await read(provider, payment))["status"] == "SUCCEEDED"
    assert (await provider.get(f"{REQUESTS}/{request_id}")).json()["purchased"] is True
    assert await world.balance(provider) == 0
    assert await world.told(payment["id"]) == [("payment.succeeded", {provider.id})]
    await world.books_are_clean()


async def sent_back(world: World, provider: Person, payment: dict[str, object], why: str, *, funds: int = 0) -> None:
    """The whole of the money went back, and nothing else is left of it."""
    row = await row_of(world, payment)
    assert (row["status"], row["failure"], row["fulfilled_at"]) == (Status.REFUNDED, why, None)
    [made] = await refunds_of(world, payment)
    assert (made["amount_minor"], made["reason"], made["source"]) == (FEE, why, "escrow")
    assert await outcomes(world, payment) == ["sent_back"]
    assert (await world.balance(provider), await escrow_of(world, payment)) == (funds, 0)
    names = [name for name, _ in await world.told(str(payment["id"]))]
    assert names == ["payment.held"]
    assert [step["action"] for step in await world.trail(str(payment["id"]))] == ["create", "hold", "refund"]
    await world.books_are_clean()


async def test_money_for_a_lead_that_is_gone_goes_back(world: World, customer: Person) -> None:
    request_id = await world.request(customer)
    provider = await world.provider(funds_minor=0)
    payment = await for_lead(provider, request_id)
    assert (await customer.post(f"{REQUESTS}/{request_id}/cancel", {"reason": "mended"})).status_code == 200
    await paid(world, payment)
    assert await world.rows("lead_purchases", provider_id=provider.id) == []
    await sent_back(world, provider, payment, "not_found")


async def test_money_for_a_lead_that_is_sold_out_goes_back(world: World, customer: Person) -> None:
    request_id = await world.request(customer)
    provider = await world.provider(funds_minor=0)
    payment = await for_lead(provider, request_id)
    for _ in range(CAP):
        assert (await (await world.provider()).post(f"{REQUESTS}/{request_id}/purchase")).status_code == 201
    await paid(world, payment)
    await sent_back(world, provider, payment, "lead_sold_out")


async def test_money_above_the_weekly_budget_goes_back(world: World, customer: Person) -> None:
    provider = await world.provider(funds_minor=FEE)
    bought, request_id = await world.request(customer), await world.request(customer)
    payment = await for_lead(provider, request_id)
    await world.execute(
        "UPDATE providers SET weekly_lead_budget_minor = :fee WHERE id = cast(:id AS uuid)",
        fee=FEE,
        id=str(provider.id),
    )
    assert (await provider.post(f"{REQUESTS}/{bought}/purchase")).status_code == 201
    await paid(world, payment)
    await sent_back(world, provider, payment, "weekly_budget_reached")


async def test_money_for_a_lead_that_was_bought_meanwhile_goes_back(world: World, customer: Person) -> None:
    request_id = await world.request(customer)
    provider = await world.provider(funds_minor=2 * FEE)
    payment = await for_lead(provider, request_id)
    assert (await provider.post(f"{REQUESTS}/{request_id}/purchase")).status_code == 201
    await paid(world, payment)
    await sent_back(world, provider, payment, "already_purchased", funds=FEE)
    assert len(await world.rows("lead_purchases", provider_id=provider.id)) == 1


async def test_two_payments_for_one_lead_buy_it_once(world: World, customer: Person) -> None:
    request_id = await world.request(customer)
    provider = await world.provider(funds_minor=0)
    payments = [await for_lead(provider, request_id) for _ in range(5)]
    await asyncio.gather(*(paid(world, payment) for payment in payments))
    ended = sorted([(await row_of(world, payment))["status"] for payment in payments])
    assert ended == [Status.REFUNDED] * 4 + [Status.SUCCEEDED]
    assert len(await world.rows("lead_purchases", provider_id=provider.id)) == 1
    assert await world.balance(provider) == 0
    await world.books_are_clean()


async def test_of_twenty_who_pay_at_once_as_many_buy_as_may(world: World, customer: Person) -> None:
    request_id = await world.request(customer)
    providers = [await world.provider(funds_minor=0) for _ in range(CROWD)]
    payments = [await for_lead(provider, request_id) for provider in providers]
    await asyncio.gather(*(paid(world, payment) for payment in payments))
    ended = [(await row_of(world, payment))["status"] for payment in payments]
    assert (ended.count(Status.SUCCEEDED), ended.count(Status.REFUNDED)) == (CAP, CROWD - CAP)
    buyers = {row["provider_id"] for row in await world.rows("lead_purchases", service_request_id=UUID(request_id))}
    assert buyers == {p.id for p, status in zip(providers, ended, strict=True) if status == Status.SUCCEEDED}
    for provider, payment in zip(providers, payments, strict=True):
        assert (await world.balance(provider), await escrow_of(world, payment)) == (0, 0)
    await world.books_are_clean()


async def test_checkout_and_purchase_from_the_wallet_do_not_deadlock(
    world: World, customer: Person, configured: Settings
) -> None:
    """Both lock the provider, the request, the wallet; a deadlock would end one of them after a second."""
    provider = await world.provider(funds_minor=FEE)
    paid_for, bought = await world.request(customer), await world.request(customer)
    payment = await for_lead(provider, paid_for)
    async with world.platform.database.write() as session:
        # Given a purchase from the wallet that has locked the provider only
        await world.hold(session, str(provider.id), "providers")
        # When the money for another lead arrives meanwhile
        webhook = asyncio.create_task(paid(world, payment))
        await world.waits(1)
        # Then the purchase can go on to the wallet
        async with asyncio.timeout(1):
            await purchase(session, Actor(provider.id), UUID(bought))
    await webhook
    assert await outcomes(world, payment) == ["succeeded"]
    assert await world.balance(provider) == 0


async def test_checkout_and_the_cancellation_that_gives_the_fee_back_do_not_deadlock(
    world: World, customer: Person
) -> None:
    provider = await world.provider(funds_minor=FEE)
    requests = [await world.request(customer) for _ in range(8)]
    payments = [await for_lead(provider, request_id) for request_id in requests]
    await asyncio.gather(
        *(paid(world, payment) for payment in payments),
        *(customer.post(f"{REQUESTS}/{request_id}/cancel", {"reason": "x"}) for request_id in requests),
    )
    for payment in payments:
        assert (await outcomes(world, payment))[0] in {"succeeded", "sent_back"}
    # Whether the fee came back to the wallet or the money to the payer, no lead is paid for.
    succeeded = [payment for payment in payments if (await row_of(world, payment))["status"] == Status.SUCCEEDED]
    assert await world.balance(provider) == FEE + FEE * len(succeeded)
    await world.books_are_clean()


async def test_what_was_undone_leaves_no_event_of_the_lead(world: World, customer: Person) -> None:
    """The wallet cannot pay: the purchase is undone after it moved the request and told the customer."""
    request_id = await world.request(customer)
    provider = await world.provider(funds_minor=0)
    payment = await for_lead(provider, request_id)
    # Given a fee that has risen above what was paid
    await world.execute(
        "UPDATE service_requests SET fee_minor = fee_minor + 1 WHERE id = cast(:id AS uuid)", id=request_id
    )
    told = await world.told(request_id)
    await paid(world, payment)
    assert await world.told(request_id) == told
    [request] = await world.rows("service_requests", id=UUID(request_id))
    assert (request["buyers_count"], request["status"]) == (0, "PENDING")
    await sent_back(world, provider, payment, "insufficient_funds")


async def test_money_that_was_topped_up_first_is_spent_from_the_wallet(world: World, customer: Person) -> None:
    """A lead's money is money in the wallet like any other: the purchase takes the fee, not the payment."""
    provider = await world.provider(funds_minor=0)
    await paid(world, await top_up(provider, 10_00))
    payment = await for_lead(provider, await world.request(customer))
    await paid(world, payment)
    assert await world.balance(provider) == 10_00

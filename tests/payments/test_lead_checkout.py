"""Buying a lead by checkout: paid and bought in one transaction, or sent back."""

from tests.payments.steps import for_lead, outcomes, paid, read
from tests.support.world import World

FEE = 50_00


async def test_a_lead_that_was_paid_for_is_bought(world: World) -> None:
    customer = await world.person()
    request_id = await world.request(customer)
    provider = await world.provider(funds_minor=0)
    payment = await for_lead(provider, request_id)
    assert payment["amount_minor"] == FEE
    await paid(world, payment)
    assert (await read(provider, payment))["status"] == "SUCCEEDED"
    assert (await provider.get(f"/api/v1/service-requests/{request_id}")).json()["purchased"] is True
    assert await world.balance(provider) == 0
    await world.books_are_clean()


async def test_money_for_a_lead_that_is_gone_goes_back(world: World) -> None:
    customer = await world.person()
    request_id = await world.request(customer)
    provider = await world.provider(funds_minor=0)
    payment = await for_lead(provider, request_id)
    assert (
        await customer.post(f"/api/v1/service-requests/{request_id}/cancel", {"reason": "mended"})
    ).status_code == 200
    await paid(world, payment)
    assert (await read(provider, payment))["status"] == "REFUNDED"
    assert await outcomes(world, payment) == ["sent_back"]
    assert await world.rows("lead_purchases", provider_id=provider.id) == []
    assert await world.balance(provider) == 0
    await world.books_are_clean()

"""Buying leads, alone and by many at once: the cap, the fee and the weekly budget hold (leads.md: Purchase)."""

import asyncio
from collections import Counter
from uuid import UUID

import asyncpg
import pytest

from app.models.service_requests import ServiceRequestStatus as Status
from tests.service_requests.conftest import PATH, Cast, succeed
from tests.support.world import Person, World

FEE = 5000
PAINTING = {"scope": "room"}
PANDIT = {"ceremony": "naming", "puja_date": "tomorrow", "samagri": True}


async def total(world: World, people: list[Person]) -> int:
    """What is in their wallets together, in minor units."""
    ids = {person.id for person in people}
    return sum(int(row["balance"]) for row in await world.rows("accounts", kind="wallet") if row["owner_id"] in ids)


async def test_a_hundred_buyers_of_a_lead_for_five(world: World, cast: Cast, crowd: list[Person]) -> None:
    # Given a request that five may buy, and a hundred who match it
    request_id = await world.request(cast.customer)
    funds = await total(world, crowd)
    # When all buy at the same instant
    answers = await asyncio.gather(*(person.post(f"{PATH}/{request_id}/purchase") for person in crowd))
    # Then exactly five have, five fees were paid, and the others were told why they could not
    assert Counter(answer.status_code for answer in answers) == {201: 5, 409: 95}
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"lead_sold_out"}
    leads = await world.rows("lead_purchases", service_request_id=UUID(request_id))
    assert {lead["provider_id"] for lead in leads} == {
        person.id for person, answer in zip(crowd, answers, strict=True) if answer.is_success
    }
    assert (await cast.customer.get(f"{PATH}/{request_id}")).json()["buyers_count"] == len(leads) == 5
    assert await total(world, crowd) == funds - 5 * FEE
    assert [name for name, _ in await world.told(request_id)].count("service_request.purchased") == 5
    await world.books_are_clean()
    # and a sold-out lead is on no list of open ones
    loser = next(person for person, answer in zip(crowd, answers, strict=True) if answer.is_error)
    offered = (await loser.get("/api/v1/leads/open", params={"limit": 100})).json()["items"]
    assert request_id not in {lead["id"] for lead in offered}


async def test_buying_twice_charges_once(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PENDING)
    await succeed(cast.matching.post(f"{PATH}/{request_id}/purchase"))
    balance = await world.balance(cast.matching)
    async with world.unchanged():
        again = await cast.matching.post(f"{PATH}/{request_id}/purchase")
    assert (again.status_code, again.json()["code"]) == (409, "already_purchased")
    assert await world.balance(cast.matching) == balance


async def test_buying_twenty_times_at_once_charges_once(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PENDING)
    balance = await world.balance(cast.matching)
    answers = await asyncio.gather(*(cast.matching.post(f"{PATH}/{request_id}/purchase") for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"already_purchased"}
    assert await world.balance(cast.matching) == balance - FEE
    assert (await cast.customer.get(f"{PATH}/{request_id}")).json()["buyers_count"] == 1
    await world.books_are_clean()


async def test_without_the_money_nothing_happens(world: World, cast: Cast) -> None:
    # Given a provider who is one paisa short
    poor = await world.provider(funds_minor=FEE - 1)
    request_id = await cast.request(Status.PENDING)
    async with world.unchanged():
        answer = await poor.post(f"{PATH}/{request_id}/purchase")
    assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_funds")
    assert await world.balance(poor) == FEE - 1
    assert (await poor.get(f"{PATH}/{request_id}")).json()["customer"] is None
    assert (await cast.customer.get(f"{PATH}/{request_id}")).json()["status"] == "PENDING"


async def test_without_a_wallet_nothing_happens(world: World, cast: Cast) -> None:
    broke = await world.provider(funds_minor=0)
    request_id = await cast.request(Status.PENDING)
    async with world.unchanged():
        answer = await broke.post(f"{PATH}/{request_id}/purchase")
    assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_funds")


async def test_money_for_three_buys_three_of_twenty_at_once(world: World, cast: Cast) -> None:
    # Given a provider with money for three leads
    modest = await world.provider(funds_minor=3 * FEE + 1)
    requests = [await world.request(cast.customer) for _ in range(20)]
    # When they want twenty at once
    answers = await asyncio.gather(*(modest.post(f"{PATH}/{request_id}/purchase") for request_id in requests))
    # Then they have three, and one paisa
    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 17}
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"insufficient_funds"}
    assert await world.balance(modest) == 1
    await world.books_are_clean()
    await asyncio.gather(
        *(cast.customer.post(f"{PATH}/{request_id}/cancel", {"reason": "enough"}) for request_id in requests)
    )


async def test_the_weekly_budget_holds_for_twenty_purchases_at_once(world: World, cast: Cast) -> None:
    # Given a provider who spends four fees a week at most
    thrifty = await world.provider()
    await succeed(thrifty.call("PATCH", "/api/v1/me/provider", json={"weekly_lead_budget_minor": 4 * FEE + FEE - 1}))
    requests = [await world.request(cast.customer) for _ in range(20)]
    # When they buy twenty different leads at once
    answers = await asyncio.gather(*(thrifty.post(f"{PATH}/{request_id}/purchase") for request_id in requests))
    # Then they have four
    assert Counter(answer.status_code for answer in answers) == {201: 4, 409: 16}
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"weekly_budget_reached"}
    assert await world.balance(thrifty) == 1_000_00 - 4 * FEE
    # and what comes back or is a week old counts no more
    bought = [request_id for request_id, answer in zip(requests, answers, strict=True) if answer.is_success]
    left = [request_id for request_id, answer in zip(requests, answers, strict=True) if answer.is_error]
    await succeed(cast.customer.post(f"{PATH}/{bought[0]}/cancel", {"reason": "mended"}))
    await succeed(thrifty.post(f"{PATH}/{left[0]}/purchase"))
    async with world.unchanged():
        assert (await thrifty.post(f"{PATH}/{left[1]}/purchase")).status_code == 409
    await world.execute(
        "UPDATE lead_purchases SET created_at = now() - interval '7 days' WHERE service_request_id = cast(:id AS uuid)",
        id=bought[1],
    )
    await succeed(thrifty.post(f"{PATH}/{left[1]}/purchase"))
    await asyncio.gather(*(cast.customer.post(f"{PATH}/{each}/cancel", {"reason": "enough"}) for each in requests))
    await world.books_are_clean()


async def test_a_budget_of_zero_stops_buying(world: World, cast: Cast) -> None:
    resting = await world.provider()
    await succeed(resting.call("PATCH", "/api/v1/me/provider", json={"weekly_lead_budget_minor": 0}))
    request_id = await cast.request(Status.PENDING)
    async with world.unchanged():
        answer = await resting.post(f"{PATH}/{request_id}/purchase")
    assert (answer.status_code, answer.json()["code"]) == (409, "weekly_budget_reached")


async def test_a_free_lead_moves_no_money(world: World, cast: Cast) -> None:
    # Given a service whose leads cost nothing, and a provider without a wallet
    await world.execute("UPDATE services SET lead_fee_minor = 0 WHERE slug = 'painting'")
    painter = await world.provider(offers=("painting",), funds_minor=0)
    try:
        request_id = await world.request(cast.customer, service="painting", answers=PAINTING)
        # When they buy and the customer cancels
        async with world.unchanged(but=["lead_purchases", "audit_trail", "events", "notifications"]):
            lead = (await succeed(painter.post(f"{PATH}/{request_id}/purchase"))).json()
        await succeed(cast.customer.post(f"{PATH}/{request_id}/cancel", {"reason": "mended"}))
        # Then there is an end of it, without an entry
        (row,) = await world.rows("lead_purchases", id=UUID(lead["id"]))
        assert (row["status"], row["fee_minor"]) == ("REFUNDED", 0)
        assert await world.rows("entries", subject_id=row["id"]) == []
    finally:
        await world.execute("UPDATE services SET lead_fee_minor = 8000 WHERE slug = 'painting'")


async def test_fee_and_cap_are_frozen_when_the_request_is_made(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PENDING)
    await world.execute("UPDATE services SET lead_fee_minor = 9900 WHERE slug = 'plumbing'")
    try:
        lead = (await succeed(cast.matching.post(f"{PATH}/{request_id}/purchase"))).json()
    finally:
        await world.execute("UPDATE services SET lead_fee_minor = 5000 WHERE slug = 'plumbing'")
    assert lead["fee_minor"] == FEE


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE providers SET status = 'suspended' WHERE id = cast(:id AS uuid)",
        "UPDATE providers SET deleted_at = now() WHERE id = cast(:id AS uuid)",
        "UPDATE providers SET service_radius_metres = 1, latitude = latitude + 0.01 WHERE id = cast(:id AS uuid)",
        "UPDATE provider_services SET is_active = false WHERE provider_id = cast(:id AS uuid)",
    ],
    ids=["suspended", "deleted", "too far away", "service not offered"],
)
async def test_who_does_not_match_any_more_sees_and_buys_nothing(world: World, cast: Cast, change: str) -> None:
    provider = await world.provider()
    request_id = await cast.request(Status.PENDING)
    await world.execute(change, id=str(provider.id))
    async with world.unchanged():
        answer = await provider.post(f"{PATH}/{request_id}/purchase")
    assert answer.status_code == 404
    assert (await provider.get(f"{PATH}/{request_id}")).status_code == 404
    assert (await provider.get("/api/v1/leads/open")).json()["items"] == []


async def test_the_best_rated_and_nearest_are_told_first(
    world: World, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that two may be told, and three providers of a rare trade
    near, best, far = [await world.provider(offers=("pandit",), radius=20_000) for _ in range(3)]
    await world.execute("UPDATE providers SET rating_average = 4.5 WHERE id = cast(:id AS uuid)", id=str(best.id))
    await world.execute("UPDATE providers SET latitude = latitude + 0.1 WHERE id = cast(:id AS uuid)", id=str(far.id))
    fewer = world.platform.settings.model_copy(update={"matching_providers_notified": 2})
    monkeypatch.setattr("app.kernel.lifecycle.settings", lambda: fewer)
    # When a request is posted
    request_id = await world.request(cast.customer, service="pandit", answers=PANDIT)
    # Then the far one of the unrated is left out
    assert await world.told(request_id) == [("service_request.created", {near.id, best.id})]


async def test_the_database_refuses_what_the_code_would_never_do(world: World, cast: Cast) -> None:
    """The walls behind the purchase: no sale above the cap, no second purchase, no winner beside the winner."""
    request_id = await cast.request(Status.COMPLETED)
    attacks = {
        "service_requests_cap_holds": "UPDATE service_requests SET buyers_count = 6 WHERE id = cast(:id AS uuid)",
        "lead_purchases_once": (
            "INSERT INTO lead_purchases (id, service_request_id, provider_id, region_id, status, fee_minor, currency)"
            " SELECT gen_random_uuid(), service_request_id, provider_id, region_id, 'PAID', 1, 'INR'"
            " FROM lead_purchases WHERE service_request_id = cast(:id AS uuid)"
        ),
        "service_requests_one_winner": (
            "UPDATE service_requests SET completed_by = (SELECT provider_id FROM lead_purchases WHERE"
            " service_request_id = service_requests.id AND provider_id <> completed_by) WHERE id = cast(:id AS uuid)"
        ),
        "service_requests_winner_while_won": (
            "UPDATE service_requests SET completed_by = NULL WHERE id = cast(:id AS uuid)"
        ),
        "service_requests_assigned_is_winner": (
            "UPDATE service_requests SET status = 'APPROVED', assigned_provider_id = (SELECT provider_id FROM"
            " lead_purchases WHERE service_request_id = service_requests.id AND provider_id <> completed_by)"
            " WHERE id = cast(:id AS uuid)"
        ),
    }
    before = await world.rows("service_requests", id=UUID(request_id))
    for constraint, sql in attacks.items():
        async with world.unchanged():
            with pytest.raises((asyncpg.IntegrityConstraintViolationError, Exception)) as refused:
                await world.execute(sql, id=request_id)
        cause = refused.value if isinstance(refused.value, asyncpg.PostgresError) else refused.value.__cause__
        assert isinstance(cause, asyncpg.IntegrityConstraintViolationError)
        assert cause.constraint_name == constraint
    assert await world.rows("service_requests", id=UUID(request_id)) == before

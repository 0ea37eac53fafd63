"""Cancelling and expiring: unworked leads are refunded, and of many contenders one decides (leads.md)."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import httpx
import pytest

from app.jobs import clock
from app.models.service_requests import ServiceRequestStatus as Status
from tests.service_requests.conftest import OPEN, PATH, Cast, make_due, succeed
from tests.support.world import Person, World

FEE = 5000
REASON = {"reason": "mended"}


async def balances(world: World, people: list[Person]) -> list[int]:
    """What is in their wallets, in minor units."""
    held = {row["owner_id"]: int(row["balance"]) for row in await world.rows("accounts", kind="wallet")}
    return [held[person.id] for person in people]


async def big_request(world: World, customer: Person) -> str:
    """A request that two hundred may buy, so that the cap does not end the race."""
    request_id = await world.request(customer)
    await world.execute("UPDATE service_requests SET lead_cap = 200 WHERE id = cast(:id AS uuid)", id=request_id)
    return request_id


async def status_of(world: World, request_id: str) -> Status:
    (row,) = await world.rows("service_requests", id=UUID(request_id))
    return Status(row["status"])


async def check_refunds(world: World, request_id: str, people: list[Person], before: list[int]) -> None:
    """Everybody's balance is what it was, less the fees of the leads that were bought and not refunded."""
    leads = {
        lead["provider_id"]: lead for lead in await world.rows("lead_purchases", service_request_id=UUID(request_id))
    }
    (request,) = await world.rows("service_requests", id=UUID(request_id))
    assert request["buyers_count"] == len(leads)
    ended = request["status"] in {Status.CANCELLED, Status.EXPIRED}
    for person, funds, now in zip(people, before, await balances(world, people), strict=True):
        lead = leads.get(person.id)
        if lead is not None:
            assert (lead["status"] == "REFUNDED") == (ended and lead["worked_at"] is None)
        paid = FEE if lead is not None and lead["status"] != "REFUNDED" else 0
        assert now == funds - paid
    await world.books_are_clean()


def no_surprise(answers: Sequence[httpx.Response]) -> None:
    """A lost race is a 404 or a 409: never a 500, never a 503."""
    assert {answer.status_code for answer in answers} <= {200, 201, 404, 409}


async def test_cancel_refunds_those_who_had_not_begun(world: World, cast: Cast) -> None:
    # Given two buyers, of whom one has begun to work
    request_id = await cast.request(Status.IN_PROGRESS)
    before = await balances(world, [cast.winner, cast.purchaser])
    # When the customer cancels
    await succeed(cast.customer.post(f"{PATH}/{request_id}/cancel", REASON))
    # Then the other one has the fee back, is told so, and the entry reverses the fee exactly
    assert await balances(world, [cast.winner, cast.purchaser]) == [before[0], before[1] + FEE]
    refunded, kept = None, None
    for lead in await world.rows("lead_purchases", service_request_id=UUID(request_id)):
        refunded, kept = (lead, kept) if lead["provider_id"] == cast.purchaser.id else (refunded, lead)
    assert refunded is not None
    assert kept is not None
    assert (refunded["status"], kept["status"]) == ("REFUNDED", "PAID")
    assert (await world.told(str(refunded["id"])))[-1] == ("lead.refunded", {cast.purchaser.id})
    (fee,) = await world.rows("entries", idempotency_key=f"lead_fee:{refunded['id']}")
    (refund,) = await world.rows("entries", reverses_id=fee["id"])
    assert (refund["kind"], refund["actor_id"]) == ("lead_fee_reversal", cast.customer.id)
    assert (await world.rows("entries", idempotency_key=f"lead_fee:{kept['id']}")) != []
    await world.books_are_clean()


async def test_work_that_was_sent_back_is_work(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.COMPLETED)
    await succeed(cast.customer.post(f"{PATH}/{request_id}/send-back", REASON))
    before = await balances(world, [cast.winner, cast.purchaser])
    await succeed(cast.customer.post(f"{PATH}/{request_id}/cancel", REASON))
    assert await balances(world, [cast.winner, cast.purchaser]) == [before[0], before[1] + FEE]


async def test_cancelling_twenty_times_at_once_refunds_once(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    before = await balances(world, [cast.winner, cast.purchaser])
    answers = await asyncio.gather(*(cast.customer.post(f"{PATH}/{request_id}/cancel", REASON) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    assert await balances(world, [cast.winner, cast.purchaser]) == [before[0] + FEE, before[1] + FEE]
    assert [name for name, _ in await world.told(request_id)].count("service_request.cancelled") == 1
    await world.books_are_clean()


async def test_cancel_against_a_hundred_buyers(world: World, cast: Cast, crowd: list[Person]) -> None:
    # Given a request that all may buy
    request_id = await big_request(world, cast.customer)
    before = await balances(world, crowd)
    # When a hundred buy while the customer cancels, ten times over
    calls = [person.post(f"{PATH}/{request_id}/purchase") for person in crowd]
    calls[30:30] = [cast.customer.post(f"{PATH}/{request_id}/cancel", REASON) for _ in range(10)]
    answers = list(await asyncio.gather(*calls))
    # Then one cancellation came through, and whoever bought before it has the money back
    no_surprise(answers)
    assert Counter(answer.status_code for answer in answers)[200] == 1
    assert await status_of(world, request_id) is Status.CANCELLED
    bought = sum(answer.status_code == 201 for answer in answers)
    assert bought == len(await world.rows("lead_purchases", service_request_id=UUID(request_id)))
    assert await balances(world, crowd) == before
    await check_refunds(world, request_id, crowd, before)


@pytest.mark.parametrize("seed", range(3))
async def test_cancel_against_forty_completions(world: World, cast: Cast, crowd: list[Person], seed: int) -> None:
    # Given forty buyers, each with a proof
    request_id = await big_request(world, cast.customer)
    buyers = crowd[seed * 30 : seed * 30 + 40]
    await asyncio.gather(*(succeed(person.post(f"{PATH}/{request_id}/purchase")) for person in buyers))
    proofs = await asyncio.gather(*(person.upload() for person in buyers))
    before = [funds + FEE for funds in await balances(world, buyers)]
    # When they complete, begin, and the customer cancels, all at once and in any order
    calls = [
        person.post(f"{PATH}/{request_id}/complete", {"proof_id": proof})
        for person, proof in zip(buyers, proofs, strict=True)
    ]
    calls += [person.post(f"{PATH}/{request_id}/start") for person in buyers[:10]]
    calls += [cast.customer.post(f"{PATH}/{request_id}/cancel", REASON) for _ in range(20)]
    random.Random(seed).shuffle(calls)
    answers = list(await asyncio.gather(*calls))
    # Then it ended in one way, and the books say so too
    no_surprise(answers)
    status = await status_of(world, request_id)
    assert status in {Status.COMPLETED, Status.CANCELLED}
    trail = Counter(step["action"] for step in await world.trail(request_id))
    assert trail["complete"] + trail["cancel"] == 1
    assert Counter(answer.status_code for answer in answers)[200] == trail["start"] + 1
    await check_refunds(world, request_id, buyers, before)


@pytest.mark.parametrize("seed", range(4))
async def test_expiry_against_everybody(world: World, cast: Cast, crowd: list[Person], seed: int) -> None:
    # Given a request with buyers that is due to expire
    request_id = await big_request(world, cast.customer)
    buyers, others = crowd[:10], crowd[10:50]
    before = await balances(world, crowd[:50])
    await asyncio.gather(*(succeed(person.post(f"{PATH}/{request_id}/purchase")) for person in buyers))
    proofs = await asyncio.gather(*(person.upload() for person in buyers))
    await make_due(world, request_id)
    # When four clocks tick while others buy and, from the second round on, complete and cancel
    calls = [person.post(f"{PATH}/{request_id}/purchase") for person in others]
    if seed >= 1:
        calls += [
            person.post(f"{PATH}/{request_id}/complete", {"proof_id": proof})
            for person, proof in zip(buyers, proofs, strict=True)
        ]
    if seed >= 2:
        calls += [cast.customer.post(f"{PATH}/{request_id}/cancel", REASON) for _ in range(10)]
    random.Random(seed).shuffle(calls)
    ticking = asyncio.gather(*(clock.tick(world.platform) for _ in range(4)))
    answers = await asyncio.gather(*calls)
    await ticking
    # Then it ended in one way at most, and the books say so too
    no_surprise(answers)
    trail = Counter(step["action"] for step in await world.trail(request_id))
    assert trail["expire"] + trail["complete"] + trail["cancel"] <= 1
    if trail["expire"]:
        assert await status_of(world, request_id) is Status.EXPIRED
    # A purchase that came before the clock has put the deadline off by thirty days.
    deadlines = await world.rows("deadlines", subject_id=UUID(request_id))
    assert len(deadlines) == (await status_of(world, request_id) in OPEN)
    assert [deadline["failures"] for deadline in deadlines] in ([], [0])
    await check_refunds(world, request_id, crowd[:50], before)


async def test_a_purchase_in_the_last_moment_puts_the_expiry_off(world: World, cast: Cast) -> None:
    """The clock has the deadline in hand and waits for the request, which somebody is just buying."""
    request_id = await cast.request(Status.PENDING)
    await make_due(world, request_id)
    # Given a purchase that is not committed yet: it holds the request, and has moved the deadline
    async with world.platform.database.write() as session:
        connection = await world.hold(session, request_id)
        # When the clock ticks and has to wait
        ticking = asyncio.create_task(clock.tick(world.platform))
        await world.waits(1)
        await connection.execute(
            "UPDATE deadlines SET due_at = now() + interval '30 days' WHERE subject_id = $1", UUID(request_id)
        )
    # Then it finds, when the purchase is through, that nothing is due
    await ticking
    assert await status_of(world, request_id) is Status.PENDING
    (deadline,) = await world.rows("deadlines", subject_id=UUID(request_id))
    assert deadline["failures"] == 0


async def test_cancelling_many_requests_of_the_same_buyers_at_once(
    world: World, cast: Cast, crowd: list[Person]
) -> None:
    # Given twenty requests that the same five have bought, each in another order
    buyers = crowd[:5]
    requests = [await world.request(cast.customer) for _ in range(20)]
    before = await balances(world, buyers)
    order = random.Random(7)

    async def sell(request_id: str, queue: list[Person]) -> None:
        for buyer in queue:
            await succeed(buyer.post(f"{PATH}/{request_id}/purchase"))

    await asyncio.gather(*(sell(request_id, order.sample(buyers, 5)) for request_id in requests))
    # When all are cancelled at once, then nobody is in anybody's way
    answers = await asyncio.gather(*(cast.customer.post(f"{PATH}/{each}/cancel", REASON) for each in requests))
    assert {answer.status_code for answer in answers} == {200}
    assert await balances(world, buyers) == before
    await world.books_are_clean()


async def test_cancelling_while_a_report_is_accepted_refunds_once(world: World, cast: Cast) -> None:
    for _ in range(5):
        # Given a request with two buyers, one of whom has reported the lead
        request_id = await cast.request(Status.PURCHASED)
        before = await balances(world, [cast.winner, cast.purchaser])
        leads = await world.rows("lead_purchases", service_request_id=UUID(request_id))
        lead_id = next(str(lead["id"]) for lead in leads if lead["provider_id"] == cast.purchaser.id)
        await succeed(cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", {"reason": "spam", "note": "x"}))
        # When support accepts the report in the moment of the cancellation
        cancelled, accepted = await asyncio.gather(
            cast.customer.post(f"{PATH}/{request_id}/cancel", REASON),
            cast.support.post(f"/api/v1/leads/{lead_id}/accept-report", REASON),
        )
        # Then the request is cancelled, and the fee came back once
        assert cancelled.status_code == 200, cancelled.text
        assert accepted.status_code in {200, 409}
        assert await balances(world, [cast.winner, cast.purchaser]) == [before[0] + FEE, before[1] + FEE]
    await world.books_are_clean()


async def test_a_report_that_is_being_accepted_does_not_stop_the_cancellation(world: World, cast: Cast) -> None:
    """The same, with the accepted report certainly between the cancellation's look and its refund."""
    request_id = await cast.request(Status.PURCHASED)
    before = await balances(world, [cast.winner, cast.purchaser])
    (lead_id,) = [
        lead["id"]
        for lead in await world.rows("lead_purchases", service_request_id=UUID(request_id))
        if lead["provider_id"] == cast.purchaser.id
    ]
    await succeed(cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", {"reason": "spam", "note": "x"}))
    # Given a decision that is under way: the lead is locked
    async with world.platform.database.write() as session:
        connection = await world.hold(session, str(lead_id), table="lead_purchases")
        cancelling = asyncio.create_task(cast.customer.post(f"{PATH}/{request_id}/cancel", REASON))
        await world.waits(1)
        # When it says that the lead was refunded
        await connection.execute("UPDATE lead_purchases SET status = 'REFUNDED' WHERE id = $1", lead_id)
    # Then the cancellation refunds the other buyer only
    answer = await cancelling
    assert answer.status_code == 200, answer.text
    assert await balances(world, [cast.winner, cast.purchaser]) == [before[0] + FEE, before[1]]

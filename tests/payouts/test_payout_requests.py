"""Requesting payouts: who may, how much, and that money for one is paid out once (money.md: payout)."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.core.actor import Actor
from app.core.config import settings
from app.core.money import InsufficientFunds
from app.kernel import ledger
from app.models.ledger import AccountKind
from app.models.payouts import PayoutProfileStatus as ProfileStatus
from app.models.payouts import PayoutStatus
from app.services.payouts import requests
from app.services.payouts.access import AccountNotActive
from app.services.payouts.lifecycle import LIFECYCLE, PayoutOpen
from tests.payouts.steps import (
    FUNDS,
    PAYOUTS,
    PROFILE,
    REASON,
    bank_account,
    decide,
    entries_of,
    escrow_of,
    hand_in,
    payout_of,
    request,
    review,
    somebody,
    succeed,
    with_profile,
)
from tests.support.world import World


async def test_the_money_waits_in_an_escrow_of_its_own(world: World) -> None:
    # Given a verified owner with ₹1000
    owner = await with_profile(world)
    profile = (await owner.get(PROFILE)).json()
    # When they ask for ₹400
    answer = await request(owner, 400_00)
    # Then it has left the wallet, and is on its way to the account that is verified now
    payout = answer.json()
    assert answer.status_code == 201
    assert (payout["status"], payout["amount_minor"], payout["currency"]) == ("REQUESTED", 400_00, "INR")
    destination = ("holder_name", "ifsc", "account_last4")
    assert [payout[name] for name in destination] == [profile[name] for name in destination]
    assert await world.balance(owner) == FUNDS - 400_00
    assert await escrow_of(world, payout["id"]) == 400_00
    assert await entries_of(world, payout["id"]) == ["payout"]
    assert (await owner.get(f"{PAYOUTS}/{payout['id']}")).json() == payout
    # And owner and admins hear of it
    ((name, heard),) = await world.told(payout["id"])
    assert (name, {owner.id, world.admin.id} <= heard) == ("payout.requested", True)
    await world.books_are_clean()


async def test_without_an_amount_it_is_all_that_there_is(world: World) -> None:
    owner = await with_profile(world, funds_minor=123_45)
    assert (await request(owner)).json()["amount_minor"] == 123_45
    assert await world.balance(owner) == 0


async def test_all_that_there_is_is_bounded_by_what_one_payout_may_carry(world: World) -> None:
    most = settings().payout_maximum_minor
    owner = await with_profile(world, funds_minor=most + 7)
    assert (await request(owner)).json()["amount_minor"] == most
    assert await world.balance(owner) == 7


@pytest.mark.parametrize("status", [None, ProfileStatus.PENDING, ProfileStatus.RESTRICTED, ProfileStatus.REJECTED])
async def test_an_owner_who_is_not_verified_gets_nothing(world: World, status: ProfileStatus | None) -> None:
    owner = await (with_profile(world, status) if status else somebody(world))
    async with world.unchanged():
        answer = await request(owner, 400_00)
    assert (answer.status_code, answer.json()["code"]) == (409, "payout_profile_not_verified")
    assert answer.json()["profile_status"] == (status or "none")


async def test_an_account_that_was_suspended_meanwhile_gets_nothing(world: World) -> None:
    # Given an owner who is suspended while the request is on its way
    owner = await with_profile(world)
    assert (await world.admin.post(f"/api/v1/admin/users/{owner.id}/suspend", REASON)).is_success
    async with world.unchanged():
        # When it arrives, then the money stays, and over HTTP the session has ended
        with pytest.raises(AccountNotActive):
            async with world.platform.database.write() as session:
                await requests.request(session, Actor(owner.id), None)
        assert (await request(owner)).status_code == 401
        assert (await hand_in(owner)).status_code == 401


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        (1, 422, "payout_too_small"),
        (99_99, 422, "payout_too_small"),
        (10_00_000_00 + 1, 422, "payout_too_large"),
        (FUNDS + 1, 409, "insufficient_funds"),
    ],
)
async def test_an_amount_has_its_bounds(world: World, amount: int, status: int, code: str) -> None:
    owner = await with_profile(world)
    async with world.unchanged():
        answer = await request(owner, amount)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("amount", [0, -1, 1.5, 400.0, "40000", True, [], 10**15 + 1, 2**63, 10**40, "'; --", "NaN"])
async def test_an_amount_that_is_none_is_refused(world: World, amount: Any) -> None:
    owner = await with_profile(world)
    async with world.unchanged():
        answer = await request(owner, amount)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("funds", [0, 99_99])
async def test_of_too_little_there_is_no_payout_of_everything(world: World, funds: int) -> None:
    owner = await with_profile(world, funds_minor=funds)
    async with world.unchanged():
        answer = await request(owner)
    assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_funds")
    assert answer.json()["minimum_minor"] == settings().payout_minimum_minor


async def test_the_smallest_payout_is_made(world: World) -> None:
    owner = await with_profile(world, funds_minor=100_00)
    assert (await request(owner, 100_00)).status_code == 201


async def test_one_at_a_time(world: World) -> None:
    owner = await with_profile(world)
    payout_id = (await request(owner, 200_00)).json()["id"]
    async with world.unchanged():
        answer = await request(owner, 200_00)
    assert (answer.status_code, answer.json()["code"]) == (409, "payout_open")
    # Once it is decided, there is room for the next
    await succeed(await review(world.admin, payout_id, "send"))
    assert (await request(owner, 200_00)).status_code == 201


async def test_fifty_requests_at_once_with_money_for_one_make_one(world: World) -> None:
    # Given money for one payout
    owner = await with_profile(world, funds_minor=150_00)
    # When fifty are requested at the same instant
    answers = await asyncio.gather(*(request(owner, 100_00) for _ in range(50)))
    # Then one is made, and the money is there once
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"payout_open"}
    (payout,) = await world.rows("payouts", owner_id=owner.id)
    assert await world.balance(owner) == 50_00
    assert await escrow_of(world, str(payout["id"])) == 100_00
    await world.books_are_clean()


async def test_money_that_is_spent_at_the_same_instant_is_not_paid_out_too(world: World) -> None:
    # Given a wallet that others empty at the same time
    owner = await with_profile(world, funds_minor=100_00)

    async def spend() -> bool:
        wallet, fees = ledger.wallet(owner.id, "INR"), ledger.platform(AccountKind.FEES, "INR")
        try:
            async with world.platform.database.write() as session:
                await ledger.transfer(session, "test", wallet, fees, 60_00, idempotency_key=str(uuid4()))
        except InsufficientFunds:
            return False
        return True

    # When a payout of everything and ten purchases meet
    payout, spent = await asyncio.gather(request(owner, 100_00), asyncio.gather(*(spend() for _ in range(10))))
    # Then one of them has the money
    assert payout.status_code in {201, 409}
    assert sum(spent) == (0 if payout.is_success else 1)
    assert await world.balance(owner) == (0 if payout.is_success else 40_00)
    await world.books_are_clean()


async def test_a_repeated_request_is_answered_and_not_made_twice(world: World) -> None:
    owner = await with_profile(world)
    key = {"Idempotency-Key": "payout-of-today"}
    first = await request(owner, 200_00, headers=key)
    async with world.unchanged():
        again = await request(owner, 200_00, headers=key)
    assert (again.content, again.status_code) == (first.content, 201)
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("body", [None, [], {"amount": 5}, {"amount_minor": 200_00, "currency": "USD"}, "text"])
async def test_a_request_of_another_shape_is_refused(world: World, body: Any) -> None:
    owner = await with_profile(world)
    async with world.unchanged():
        assert (await owner.post(PAYOUTS, body)).status_code == 422


async def test_a_frozen_destination_does_not_follow_the_profile(world: World) -> None:
    owner = await with_profile(world)
    payout_id = (await request(owner)).json()["id"]
    before = (await owner.get(f"{PAYOUTS}/{payout_id}")).json()
    await succeed(await hand_in(owner, bank_account(ifsc="SBIN0000001", holder_name="Another")))
    await succeed(await decide(world.admin, owner, "verify"))
    assert (await owner.get(f"{PAYOUTS}/{payout_id}")).json() == before


async def test_the_own_payouts_come_page_by_page_newest_first(world: World) -> None:
    # Given three payouts in each status, and one of somebody else
    owner, other = await with_profile(world, funds_minor=900_00), await with_profile(world)
    made = []
    for action in ("send", "fail", None):
        made.append((await succeed(await request(owner, 100_00)))["id"])
        if action:
            await succeed(await review(world.admin, made[-1], action))
    await payout_of(world, other, PayoutStatus.REQUESTED)
    # When they are leafed through
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = (await owner.get(PAYOUTS, params=params)).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    # Then each comes once, and by status if one is named
    assert seen == made[::-1]
    for status, payout_id in zip(("SENT", "FAILED", "REQUESTED"), made, strict=True):
        (item,) = (await owner.get(PAYOUTS, params={"status": status})).json()["items"]
        assert item["id"] == payout_id


@pytest.mark.parametrize(
    "params", [{"cursor": "nonsense"}, {"limit": 0}, {"limit": 101}, {"status": "sent"}, {"owner_id": 2}], ids=str
)
@pytest.mark.parametrize("path", [PAYOUTS, "/api/v1/admin/payouts"])
async def test_a_list_that_is_asked_for_wrongly_is_a_422(world: World, path: str, params: dict[str, Any]) -> None:
    assert (await world.admin.get(path, params=params)).status_code == 422


async def test_the_wall_behind_one_at_a_time(world: World) -> None:
    """Should any code forget to look, the index refuses a second one."""
    owner = await with_profile(world)
    payout_id = (await request(owner)).json()["id"]
    (row,) = await world.rows("payouts", id=UUID(payout_id))
    copied = ("owner_id", "amount_minor", "currency", "holder_name", "ifsc", "account_last4", "profile_revision")
    async with world.unchanged():
        with pytest.raises(PayoutOpen):
            async with world.platform.database.write() as session:
                await LIFECYCLE.create(session, Actor(owner.id), {"id": uuid4()} | {name: row[name] for name in copied})

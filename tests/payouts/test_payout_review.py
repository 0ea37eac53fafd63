"""Reviewing payouts: sent once or back to the wallet, and only to the account that was reviewed (money.md: payout)."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.models.payouts import PayoutStatus as Status
from app.models.users import Role
from tests.payouts.steps import (
    FUNDS,
    REASON,
    decide,
    entries_of,
    escrow_of,
    hand_in,
    payout_of,
    request,
    review,
    succeed,
    with_profile,
)
from tests.support.world import World


async def clearing(world: World, payout_id: str) -> int:
    """What the payout moved on the platform's clearing account, in minor units."""
    lines = [
        line
        for entry in await world.rows("entries", subject_id=UUID(payout_id))
        for line in await world.rows("postings", entry_id=entry["id"])
    ]
    platform = {row["id"] for row in await world.rows("accounts", kind="clearing")}
    return sum(int(line["amount"]) for line in lines if line["account_id"] in platform)


async def test_what_is_sent_has_left_the_platform_with_the_banks_reference(world: World) -> None:
    owner = await with_profile(world)
    payout_id = await payout_of(world, owner, Status.REQUESTED)
    answer = await review(world.admin, payout_id, "send")
    payout = answer.json()
    assert (answer.status_code, payout["status"], payout["reference"]) == (200, "SENT", "UTR-2026/001")
    assert payout["sent_at"] is not None
    assert await world.balance(owner) == 0
    assert await escrow_of(world, payout_id) == 0
    assert await clearing(world, payout_id) == FUNDS
    assert (await world.told(payout_id))[-1] == ("payout.sent", {owner.id})
    (*_, last) = await world.trail(payout_id)
    assert (last["action"], last["from_status"], last["to_status"]) == ("send", "REQUESTED", "SENT")
    assert last["actor_id"] == world.admin.id
    await world.books_are_clean()


@pytest.mark.parametrize(
    ("status", "action", "event", "entries"),
    [
        (Status.REQUESTED, "fail", "payout.failed", ["payout", "payout_reversal"]),
        (Status.SENT, "return", "payout.returned", ["payout", "payout_sent", "payout_returned"]),
    ],
)
async def test_what_fails_is_back_in_the_wallet_exactly(
    world: World, status: Status, action: str, event: str, entries: list[str]
) -> None:
    # Given an odd amount, requested or sent
    owner = await with_profile(world, funds_minor=1_234_57)
    payout_id = (await request(owner, 777_77)).json()["id"]
    if status is Status.SENT:
        await succeed(await review(world.admin, payout_id, "send"))
    # When it fails
    answer = await review(world.admin, payout_id, action)
    # Then every paisa is back, nothing is left on the way, and the owner hears why
    payout = answer.json()
    assert (answer.status_code, payout["status"], payout["failure_reason"]) == (200, "FAILED", REASON["reason"])
    assert (payout["reference"] is None) == (status is Status.REQUESTED)
    assert await world.balance(owner) == 1_234_57
    assert await escrow_of(world, payout_id) == 0
    assert await clearing(world, payout_id) == 0
    assert await entries_of(world, payout_id) == entries
    assert (await world.told(payout_id))[-1] == (event, {owner.id})
    # And it can be requested again
    assert (await request(owner, 777_77)).status_code == 201
    await world.books_are_clean()


async def test_of_two_hundred_reviewers_at_once_one_decides(world: World) -> None:
    # Given one payout
    owner = await with_profile(world)
    payout_id = await payout_of(world, owner, Status.REQUESTED)
    # When a hundred send it and a hundred fail it at the same instant
    answers = await asyncio.gather(
        *(review(world.admin, payout_id, ("send", "fail")[number % 2]) for number in range(200))
    )
    # Then one outcome stands, with one entry and one event
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 199}
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"illegal_transition"}
    outcome = next(answer.json()["status"] for answer in answers if answer.is_success)
    assert len(await entries_of(world, payout_id)) == 2
    assert len(await world.told(payout_id)) == 2
    assert await escrow_of(world, payout_id) == 0
    assert await world.balance(owner) == (0 if outcome == "SENT" else FUNDS)
    await world.books_are_clean()


async def test_what_the_bank_returned_comes_back_once(world: World) -> None:
    owner = await with_profile(world)
    payout_id = await payout_of(world, owner, Status.SENT)
    answers = await asyncio.gather(*(review(world.admin, payout_id, "return") for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 49}
    assert await world.balance(owner) == FUNDS
    await world.books_are_clean()


async def test_a_review_that_is_repeated_with_its_key_is_answered_again(world: World) -> None:
    owner = await with_profile(world)
    payout_id = await payout_of(world, owner, Status.REQUESTED)
    key = {"Idempotency-Key": f"send-{payout_id}"}
    first = await review(world.admin, payout_id, "send", headers=key)
    again = await review(world.admin, payout_id, "send", headers=key)
    assert (first.status_code, again.content) == (200, first.content)
    assert len(await entries_of(world, payout_id)) == 2


async def test_an_admin_does_not_send_the_own_payout(world: World) -> None:
    admin = await world.person(Role.ADMIN)
    await succeed(await hand_in(admin))
    async with world.unchanged():
        assert (await decide(admin, admin, "verify")).status_code == 403
    await succeed(await decide(world.admin, admin, "verify"))
    body = {"amount_minor": FUNDS, "reason": "for the test"}
    await succeed(await world.admin.post(f"/api/v1/admin/users/{admin.id}/top-ups", body))
    payout_id = (await request(admin)).json()["id"]
    async with world.unchanged():
        for action in ("send", "fail"):
            assert (await review(admin, payout_id, action)).json()["code"] == "forbidden"
    assert (await review(world.admin, payout_id, "send")).status_code == 200


async def test_while_the_owner_is_restricted_nothing_is_sent(world: World) -> None:
    # Given a requested payout whose owner is restricted
    owner = await with_profile(world)
    payout_id = await payout_of(world, owner, Status.REQUESTED)
    await succeed(await decide(world.admin, owner, "restrict"))
    # When it is sent, then it stays, and could be failed
    async with world.unchanged():
        answer = await review(world.admin, payout_id, "send")
    assert (answer.status_code, answer.json()["code"]) == (409, "payout_profile_not_verified")
    assert answer.json()["allowed_actions"] == ["fail"]
    # And once the owner is verified again, it goes
    await succeed(await decide(world.admin, owner, "verify"))
    assert (await review(world.admin, payout_id, "send")).status_code == 200


async def test_after_another_bank_account_was_handed_in_it_can_only_fail(world: World) -> None:
    owner = await with_profile(world)
    payout_id = await payout_of(world, owner, Status.REQUESTED)
    await succeed(await hand_in(owner))
    # Given an account that waits, then one that is verified
    for code in ("payout_profile_not_verified", "payout_destination_changed"):
        async with world.unchanged():
            answer = await review(world.admin, payout_id, "send")
        assert (answer.status_code, answer.json()["code"]) == (409, code)
        await decide(world.admin, owner, "verify")
    # When it fails, then the money goes where the owner wants it now
    await succeed(await review(world.admin, payout_id, "fail"))
    again = await payout_of(world, owner, Status.SENT)
    assert await entries_of(world, again) == ["payout", "payout_sent"]
    await world.books_are_clean()


async def test_a_restriction_that_is_being_made_is_waited_for(world: World) -> None:
    # Given a transaction that restricts the owner and has not committed
    owner = await with_profile(world)
    payout_id = await payout_of(world, owner, Status.REQUESTED)
    async with world.platform.database.write() as session:
        connection = await world.hold(session, str(owner.id), "payout_profiles")
        await connection.execute(
            "UPDATE payout_profiles SET status = 'restricted', status_reason = 'x' WHERE id = $1", owner.id
        )
        # When the payout is sent meanwhile
        sending = asyncio.create_task(review(world.admin, payout_id, "send"))
        await world.waits(1)
    # Then it is refused
    answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (409, "payout_profile_not_verified")


@pytest.mark.parametrize(
    "reference", [None, "", "abc", "x" * 65, "UTR 1", "=1+1,", "UTR\n12", "UTR\x0012", 12345678, "'; --"]
)
async def test_a_reference_has_its_form(world: World, reference: Any) -> None:
    payout_id = await payout_of(world, await with_profile(world), Status.REQUESTED)
    async with world.unchanged():
        answer = await world.admin.post(f"/api/v1/admin/payouts/{payout_id}/send", {"reference": reference})
    assert answer.status_code == 422


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": "x" * 2001}, {"reason": "x", "more": 1}])
@pytest.mark.parametrize("action", ["fail", "return"])
async def test_a_failure_needs_a_reason(world: World, action: str, body: Any) -> None:
    payout_id = await payout_of(world, await with_profile(world), Status.REQUESTED)
    async with world.unchanged():
        assert (await world.admin.post(f"/api/v1/admin/payouts/{payout_id}/{action}", body)).status_code == 422


@pytest.mark.parametrize("action", ["send", "fail", "return"])
async def test_a_payout_that_there_is_not_is_a_404(world: World, action: str) -> None:
    async with world.unchanged():
        assert (await review(world.admin, str(uuid4()), action)).status_code == 404
        assert (await review(world.admin, "not-an-id", action)).status_code == 422


async def test_the_queue_shows_what_waits_unless_another_status_is_named(world: World) -> None:
    waiting = await payout_of(world, await with_profile(world), Status.REQUESTED)
    sent = await payout_of(world, await with_profile(world), Status.SENT)

    async def newest(**params: str) -> str:
        page = (await world.support.get("/api/v1/admin/payouts", params={"limit": 1} | params)).json()
        return str(page["items"][0]["id"])

    assert await newest() == waiting
    assert await newest(status="SENT") == sent

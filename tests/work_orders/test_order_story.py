"""A work order from purchase to payment, and what each step records, moves and tells (work-orders.md, the table)."""

import asyncio
from uuid import UUID

import pytest

from app.core.config import settings
from app.jobs import clock
from app.kernel import files, subjects
from app.models.users import Role
from app.models.work_orders import WorkOrderStatus as Status
from tests.support.world import World, picture
from tests.work_orders import steps
from tests.work_orders.conftest import Cast
from tests.work_orders.steps import NOTES, PATH, PRICE, do, held_by


async def test_the_money_moves_only_when_the_second_round_of_evidence_is_approved(cast: Cast, world: World) -> None:
    # Given a buyer with 500 GOLD and a booster with none
    buyer, booster = await steps.buyer(world, PRICE), await world.person(Role.BOOSTER)
    advertiser, mate = await steps.advertiser(world), await steps.advertiser(world)
    team_id, _ = await steps.team(advertiser, mate)
    offered = await steps.service(advertiser, team_id=team_id)

    async def balances(order_id: str) -> tuple[int, int, int]:
        held = await held_by(world, UUID(order_id), "escrow")
        return await held_by(world, buyer.id), held, await held_by(world, booster.id)

    # When the order is bought, assigned, begun, handed in, reviewed, rejected, handed in again
    order_id = await steps.buy(buyer, offered)
    assert await balances(order_id) == (0, PRICE, 0)
    await do(mate, order_id, "assign", {"booster_id": str(booster.id)})
    await do(booster, order_id, "start")
    first = await steps.evidence(booster, images=2)
    await do(booster, order_id, "submit", first)
    await do(advertiser, order_id, "open_review")
    rejected = await do(mate, order_id, "reject", {"reason": "No timer.", "category": "unclear_evidence"})
    assert (rejected["rejection_reason"], rejected["rejection_category"]) == ("No timer.", "unclear_evidence")
    second = await steps.evidence(booster)
    again = await do(booster, order_id, "submit", second)
    assert (again["rejection_reason"], again["reviewer_id"], again["rounds_count"]) == (None, None, 2)
    # Then nothing has moved yet
    assert await balances(order_id) == (0, PRICE, 0)
    # and the approval pays the booster all of it: the house takes no commission of its own money
    done = await do(advertiser, order_id, "approve")
    assert await balances(order_id) == (0, 0, PRICE)
    assert (done["status"], done["earned_minor"], done["refunded_minor"]) == ("COMPLETED", PRICE, 0)
    assert done["reviewed_by"] == str(advertiser.id)
    # and every round is kept: images, notes, verdict
    rounds = await steps.succeed(booster.get(f"{PATH}/{order_id}/evidence"))
    assert [(r["number"], r["notes"], r["image_ids"], r["verdict"], r["verdict_reason"]) for r in rounds] == [
        (1, NOTES, first["image_ids"], "rejected", "No timer."),
        (2, NOTES, second["image_ids"], "approved", None),
    ]
    # and each step told whom it concerns
    support = {row["user_id"] for role in ("support", "admin") for row in await world.rows("user_roles", role=role)}
    team = {advertiser.id, mate.id}
    told = await world.told(order_id)
    assert [(name, people - support) for name, people in told] == [
        ("work_order.created", team),
        ("work_order.assigned", {booster.id}),
        ("work_order.started", {buyer.id}),
        ("work_order.evidence_submitted", team),
        ("work_order.review_started", {booster.id}),
        ("work_order.rejected", {booster.id}),
        ("work_order.evidence_submitted", team),
        ("work_order.completed", {booster.id, buyer.id, advertiser.id}),
    ]
    assert {cast.support.id, cast.admin.id} <= told[3][1]
    assert [step["action"] for step in await world.trail(order_id)] == [
        "create", "assign", "start", "submit", "open_review", "reject", "submit", "approve",
    ]  # fmt: skip
    await world.books_are_clean()


async def test_reviewers_who_are_told_are_neither_the_booster_nor_the_buyer(cast: Cast, world: World) -> None:
    boosting, buying = await world.person(Role.SUPPORT, Role.BOOSTER), await world.person(Role.SUPPORT)
    await steps.top_up(world, buying, PRICE)
    order_id = await cast.order(Status.EVIDENCE_SUBMITTED, booster=boosting, buyer=buying)
    (told,) = [people for name, people in await world.told(order_id) if name == "work_order.evidence_submitted"]
    assert told.isdisjoint({boosting.id, buying.id})
    assert {cast.advertiser.id, cast.team_mate.id, cast.support.id} <= told


async def test_the_advertiser_and_the_team_come_first_when_not_all_reviewers_may_be_told(
    cast: Cast, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    advertiser, mate = await steps.advertiser(world), await steps.advertiser(world)
    team_id, _ = await steps.team(advertiser, mate)
    offered = await steps.service(advertiser, team_id=team_id)
    few = settings().model_copy(update={"work_order_reviewers_notified": 2})
    monkeypatch.setattr("app.kernel.lifecycle.settings", lambda: few)
    order_id = await steps.bring(
        world,
        Status.EVIDENCE_SUBMITTED,
        buyer=cast.buyer,
        booster=cast.booster,
        manager=world.admin,
        offered=offered,
    )
    assert (await world.told(order_id))[-1] == ("work_order.evidence_submitted", {advertiser.id, mate.id})


async def test_evidence_is_locked_once_it_is_handed_in(cast: Cast, world: World) -> None:
    # Given evidence under review
    order_id = await cast.order(Status.UNDER_REVIEW)
    [before] = await world.rows("evidence_rounds", subject_id=UUID(order_id))
    more = await steps.evidence(cast.booster)
    # When the booster hands in more, the same again, nothing, somebody else's, or what is no evidence
    async with world.unchanged():
        late = await cast.booster.post(f"{PATH}/{order_id}/submit", more)
        assert (late.status_code, late.json()["code"]) == (409, "illegal_transition")
    assert await world.rows("evidence_rounds", subject_id=UUID(order_id)) == [before]
    await do(cast.admin, order_id, "reject", {"reason": "Again."})
    theirs = await steps.evidence(cast.other_booster)
    used = {"image_ids": [str(image) for image in before["image_ids"]], "notes": NOTES}
    proof = {"image_ids": [await cast.booster.upload("proof")], "notes": NOTES}
    # Then it is refused, and nothing appears
    async with world.unchanged():
        for refused in (theirs, used, proof):
            answer = await cast.booster.post(f"{PATH}/{order_id}/submit", refused)
            assert (answer.status_code, answer.json()["code"]) == (422, "evidence_refused")
        for refused in ({"image_ids": [], "notes": NOTES}, {"image_ids": more["image_ids"], "notes": " "}):
            assert (await cast.booster.post(f"{PATH}/{order_id}/submit", refused)).status_code == 422
        small = await cast.booster.post(
            "/api/v1/files", data={"purpose": "evidence"}, files={"file": ("small.png", picture(799, 600, "PNG"))}
        )
        assert small.is_client_error
    await do(cast.booster, order_id, "submit", more)


async def test_evidence_is_erased_30_days_after_the_end_and_the_record_of_the_round_remains(
    cast: Cast, world: World
) -> None:
    for status in (Status.COMPLETED, Status.CANCELLED):
        # Given an order that is closed, with evidence
        order_id = await cast.order(Status.EVIDENCE_SUBMITTED)
        action, body = ("approve", None) if status is Status.COMPLETED else ("cancel", {"reason": "no"})
        await do(cast.support, order_id, action, body)
        [round_] = await world.rows("evidence_rounds", subject_id=UUID(order_id))
        (image_id,) = round_["image_ids"]
        [deadline] = await world.rows("deadlines", subject_id=UUID(order_id))
        assert deadline["kind"] == "erase_evidence"
        assert round((deadline["due_at"] - round_["submitted_at"]).total_seconds() / 3600) == 30 * 24
        assert (await cast.advertiser.get(f"/api/v1/files/{image_id}")).is_success
        # When 30 days pass
        await world.execute("UPDATE deadlines SET due_at = now() WHERE subject_id = cast(:id AS uuid)", id=order_id)
        assert await clock.tick(world.platform) >= 1
        await files.sweep(world.platform)
        # Then the image is gone, and what was said of it is not
        assert (await cast.advertiser.get(f"/api/v1/files/{image_id}")).status_code == 404
        assert str(image_id) not in await world.platform.storage.keys()
        [kept] = await steps.succeed(cast.booster.get(f"{PATH}/{order_id}/evidence"))
        assert (kept["notes"], kept["images_erased_at"] is not None) == (NOTES, True)


async def test_another_booster_may_be_assigned_until_the_work_has_begun(cast: Cast, world: World) -> None:
    order_id = await cast.order(Status.ASSIGNED)
    await do(cast.support, order_id, "assign", {"booster_id": str(cast.other_booster.id)})
    async with world.unchanged():
        assert (await cast.booster.post(f"{PATH}/{order_id}/start")).status_code == 404
    await do(cast.other_booster, order_id, "start")
    async with world.unchanged():
        late = await cast.advertiser.post(f"{PATH}/{order_id}/assign", {"booster_id": str(cast.booster.id)})
        assert (late.status_code, late.json()["code"]) == (409, "illegal_transition")


async def test_whoever_is_replaced_hears_of_it_however_many_are_assigned_at_once(cast: Cast, world: World) -> None:
    # Given an order, and boosters of whom each is to do it
    order_id = await cast.order(Status.PENDING)
    boosters = [await world.person(Role.BOOSTER) for _ in range(4)]
    # When all are assigned at once, and one of them once more
    await asyncio.gather(
        *(do(cast.advertiser, order_id, "assign", {"booster_id": str(booster.id)}) for booster in boosters)
    )
    ((last,),) = [[row["booster_id"]] for row in await world.rows("work_orders", id=UUID(order_id))]
    await do(cast.advertiser, order_id, "assign", {"booster_id": str(last)})
    # Then all but the last hear, once, that it was given to another, for whom it is there no more
    told = [
        person for name, people in await world.told(order_id) if name == "work_order.unassigned" for person in people
    ]
    assert sorted(told) == sorted(booster.id for booster in boosters if booster.id != last)
    for booster in boosters:
        answer = await booster.get(f"{PATH}/{order_id}")
        assert answer.status_code == (200 if booster.id == last else 404)


async def test_a_rating_is_told_to_the_advertiser_and_quietly_to_who_sees_it(cast: Cast, world: World) -> None:
    order_id = await cast.order(Status.COMPLETED)
    await do(cast.buyer, order_id, "rate", {"rating": 4})
    (event,) = await world.rows("events", subject_id=UUID(order_id), name="work_order.rated")
    heard = {row["user_id"]: row["quiet"] for row in await world.rows("notifications", event_id=event["id"])}
    assert heard == {cast.advertiser.id: False, cast.buyer.id: True, cast.booster.id: True}


async def test_two_reviewers_deciding_at_once_make_one_decision_and_one_payment(cast: Cast, world: World) -> None:
    for _ in range(5):
        booster = await world.person(Role.BOOSTER)
        order_id = await cast.order(Status.UNDER_REVIEW, booster=booster)
        answers = await asyncio.gather(
            cast.advertiser.post(f"{PATH}/{order_id}/approve"),
            cast.team_mate.post(f"{PATH}/{order_id}/approve"),
            cast.support.post(f"{PATH}/{order_id}/reject", json={"reason": "no"}),
            cast.admin.post(f"{PATH}/{order_id}/cancel", json={"reason": "no"}),
        )
        # A cancellation may follow a rejection; otherwise there is one outcome
        won = [answer.json()["status"] for answer in answers if answer.is_success]
        assert len(won) == 1 or sorted(won) == ["CANCELLED", "REJECTED"]
        assert all(answer.status_code in (200, 409) for answer in answers)
        assert await held_by(world, booster.id) == (PRICE if "COMPLETED" in won else 0)
        await world.books_are_clean()


async def test_a_verdict_that_waited_while_new_evidence_came_judges_nothing(cast: Cast, world: World) -> None:
    """The reviewer has not seen the second round: it would be judged by what they thought of the first."""
    order_id = await cast.order(Status.EVIDENCE_SUBMITTED)
    second = await steps.evidence(cast.booster)
    async with world.platform.database.write() as session:
        # Given a verdict that waits for the row, while another reviewer rejects and the booster hands in again
        connection = await world.hold(session, order_id, "work_orders")
        late = asyncio.create_task(cast.support.post(f"{PATH}/{order_id}/approve"))
        await world.waits(1)
        await connection.execute(
            "UPDATE work_orders SET status = 'EVIDENCE_SUBMITTED', rounds_count = 2 WHERE id = $1", UUID(order_id)
        )
        await connection.execute(
            "INSERT INTO evidence_rounds (subject_id, number, subject_type, submitted_by, image_ids, notes, verdict,"
            " verdict_reason, reviewed_by, reviewed_at) SELECT subject_id, 2, subject_type, submitted_by, $2, notes,"
            " 'rejected', 'x', $3, now() FROM evidence_rounds WHERE subject_id = $1",
            UUID(order_id), [UUID(image) for image in second["image_ids"]], cast.admin.id,
        )  # fmt: skip
    # Then it is refused
    answer = await late
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")


async def test_the_parties_are_the_buyer_the_booster_and_the_advertiser(cast: Cast, world: World) -> None:
    order_id = await cast.order(Status.ASSIGNED)
    async with world.platform.database.read() as session:
        people = await subjects.parties(session, "work_order", UUID(order_id))
    assert people == {cast.buyer.id, cast.booster.id, cast.advertiser.id}


async def test_a_buyer_rates_completed_work_once_from_one_to_five(cast: Cast, world: World) -> None:
    order_id = await cast.order(Status.COMPLETED)
    async with world.unchanged():
        for refused in (0, 6, 4.5, "5", None):
            assert (await cast.buyer.post(f"{PATH}/{order_id}/rate", {"rating": refused})).status_code == 422
    assert (await do(cast.buyer, order_id, "rate", {"rating": 4}))["rating"] == 4
    async with world.unchanged():
        again = await cast.buyer.post(f"{PATH}/{order_id}/rate", {"rating": 1})
        assert (again.status_code, again.json()["code"]) == (409, "already_rated")

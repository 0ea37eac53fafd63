"""Purchase, commission, disputes and overrides: every part adds up, to the last minor unit (money.md)."""

import asyncio
import itertools
from typing import Any
from uuid import UUID

import pytest

from app.core.money import commission
from app.models.users import Role
from app.models.work_orders import WorkOrderStatus as Status
from tests.support.world import Person, World
from tests.work_orders import steps
from tests.work_orders.conftest import Cast
from tests.work_orders.steps import PATH, PRICE, do, held_by, purchase_of

ODD = 999_99  # ten per cent of it is no whole number of paise


async def test_a_purchase_freezes_price_commission_and_team(cast: Cast, world: World) -> None:
    offered = await steps.service(cast.advertiser, price_minor=ODD, currency="INR", team_id=cast.team_id)
    buyer = await steps.buyer(world, ODD, "INR")
    order = await steps.succeed(buyer.post(PATH, purchase_of(offered, instructions="Tonight, please.")))
    change = {key: offered[key] for key in ("title", "description", "currency")} | {"price_minor": 5, "revision": 1}
    await steps.succeed(cast.advertiser.call("PUT", f"/api/v1/advertised-services/{offered['id']}", json=change))
    now = await steps.succeed(cast.team_mate.get(f"{PATH}/{order['id']}"))
    assert {key: now[key] for key in ("price_minor", "currency", "commission_basis_points", "instructions")} == {
        "price_minor": ODD, "currency": "INR", "commission_basis_points": 1000, "instructions": "Tonight, please.",
    }  # fmt: skip
    assert now["team_id"] == cast.team_id
    assert (now["buyer_name"], now["booster_name"]) == ("Some Body", None)


async def test_nobody_buys_at_another_price_than_they_looked_at(cast: Cast, world: World) -> None:
    # Given a service that was changed since, one that is paused, one of the own, none, and too little money
    offered = await steps.service(cast.advertiser)
    stale = purchase_of(offered)
    change = {key: offered[key] for key in ("title", "description", "currency")} | {"price_minor": 5, "revision": 1}
    address = f"/api/v1/advertised-services/{offered['id']}"
    changed = await steps.succeed(cast.advertiser.call("PUT", address, json=change))
    paused = await steps.service(cast.advertiser)
    await steps.succeed(cast.advertiser.post(f"/api/v1/advertised-services/{paused['id']}/pause"))
    poor = await world.person()
    await steps.top_up(world, cast.advertiser, PRICE)
    # When they are bought, then nothing happens
    for person, wanted, status, code in (
        (cast.buyer, stale, 409, "service_changed"),
        (cast.buyer, purchase_of(paused), 409, "not_on_sale"),
        (cast.advertiser, purchase_of(changed), 409, "own_service"),
        (cast.buyer, purchase_of(changed) | {"advertised_service_id": str(UUID(int=5))}, 404, "not_found"),
        (poor, purchase_of(changed), 409, "insufficient_funds"),
        (cast.buyer, purchase_of(changed) | {"price_minor": 1}, 422, "validation_failed"),
    ):
        async with world.unchanged():
            answer = await person.post(PATH, wanted)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_repeated_purchase_buys_once(cast: Cast, world: World) -> None:
    buyer = await steps.buyer(world, 3 * PRICE)
    key = {"Idempotency-Key": "purchase-of-today"}
    answers = [await buyer.post(PATH, purchase_of(cast.service), headers=key) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert await held_by(world, buyer.id) == 2 * PRICE


async def test_one_wallet_pays_for_as_many_orders_as_it_holds_money_for(cast: Cast, world: World) -> None:
    buyer = await steps.buyer(world, 3 * PRICE)
    answers = await asyncio.gather(*(buyer.post(PATH, json=purchase_of(cast.service)) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 7
    assert await held_by(world, buyer.id) == 0
    assert len(await world.rows("work_orders", buyer_id=buyer.id)) == 3
    await world.books_are_clean()


class Deal:
    """An order in rupees at an odd price, and where its money is."""

    def __init__(self, world: World, buyer: Person, booster: Person, order_id: str) -> None:
        self.world, self.buyer, self.booster, self.order_id = world, buyer, booster, order_id

    async def money(self) -> dict[str, int]:
        """What each has, in minor units; the platform's part out of the postings."""
        postings = await self.world.rows("postings", currency="INR")
        mine = {entry["id"] for entry in await self.world.rows("entries", subject_id=UUID(self.order_id))}
        kept = {account["id"] for account in await self.world.rows("accounts", kind="commission", currency="INR")}
        return {
            "buyer": await held_by(self.world, self.buyer.id, currency="INR"),
            "held": await held_by(self.world, UUID(self.order_id), "escrow", "INR"),
            "booster": await held_by(self.world, self.booster.id, currency="INR"),
            "debt": await held_by(self.world, self.booster.id, "debt", "INR"),
            "platform": sum(p["amount"] for p in postings if p["entry_id"] in mine and p["account_id"] in kept),
        }


async def deal(cast: Cast, status: Status, price_minor: int = ODD) -> Deal:
    world = cast.world
    offered = await steps.service(cast.advertiser, price_minor=price_minor, currency="INR")
    buyer, booster = await steps.buyer(world, price_minor, "INR"), await world.person(Role.BOOSTER)
    order_id = await steps.bring(world, status, buyer=buyer, booster=booster, manager=cast.advertiser, offered=offered)
    return Deal(world, buyer, booster, order_id)


KEPT = commission(ODD, 1000)
WHOLE = {"buyer": 0, "held": 0, "booster": ODD - KEPT, "debt": 0, "platform": KEPT}
BACK = {"buyer": ODD, "held": 0, "booster": 0, "debt": 0, "platform": 0}


@pytest.mark.parametrize("price_minor", [1, 4, 5, 15, 25, ODD, 9_999_999_95])
async def test_an_approval_pays_the_price_less_the_frozen_commission(cast: Cast, price_minor: int) -> None:
    made = await deal(cast, Status.EVIDENCE_SUBMITTED, price_minor)
    await do(cast.advertiser, made.order_id, "approve")
    kept = commission(price_minor, 1000)
    expected = {"buyer": 0, "held": 0, "booster": price_minor - kept, "debt": 0, "platform": kept}
    assert await made.money() == expected
    await cast.world.books_are_clean()


async def test_a_rejection_moves_nothing_and_a_cancellation_gives_all_back(cast: Cast) -> None:
    made = await deal(cast, Status.REJECTED)
    assert await made.money() == BACK | {"buyer": 0, "held": ODD}
    cancelled = await do(cast.support, made.order_id, "cancel", {"reason": "The booster gave up."})
    assert (cancelled["cancel_reason"], cancelled["refunded_minor"]) == ("The booster gave up.", ODD)
    assert await made.money() == BACK
    parties = {made.buyer.id, made.booster.id, cast.advertiser.id}
    assert (await cast.world.told(made.order_id))[-1] == ("work_order.cancelled", parties)
    await cast.world.books_are_clean()


def resolution(outcome: str, booster_minor: int | None = None, buyer_minor: int | None = None) -> dict[str, Any]:
    parts = {"booster_minor": booster_minor, "buyer_minor": buyer_minor}
    return {"outcome": outcome, "resolution_notes": "We looked at the logs."} | parts


@pytest.mark.parametrize("part", [0, 1, 5, 333_33, ODD - 5, ODD])
async def test_a_resolution_divides_the_escrow_exactly_and_once(cast: Cast, part: int) -> None:
    made = await deal(cast, Status.DISPUTED)
    outcome = "COMPLETED" if part > 1 else "CANCELLED"
    done = await do(cast.support, made.order_id, "resolve", resolution(outcome, part, ODD - part))
    kept = commission(part, 1000)
    assert await made.money() == {
        "buyer": ODD - part, "held": 0, "booster": part - kept, "debt": 0, "platform": kept,
    }  # fmt: skip
    assert (done["status"], done["earned_minor"], done["refunded_minor"]) == (outcome, part - kept, ODD - part)
    assert done["resolution_notes"] == "We looked at the logs."
    assert (await cast.world.told(made.order_id))[-1][0] == "work_order.resolved"
    async with cast.world.unchanged():
        again = await cast.admin.post(f"{PATH}/{made.order_id}/resolve", resolution("CANCELLED", 0, ODD))
        assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")
        over = {"outcome": "CANCELLED" if outcome == "COMPLETED" else "COMPLETED", "reason": "I see it otherwise."}
        final = await cast.admin.post(f"{PATH}/{made.order_id}/override", over)
        assert (final.status_code, final.json()["code"]) in ((409, "already_resolved"),)
    await cast.world.books_are_clean()


async def test_a_resolution_that_does_not_add_up_moves_nothing(cast: Cast) -> None:
    made = await deal(cast, Status.DISPUTED)
    async with cast.world.unchanged():
        for wanted, status, code in (
            (resolution("COMPLETED", ODD, 1), 409, "parts_do_not_add_up"),
            (resolution("CANCELLED", 0, ODD - 1), 409, "parts_do_not_add_up"),
            (resolution("COMPLETED", ODD), 422, "split_refused"),
            (resolution("CANCELLED"), 422, "split_refused"),
            (resolution("RESUMED", 0, ODD), 422, "split_refused"),
            (resolution("COMPLETED", ODD + 1, -1), 422, "validation_failed"),
            (resolution("PENDING", 0, ODD), 422, "validation_failed"),
        ):
            answer = await cast.support.post(f"{PATH}/{made.order_id}/resolve", wanted)
            assert (answer.status_code, answer.json()["code"]) == (status, code), wanted


@pytest.mark.parametrize(
    "status", [Status.ASSIGNED, Status.IN_PROGRESS, Status.EVIDENCE_SUBMITTED, Status.UNDER_REVIEW, Status.REJECTED]
)
async def test_a_dispute_stops_everything_and_may_lead_back(cast: Cast, status: Status) -> None:
    # Given an order that its booster disputes
    order_id = await cast.order(status)
    disputed = await do(cast.booster, order_id, "dispute", {"reason": "The buyer is rude."})
    assert (disputed["disputed_from"], disputed["dispute_reason"]) == (status, "The buyer is rude.")
    told = (await cast.world.told(order_id))[-1]
    assert told[0] == "work_order.disputed"
    assert {cast.buyer.id, cast.booster.id, cast.advertiser.id, cast.support.id} <= told[1]
    # When support lets the work go on, then it stands where it stood, and may be approved in the end
    resumed = await do(cast.support, order_id, "resolve", resolution("RESUMED"))
    assert (resumed["status"], resumed["disputed_from"], resumed["earned_minor"]) == (status, None, None)
    assert await held_by(cast.world, UUID(order_id), "escrow") == PRICE
    if status is Status.ASSIGNED:
        await do(cast.booster, order_id, "start")
    if status in (Status.ASSIGNED, Status.IN_PROGRESS, Status.REJECTED):
        await do(cast.booster, order_id, "submit", await steps.evidence(cast.booster))
    await do(cast.team_mate, order_id, "approve")
    await cast.world.books_are_clean()


async def override(cast: Cast, made: Deal, outcome: str) -> Any:
    return await do(cast.admin, made.order_id, "override", {"outcome": outcome, "reason": "The timer was forged."})


async def test_an_overridden_approval_takes_everything_back_the_commission_too(cast: Cast) -> None:
    made = await deal(cast, Status.COMPLETED)
    assert await made.money() == WHOLE
    done = await override(cast, made, "CANCELLED")
    assert (done["status"], done["completed_at"], done["override_reason"]) == (
        "CANCELLED",
        None,
        "The timer was forged.",
    )
    assert await made.money() == BACK
    step = (await cast.world.trail(made.order_id))[-1]
    assert (step["action"], step["actor_id"], step["reason"]) == (
        "override_cancel", cast.admin.id, "The timer was forged.",
    )  # fmt: skip
    assert (await cast.world.told(made.order_id))[-1][0] == "work_order.overridden"
    # and what was overridden is final
    async with cast.world.unchanged():
        answer = await cast.admin.post(f"{PATH}/{made.order_id}/override", {"outcome": "COMPLETED", "reason": "hm"})
        assert (answer.status_code, answer.json()["code"]) == (409, "already_overridden")
    await cast.world.books_are_clean()


async def test_what_the_booster_has_spent_since_becomes_a_debt(cast: Cast, world: World) -> None:
    made = await deal(cast, Status.COMPLETED)
    spent = await steps.service(cast.other_advertiser, price_minor=400_00, currency="INR")
    await steps.buy(made.booster, spent)
    await override(cast, made, "CANCELLED")
    money = await made.money()
    assert (money["buyer"], money["booster"], money["debt"]) == (ODD, 0, -400_00)
    await world.books_are_clean()


async def test_an_overridden_cancellation_is_paid_by_the_buyer_or_not_at_all(cast: Cast, world: World) -> None:
    made, poor = await deal(cast, Status.CANCELLED), await deal(cast, Status.CANCELLED)
    assert (await override(cast, made, "COMPLETED"))["earned_minor"] == ODD - KEPT
    assert await made.money() == WHOLE
    # Given a buyer who has spent what came back
    await steps.buy(poor.buyer, await steps.service(cast.other_advertiser, price_minor=1, currency="INR"))
    async with world.unchanged():
        answer = await cast.admin.post(f"{PATH}/{poor.order_id}/override", {"outcome": "COMPLETED", "reason": "hm"})
        assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_funds")
    assert (await poor.buyer.get(f"{PATH}/{poor.order_id}")).json()["status"] == "CANCELLED"
    await world.books_are_clean()


async def test_an_overridden_rejection_is_paid_out_of_the_escrow(cast: Cast, world: World) -> None:
    made = await deal(cast, Status.REJECTED)
    await override(cast, made, "COMPLETED")
    assert await made.money() == WHOLE
    [deadline] = await world.rows("deadlines", subject_id=UUID(made.order_id))
    assert deadline["kind"] == "erase_evidence"
    await world.books_are_clean()


async def test_nobody_pays_for_an_order_on_which_nobody_has_worked(cast: Cast, world: World) -> None:
    order_id = await cast.order(Status.PENDING)
    await do(cast.buyer, order_id, "cancel", {"reason": "I changed my mind."})
    async with world.unchanged():
        answer = await cast.admin.post(f"{PATH}/{order_id}/override", {"outcome": "COMPLETED", "reason": "hm"})
        assert (answer.status_code, answer.json()["code"]) == (409, "nobody_to_pay")


async def test_of_everything_that_ends_an_order_at_once_one_thing_happens(cast: Cast, world: World) -> None:
    for first in itertools.islice((Status.EVIDENCE_SUBMITTED, Status.UNDER_REVIEW), 2):
        made = await deal(cast, first)
        reason = {"reason": "at once"}
        answers = await asyncio.gather(
            *(cast.advertiser.post(f"{PATH}/{made.order_id}/approve") for _ in range(4)),
            *(cast.support.post(f"{PATH}/{made.order_id}/cancel", json=reason) for _ in range(4)),
            *(made.buyer.post(f"{PATH}/{made.order_id}/dispute", json=reason) for _ in range(4)),
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
        kinds = [entry["kind"] for entry in await world.rows("entries", subject_id=UUID(made.order_id))]
        assert len(kinds) <= 2
        assert kinds[0] == "hold"
        await world.books_are_clean()

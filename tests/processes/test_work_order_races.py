"""200 reviewers decide about one work order at one instant, over four server processes: one decision, one payment."""

import asyncio
import itertools
import os
import time
from collections import Counter
from typing import Final
from uuid import UUID

import httpx
import pytest

from app.models.users import Role
from app.models.work_orders import WorkOrderStatus as Status
from tests.processes.servers import Server, hold, release
from tests.processes.test_races import a_few_at_a_time
from tests.support.world import Person, World
from tests.work_orders import steps
from tests.work_orders.steps import PATH, PRICE, held_by

ROUNDS = int(os.environ.get("LOCALBAZAAR_RACE_ROUNDS", "3"))
REVIEWERS = 200
CONTESTS: Final = (("approve", "cancel"), ("approve", "reject", "cancel"), ("approve", "reject"))
TOLD: Final = {"work_order.completed", "work_order.rejected", "work_order.cancelled"}
VERDICTS: Final = {"COMPLETED": "approved", "CANCELLED": None}


@pytest.fixture(scope="module")
async def reviewers(world: World) -> list[Person]:
    return await a_few_at_a_time(world.person(Role.SUPPORT) for _ in range(REVIEWERS))


def deciding(reviewer: Person, server: Server, order_id: str, decision: str) -> httpx.Request:
    body = None if decision == "approve" else {"reason": f"by {reviewer.id}"}
    return server.http.build_request("POST", f"{PATH}/{order_id}/{decision}", json=body, headers=reviewer.headers)


async def test_of_200_decisions_at_one_instant_one_is_made(
    world: World, servers: list[Server], reviewers: list[Person]
) -> None:
    advertiser = await steps.advertiser(world)
    offered, outcomes, spent = await steps.service(advertiser), Counter[str](), []
    for number in range(ROUNDS):
        # Given an order whose evidence waits, or is being reviewed
        buyer, booster = await steps.buyer(world, PRICE), await world.person(Role.BOOSTER)
        waiting = (Status.EVIDENCE_SUBMITTED, Status.UNDER_REVIEW)[number % 2]
        order_id = await steps.bring(world, waiting, buyer=buyer, booster=booster, manager=advertiser, offered=offered)
        decisions = list(zip(reviewers, itertools.cycle(servers), itertools.cycle(CONTESTS[number % len(CONTESTS)])))
        held = await asyncio.gather(
            *(hold(server, deciding(reviewer, server, order_id, decision)) for reviewer, server, decision in decisions)
        )
        # When all decide
        began = time.monotonic()
        answers = await release(held)
        spent.append(time.monotonic() - began)
        # Then one has decided, but that support may also cancel what was rejected a moment ago
        assert {answer.status for answer in answers} == {200, 409}
        made = [str(answer.body["status"]) for answer in answers if answer.status == 200]
        assert sorted(made) in (["COMPLETED"], ["CANCELLED"], ["REJECTED"], ["CANCELLED", "REJECTED"])
        assert {answer.body["code"] for answer in answers if answer.status == 409} == {"illegal_transition"}
        [order] = await world.rows("work_orders", id=UUID(order_id))
        last = max(made, key=["REJECTED", "COMPLETED", "CANCELLED"].index)
        assert order["status"] == last
        outcomes[" then ".join(sorted(made, reverse=True))] += 1
        # and what was held moved once, or not at all
        entries = [entry["kind"] for entry in await world.rows("entries", subject_id=UUID(order_id))]
        assert entries == ["hold", *{"COMPLETED": ["release"], "CANCELLED": ["refund"]}.get(last, [])]
        whose = (await held_by(world, booster.id), await held_by(world, buyer.id))
        assert whose == (PRICE * (last == "COMPLETED"), PRICE * (last == "CANCELLED"))
        # and each decision was told once
        told = [name for name, _ in await world.told(order_id) if name in TOLD]
        assert sorted(told) == sorted(f"work_order.{status.lower()}" for status in made)
        # and the round of evidence has one verdict
        [judged] = await world.rows("evidence_rounds", subject_id=UUID(order_id))
        assert judged["verdict"] == ("rejected" if "REJECTED" in made else VERDICTS[last])
        await world.books_are_clean()
    print(f"{ROUNDS} races of {REVIEWERS}: {dict(outcomes)}, {min(spent):.2f} to {max(spent):.2f} s each")


async def test_an_order_is_approved_once_however_many_approve_it(
    world: World, servers: list[Server], reviewers: list[Person]
) -> None:
    buyer, booster = await steps.buyer(world, PRICE), await world.person(Role.BOOSTER)
    advertiser = await steps.advertiser(world)
    offered = await steps.service(advertiser)
    order_id = await steps.bring(
        world, Status.UNDER_REVIEW, buyer=buyer, booster=booster, manager=advertiser, offered=offered
    )
    spread = list(zip(reviewers, itertools.cycle(servers)))
    held = await asyncio.gather(*(hold(s, deciding(reviewer, s, order_id, "approve")) for reviewer, s in spread))
    answers = await release(held)
    assert Counter(answer.status for answer in answers) == {200: 1, 409: REVIEWERS - 1}
    assert (await held_by(world, booster.id), await held_by(world, buyer.id)) == (PRICE, 0)
    assert [name for name, _ in await world.told(order_id)].count("work_order.completed") == 1
    await world.books_are_clean()

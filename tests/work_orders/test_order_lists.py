"""Whose orders a list shows: bought, done, sold, the team's, waiting for a verdict, everybody's."""

from typing import Any

import pytest

from app.models.users import Role
from app.models.work_orders import WorkOrderStatus as Status
from tests.support.world import Person, World
from tests.work_orders import steps
from tests.work_orders.conftest import Cast
from tests.work_orders.steps import PATH


async def ids(person: Person, path: str = PATH, **wanted: Any) -> list[str]:
    """All pages of a list, two orders on each."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await steps.succeed(person.get(path, params={"limit": 2, **wanted, **cursor}))
        found += [order["id"] for order in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


@pytest.fixture(scope="module")
async def own(cast: Cast, world: World) -> tuple[Person, Person, Person, Person, dict[Status, str]]:
    """A buyer, a booster, an advertiser and a mate of whom nobody else knows; an order of theirs in each status."""
    advertiser, mate = await steps.advertiser(world), await steps.advertiser(world)
    buyer, booster = await steps.buyer(world), await world.person(Role.BOOSTER)
    team_id, _ = await steps.team(advertiser, mate)
    offered = await steps.service(advertiser, team_id=team_id)
    orders = {
        status: await steps.bring(world, status, buyer=buyer, booster=booster, manager=advertiser, offered=offered)
        for status in Status
    }
    return buyer, booster, advertiser, mate, orders


async def test_each_side_sees_its_orders_newest_first_and_by_status(
    own: tuple[Person, Person, Person, Person, dict[Status, str]],
) -> None:
    buyer, booster, advertiser, mate, orders = own
    newest = list(orders.values())[::-1]
    for person, side in ((buyer, "buyer"), (booster, "booster"), (advertiser, "advertiser"), (mate, "team")):
        seen = [order for order in newest if side != "booster" or order != orders[Status.PENDING]]
        assert await ids(person, side=side) == seen, side
        for status, order_id in orders.items():
            assert await ids(person, side=side, status=status) == [order_id] * (order_id in seen), (side, status)
        for other in {"buyer", "booster", "advertiser", "team"} - {side}:
            assert await ids(person, side=other) == []


async def test_the_queue_holds_what_waits_for_a_verdict_of_ones_own_or_the_teams(
    own: tuple[Person, Person, Person, Person, dict[Status, str]], world: World
) -> None:
    buyer, booster, advertiser, mate, orders = own
    waiting = [orders[Status.UNDER_REVIEW], orders[Status.EVIDENCE_SUBMITTED]]
    for person in (advertiser, mate):
        assert sorted(await ids(person, f"{PATH}/to-review")) == sorted(waiting)
    for person in (buyer, booster, world.support, await steps.advertiser(world)):
        assert await ids(person, f"{PATH}/to-review") == []


async def test_support_sees_all_orders_by_status(
    own: tuple[Person, Person, Person, Person, dict[Status, str]], cast: Cast
) -> None:
    *_, orders = own
    for person in (cast.support, cast.admin):
        page = await steps.succeed(person.get("/api/v1/admin/work-orders", params={"limit": 100}))
        assert set(orders.values()) <= {order["id"] for order in page["items"]}
        page = await steps.succeed(person.get("/api/v1/admin/work-orders", params={"limit": 100, "status": "DISPUTED"}))
        assert {order["status"] for order in page["items"]} == {"DISPUTED"}
        assert orders[Status.DISPUTED] in {order["id"] for order in page["items"]}


@pytest.mark.parametrize("wanted", [{"side": "support"}, {"status": "OPEN"}, {"cursor": "?"}, {"limit": 0}])
async def test_a_list_refuses_what_it_does_not_know(cast: Cast, wanted: dict[str, Any]) -> None:
    assert (await cast.buyer.get(PATH, params=wanted)).status_code == 422

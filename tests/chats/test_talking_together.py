"""A subject whose parties all talk together, as most do: a work order, with buyer, advertiser and booster."""

from typing import Any, NamedTuple

import pytest

from app.models.users import Role
from app.models.work_orders import WorkOrderStatus
from tests.chats.steps import PATH, Chat, listed, new_id, refused, succeeded
from tests.support.world import Person, World
from tests.work_orders import steps as work_orders


class Order(NamedTuple):
    """A bought order that waits for its booster, and those who are to do with it."""

    id: str
    buyer: Person
    advertiser: Person
    booster: Person

    @property
    def about(self) -> dict[str, Any]:
        return {"subject_type": "work_order", "subject_id": self.id}

    async def talk(self) -> Chat:
        """The conversation about it, begun by the buyer."""
        opened = await succeeded(await self.buyer.post(PATH, self.about))
        return Chat(opened["id"], self.id, self.buyer, self.advertiser)

    async def assign(self) -> None:
        await work_orders.do(self.advertiser, self.id, "assign", {"booster_id": str(self.booster.id)})


@pytest.fixture
async def order(world: World) -> Order:
    buyer, advertiser = await work_orders.buyer(world), await work_orders.advertiser(world)
    booster = await world.person(Role.BOOSTER)
    offered = await work_orders.service(advertiser)
    order_id = await work_orders.bring(
        world, WorkOrderStatus.PENDING, buyer=buyer, booster=booster, manager=advertiser, offered=offered
    )
    return Order(order_id, buyer, advertiser, booster)


async def test_all_parties_of_a_subject_talk_in_one_conversation_with_contacts_open(world: World, order: Order) -> None:
    await order.assign()
    chat = await order.talk()
    assert (await succeeded(await order.booster.post(PATH, order.about)))["id"] == chat.id
    sent = await chat.say(order.advertiser, "Call 98765 43210")
    assert (sent["text"], sent["masked"]) == ("Call 98765 43210", False)
    assert await world.told(chat.id) == [("chat.message_sent", {order.buyer.id, order.booster.id})]
    assert [item["unread_count"] for item in await listed(order.booster)] == [1]
    assert await chat.read(order.booster, 1) == {"read_number": 1, "unread_count": 0}
    assert (await world.told(chat.id))[-1] == ("chat.read", set())  # quietly, to everybody


async def test_who_is_no_party_finds_nothing_there(world: World, order: Order) -> None:
    chat = await order.talk()
    stranger = order.booster  # who is not assigned yet
    async with world.unchanged():
        answers = [
            await stranger.post(PATH, order.about),
            await stranger.get(f"{PATH}/{chat.id}"),
            await stranger.post(f"{PATH}/{chat.id}/messages", {"text": "Hello"}),
            await order.buyer.post(PATH, order.about | {"counterpart_id": new_id()}),
        ]
    assert {refused(answer) for answer in answers} == {(404, "not_found")}


async def test_who_becomes_a_party_later_takes_part_from_then_on(world: World, order: Order) -> None:
    chat = await order.talk()
    await chat.say(order.advertiser)
    await order.assign()
    await chat.say(order.buyer)
    (item,) = await listed(order.booster)
    reached = {one["user_id"]: one["read_number"] for one in item["participants"]}
    assert (item["unread_count"], reached[str(order.booster.id)]) == (1, 1)
    assert [message["number"] for message in await chat.heard(order.booster)] == [1, 2]


async def test_support_may_look_on_at_what_belongs_to_no_region(world: World, order: Order) -> None:
    chat = await order.talk()
    await chat.say(order.advertiser)
    assert [message["number"] for message in await chat.heard(world.support)] == [1]
    assert (await world.manager.get(chat.messages)).status_code == 404

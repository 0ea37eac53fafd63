"""A subject whose parties all talk together, as most do: it joins by `conversation=Conversation()` and its parties."""

from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import pytest

from app.kernel import subjects
from app.services.chats import access, deletion, opening, positions, reading, reports, sending
from tests.chats.steps import PATH, Chat, about, listed, new_id, refused, succeeded
from tests.support.world import World

CACHED = (
    access.is_party, access.is_reader, deletion._delete, opening._begin, opening._join, opening._list, positions._move,
    reading._listed, reading._may_read, reading._of_subject, reading._one, reading._shown, reports._reported,
    sending._send,
)  # fmt: skip
"""What is built from the declarations of all subjects, when it is first asked for."""


@pytest.fixture
def together() -> Iterator[None]:
    """For once, the customer and all who bought the lead talk together."""
    declared = replace(subjects.talked_about()["service_request"], conversation=subjects.Conversation())
    with patch.dict(subjects._talked_about, service_request=declared):
        for cached in CACHED:
            cached.cache_clear()
        yield
    for cached in CACHED:
        cached.cache_clear()


@pytest.mark.usefixtures("together")
async def test_all_parties_of_a_subject_talk_in_one_conversation_with_contacts_open(world: World) -> None:
    customer, request_id, (first, second) = await world.lead(buyers=2)
    opened = await succeeded(await first.post(PATH, about(request_id)))
    assert (await succeeded(await customer.post(PATH, about(request_id))))["id"] == opened["id"]
    chat = Chat(opened["id"], request_id, customer, first)
    sent = await chat.say(first, "Call 98765 43210")
    assert (sent["text"], sent["masked"]) == ("Call 98765 43210", False)
    assert await world.told(chat.id) == [("chat.message_sent", {customer.id, second.id})]
    assert [item["unread_count"] for item in await listed(second)] == [1]
    assert await chat.read(second, 1) == {"read_number": 1, "unread_count": 0}
    assert (await world.told(chat.id))[-1] == ("chat.read", set())  # quietly, to everybody


@pytest.mark.usefixtures("together")
async def test_who_is_no_party_finds_nothing_there(world: World) -> None:
    _, request_id, (first,) = await world.lead()
    opened = await succeeded(await first.post(PATH, about(request_id)))
    stranger = await world.provider()
    async with world.unchanged():
        answers = [
            await stranger.post(PATH, about(request_id)),
            await stranger.get(f"{PATH}/{opened['id']}"),
            await stranger.post(f"{PATH}/{opened['id']}/messages", {"text": "Hello"}),
            await first.post(PATH, about(request_id) | {"counterpart_id": new_id()}),
        ]
    assert {refused(answer) for answer in answers} == {(404, "not_found")}


@pytest.mark.usefixtures("together")
async def test_who_becomes_a_party_later_takes_part_from_then_on(world: World) -> None:
    customer, request_id, (first,) = await world.lead()
    chat = Chat((await succeeded(await first.post(PATH, about(request_id))))["id"], request_id, customer, first)
    await chat.say(first)
    late = await world.provider()
    await succeeded(await late.post(f"/api/v1/service-requests/{request_id}/purchase"))
    await chat.say(customer)
    (item,) = await listed(late)
    reached = {one["user_id"]: one["read_number"] for one in item["participants"]}
    assert (item["unread_count"], reached[str(late.id)]) == (1, 1)
    assert [message["number"] for message in await chat.heard(late)] == [1, 2]

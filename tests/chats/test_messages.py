"""Sending and reading messages (realtime.md: Chat)."""

from dataclasses import replace
from uuid import UUID

import pytest

from app.core.actor import Actor
from app.core.errors import TooManyRequests
from app.schemas.chats import SendMessage
from app.services.chats import sending
from tests.chats.steps import PATH, about, asked, bought, listed, new_id, refused, succeeded
from tests.support.world import FAR_AWAY, World


async def test_what_one_writes_the_other_reads_and_hears_of(world: World) -> None:
    chat = await bought(world)
    sent = await chat.say(chat.customer, "When can you come?")
    assert (sent["number"], sent["text"], sent["masked"]) == (1, "When can you come?", False)
    assert await chat.heard(chat.provider) == [sent]
    assert ("chat.message_sent", {chat.provider.id}) in await world.told(chat.id)


async def test_messages_are_numbered_without_a_gap_and_paged_newest_first(world: World) -> None:
    chat = await bought(world)
    for index in range(5):
        await chat.say((chat.customer, chat.provider)[index % 2], f"message {index}")
    first = await succeeded(await chat.provider.get(f"{chat.messages}?limit=2"))
    second = await succeeded(await chat.provider.get(f"{chat.messages}?limit=2&cursor={first['next_cursor']}"))
    last = await succeeded(await chat.provider.get(f"{chat.messages}?limit=2&cursor={second['next_cursor']}"))
    numbers = [message["number"] for page in (first, second, last) for message in page["items"]]
    assert (numbers, last["next_cursor"]) == ([5, 4, 3, 2, 1], None)


async def test_a_message_sent_again_with_the_same_client_id_is_there_once(world: World) -> None:
    chat = await bought(world)
    mark = new_id()
    first = await chat.say(chat.customer, "Hello", client_message_id=mark)
    async with world.unchanged():
        assert await chat.say(chat.customer, "Hello", client_message_id=mark) == first
        other = await chat.customer.post(chat.messages, {"text": "Goodbye", "client_message_id": mark})
    assert refused(other) == (422, "client_message_id_reused")


async def test_two_people_may_use_the_same_client_id(world: World) -> None:
    chat, mark = await bought(world), new_id()
    await chat.say(chat.customer, "Hello", client_message_id=mark)
    assert (await chat.say(chat.provider, "Hello", client_message_id=mark))["number"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": "   "},
        {"text": "x" * 4001},
        {"text": "a\x00b"},
        {"text": "a\x1b[31mb"},
        {"text": "a\x7fb"},
        {"text": "hello", "number": 1},
        {"image_ids": []},
        {"text": "hello", "client_message_id": "not a uuid"},
        {"image_ids": [new_id()] * 2},
        {"image_ids": [new_id() for _ in range(11)]},
    ],
)
async def test_a_message_that_does_not_fit_is_refused(world: World, body: dict[str, object]) -> None:
    chat = await bought(world)
    async with world.unchanged():
        assert refused(await chat.customer.post(chat.messages, body)) == (422, "validation_failed")


async def test_the_longest_message_fits_with_its_line_breaks(world: World) -> None:
    chat = await bought(world)
    text = "ज" * 1999 + "\n\t" + "ñ" * 1999
    assert (await chat.say(chat.customer, text))["text"] == text


async def test_a_conversation_is_one_for_each_subject_and_counterpart(world: World) -> None:
    chat = await asked(world)
    again = await succeeded(await chat.provider.post(PATH, about(chat.request_id)))
    from_the_other_side = await succeeded(await chat.customer.post(PATH, about(chat.request_id, chat.provider)))
    assert again["id"] == from_the_other_side["id"] == chat.id


async def test_providers_who_compete_do_not_read_each_other(world: World) -> None:
    customer, request_id, (first, second) = await world.lead(buyers=2)
    opened = await succeeded(await first.post(PATH, about(request_id)))
    path = f"{PATH}/{opened['id']}"
    await succeeded(await first.post(f"{path}/messages", {"text": "Only 900 for you."}))
    async with world.unchanged():
        answers = [
            await second.get(path),
            await second.get(f"{path}/messages"),
            await second.post(f"{path}/messages", {"text": "Mine is better."}),
            await second.call("PUT", f"{path}/read", json={"number": 1}),
            await second.post(PATH, about(request_id, first)),
        ]
    assert {refused(answer) for answer in answers} == {(404, "not_found")}
    assert await listed(second) == []
    theirs = await succeeded(await second.post(PATH, about(request_id)))
    assert theirs["id"] != opened["id"]
    assert [item["id"] for item in await listed(customer)] == [opened["id"]]


async def test_who_does_not_take_part_in_the_subject_opens_nothing(world: World) -> None:
    chat = await asked(world)
    far, stranger = await world.provider(at=FAR_AWAY), await world.person()
    async with world.unchanged():
        answers = [
            await far.post(PATH, about(chat.request_id)),
            await stranger.post(PATH, about(chat.request_id)),
            await stranger.post(PATH, about(chat.request_id, chat.provider)),
            await chat.customer.post(PATH, about(chat.request_id)),
            await chat.customer.post(PATH, about(chat.request_id, stranger)),
            await chat.customer.post(PATH, about(new_id(), chat.provider)),
            await chat.customer.post(PATH, about(chat.request_id) | {"subject_type": "nothing"}),
        ]
    assert {refused(answer) for answer in answers} == {(404, "not_found")}


async def test_a_conversation_shows_up_with_its_first_message_and_the_latest_comes_first(world: World) -> None:
    customer = await world.person()
    first, second = await asked(world, customer), await asked(world, customer)
    assert await listed(customer) == []
    assert [item["id"] for item in await listed(first.provider)] == [first.id]
    await first.say(first.provider)
    await second.say(second.provider)
    assert [item["id"] for item in await listed(customer)] == [second.id, first.id]
    await first.say(customer)
    page = await succeeded(await customer.get(f"{PATH}?limit=1"))
    assert [item["id"] for item in page["items"]] == [first.id]
    rest = await succeeded(await customer.get(f"{PATH}?limit=1&cursor={page['next_cursor']}"))
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == ([second.id], None)
    of_one = await succeeded(await customer.get(f"{PATH}?subject_id={second.request_id}"))
    assert [item["id"] for item in of_one["items"]] == [second.id]


async def test_a_provider_who_has_not_bought_is_out_when_the_request_closes(world: World) -> None:
    chat = await asked(world)
    await chat.say(chat.provider, "Is it a leak?")
    await succeeded(
        await chat.customer.post(f"/api/v1/service-requests/{chat.request_id}/cancel", {"reason": "I mended it"})
    )
    async with world.unchanged():
        out = await chat.provider.post(chat.messages, {"text": "Hello?"})
        alone = await chat.customer.post(chat.messages, {"text": "Hello?"})
    assert (refused(out), refused(alone)) == ((404, "not_found"), (409, "nobody_there"))
    assert (await listed(chat.provider), len(await chat.heard(chat.customer))) == ([], 1)


async def test_an_author_takes_a_message_back_and_its_content_is_gone_everywhere(world: World) -> None:
    chat = await bought(world)
    sent = await chat.say(chat.customer, "I did not mean it")
    async with world.unchanged():
        assert refused(await chat.provider.call("DELETE", f"/api/v1/messages/{sent['id']}")) == (404, "not_found")
    await succeeded(await chat.customer.call("DELETE", f"/api/v1/messages/{sent['id']}"))
    assert refused(await chat.customer.call("DELETE", f"/api/v1/messages/{sent['id']}")) == (404, "not_found")
    for person in (chat.customer, chat.provider):
        for seen in (await chat.heard(person), [item["last_message"] for item in await listed(person)]):
            assert [(m["number"], m["text"], m["deleted"]) for m in seen] == [(1, None, True)]
        assert "I did not mean it" not in (await person.get("/api/v1/notifications")).text
    staff = await succeeded(await world.support.get(chat.messages))
    assert staff["items"][0]["text"] == "I did not mean it"
    assert (await world.told(chat.id))[-1] == ("chat.message_deleted", {chat.provider.id})


async def test_reading_moves_forward_only_and_is_told_and_clears_the_feed(world: World) -> None:
    chat = await bought(world)
    for index in range(3):
        await chat.say(chat.customer, f"message {index}")
    assert [item["unread_count"] for item in await listed(chat.provider)] == [3]
    before = (await succeeded(await chat.provider.get("/api/v1/notifications")))["unread_count"]
    assert await chat.read(chat.provider, 2) == {"read_number": 2, "unread_count": 1}
    async with world.unchanged():
        assert await chat.read(chat.provider, 1) == {"read_number": 2, "unread_count": 1}
    assert await chat.read(chat.provider, 10**6) == {"read_number": 3, "unread_count": 0}
    assert (await succeeded(await chat.provider.get("/api/v1/notifications")))["unread_count"] == before - 3
    receipts = await world.rows("events", name="chat.read", subject_id=UUID(chat.id))
    told = [
        (row["user_id"], row["quiet"]) for e in receipts for row in await world.rows("notifications", event_id=e["id"])
    ]
    assert sorted(told) == sorted([(chat.customer.id, True), (chat.provider.id, True)] * 2)
    feed = (await succeeded(await chat.customer.get("/api/v1/notifications")))["items"]
    assert "chat.read" not in {item["event"]["name"] for item in feed}


async def test_the_other_devices_of_the_sender_hear_quietly_of_a_message(world: World) -> None:
    chat = await bought(world)
    sent = await chat.say(chat.customer)
    [event] = await world.rows("events", name="chat.message_sent", subject_id=UUID(chat.id))
    told = {row["user_id"]: row["quiet"] for row in await world.rows("notifications", event_id=event["id"])}
    assert told == {chat.customer.id: True, chat.provider.id: False}
    assert event["payload"]["message_id"] == sent["id"]


async def test_what_one_writes_is_never_unread_to_oneself(world: World) -> None:
    chat = await bought(world)
    await chat.say(chat.customer)
    await chat.say(chat.provider)
    await chat.say(chat.customer)
    assert [item["unread_count"] for item in await listed(chat.customer)] == [1]
    assert [item["unread_count"] for item in await listed(chat.provider)] == [2]


async def test_sending_is_limited_for_each_user(world: World) -> None:
    chat = await bought(world)
    strict = world.platform.settings.model_copy(update={"messages_per_user": "2/minute"})
    platform, actor = replace(world.platform, settings=strict), Actor(chat.customer.id)

    async def send() -> None:
        async with world.platform.database.write_single() as session:
            await sending.send(session, platform, actor, UUID(chat.id), SendMessage(text="Hello"))

    await send()
    await send()
    async with world.unchanged():
        with pytest.raises(TooManyRequests):
            await send()

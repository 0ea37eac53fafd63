"""Many at the same instant, in one conversation (realtime.md: Chat)."""

import asyncio
import os

from tests.chats.steps import PATH, Chat, about, bought, listed, new_id, refused, succeeded
from tests.support.world import World

SENDERS = int(os.environ.get("LOCALBAZAAR_CHAT_SENDERS", "200"))
ROUNDS = int(os.environ.get("LOCALBAZAAR_CHAT_ROUNDS", "4"))


async def test_two_hundred_at_once_are_numbered_without_a_gap_and_told_once_each(world: World) -> None:
    chat = await bought(world)
    people = (chat.customer, chat.provider)
    answers = await asyncio.gather(
        *(people[index % 2].post(chat.messages, {"text": f"message {index}"}) for index in range(SENDERS))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert sorted(answer.json()["number"] for answer in answers) == list(range(1, SENDERS + 1))
    # One event each, in the order of their numbers.
    events = sorted(await world.rows("events", name="chat.message_sent"), key=lambda event: int(event["seq"]))
    numbers = [event["payload"]["number"] for event in events if str(event["subject_id"]) == chat.id]
    assert numbers == list(range(1, SENDERS + 1))
    for person in people:
        assert [item["unread_count"] for item in await listed(person)] == [SENDERS // 2]


async def test_the_same_message_sent_many_times_at_once_is_there_once(world: World) -> None:
    chat = await bought(world)
    body = {"text": "Hello", "client_message_id": new_id()}
    answers = await asyncio.gather(*(chat.customer.post(chat.messages, body) for _ in range(30)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(await chat.heard(chat.provider)) == 1
    assert (await chat.say(chat.customer))["number"] == 2


async def test_many_who_open_at_once_find_one_conversation(world: World) -> None:
    customer, request_id, (provider,) = await world.lead()
    answers = await asyncio.gather(
        *(person.post(PATH, about(request_id, provider)) for person in (customer, provider) for _ in range(10))
    )
    assert len({(answer.status_code, answer.json()["id"]) for answer in answers}) == 1


async def test_reads_at_once_never_move_the_position_backwards(world: World) -> None:
    chat = await bought(world)
    for index in range(20):
        await chat.say(chat.customer, f"message {index}")

    async def read(number: int) -> dict[str, int]:
        return await chat.read(chat.provider, number)

    answers = await asyncio.gather(*(read(number) for number in range(1, 21)))
    assert all(answer["read_number"] >= number for number, answer in enumerate(answers, 1))
    assert all(answer["unread_count"] == 20 - answer["read_number"] for answer in answers)
    assert [item["unread_count"] for item in await listed(chat.provider)] == [0]
    events = sorted(await world.rows("events", name="chat.read"), key=lambda event: int(event["seq"]))
    positions = [event["payload"]["read_number"] for event in events if str(event["subject_id"]) == chat.id]
    assert positions == sorted(set(positions))


async def test_reading_and_sending_at_once_leave_the_right_count(world: World) -> None:
    chat = await bought(world)

    async def send(index: int) -> None:
        number = (await chat.say(chat.customer, f"message {index}"))["number"]
        await chat.read(chat.provider, number)

    await asyncio.gather(*(send(index) for index in range(40)), *(chat.say(chat.provider) for _ in range(10)))
    (item,) = await listed(chat.provider)
    position = {one["user_id"]: one["read_number"] for one in item["participants"]}[str(chat.provider.id)]
    after = [
        message
        for message in await chat.heard(chat.provider)
        if message["number"] > position and message["sender_id"] == str(chat.customer.id)
    ]
    assert item["unread_count"] == len(after)


async def test_when_a_block_has_been_answered_no_message_comes_after_it(world: World) -> None:
    for _ in range(ROUNDS):
        chat = await bought(world)
        await chat.say(chat.provider)
        sending = asyncio.gather(*(chat.provider.post(chat.messages, {"text": "Hello"}) for _ in range(20)))
        seen, answers = await asyncio.gather(_last_when_blocked(chat), sending)
        assert {refused(answer) for answer in answers if not answer.is_success} <= {(403, "messages_blocked")}
        last = (await chat.heard(chat.customer))[-1]["number"]
        assert seen == last == 1 + sum(answer.is_success for answer in answers)


async def _last_when_blocked(chat: Chat) -> int:
    """The customer blocks the provider, and then looks for the newest message."""
    await succeeded(await chat.customer.call("PUT", f"/api/v1/me/blocks/{chat.provider.id}"))
    return int((await chat.heard(chat.customer))[-1]["number"])


async def test_a_message_that_waits_while_the_other_blocks_is_refused(world: World) -> None:
    chat = await bought(world)
    await chat.say(chat.provider)
    async with world.platform.database.write() as session:
        # Given a sender who waits for the conversation, and a block that commits in the meantime
        driver = await world.hold(session, chat.id, "conversations")
        sending = asyncio.create_task(chat.provider.post(chat.messages, {"text": "Hello"}))
        await world.waits(1)
        await driver.execute(
            "INSERT INTO user_blocks (blocker_id, blocked_id) VALUES ($1, $2)", chat.customer.id, chat.provider.id
        )
    # Then the sender finds it
    assert refused(await sending) == (403, "messages_blocked")


async def test_a_message_that_waits_while_the_conversation_is_deleted_finds_none(world: World) -> None:
    chat = await bought(world)
    async with world.platform.database.write() as session:
        driver = await world.hold(session, chat.id, "conversations")
        sending = asyncio.create_task(chat.provider.post(chat.messages, {"text": "Hello"}))
        await world.waits(1)
        await driver.execute("UPDATE conversations SET deleted_at = now() WHERE id = $1", chat.id)
    assert refused(await sending) == (404, "not_found")

"""What no code may do to conversations, because the database refuses it."""

import asyncpg
import pytest

from tests.chats.steps import bought
from tests.support.world import World

MESSAGE = """
INSERT INTO messages (id, conversation_id, number, sender_id, text, image_ids)
VALUES (gen_random_uuid(), cast(:chat AS uuid), cast(:number AS integer), :sender, :text, '{}')
"""


@pytest.mark.parametrize(
    ("number", "text", "wall"),
    [
        (3, "a gap", "messages_number_follows"),
        (1, "twice", "messages_numbered_once"),
        (0, "none", "messages_number_positive"),
        (2, "x" * 4001, "messages_bounded"),
        (2, None, "messages_not_empty"),
    ],
)
async def test_a_message_that_breaks_a_rule_is_not_stored(
    world: World, number: int, text: str | None, wall: str
) -> None:
    chat = await bought(world)
    await chat.say(chat.customer)
    async with world.unchanged():
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
            await world.execute(MESSAGE, chat=chat.id, number=number, sender=chat.customer.id, text=text)
    assert refusal.value.constraint_name == wall


async def test_a_subject_and_counterpart_have_one_living_conversation(world: World) -> None:
    chat = await bought(world)
    copy = """
        INSERT INTO conversations (id, subject_type, subject_id, counterpart_id, region_id)
        SELECT gen_random_uuid(), subject_type, subject_id, {counterpart}, region_id
        FROM conversations WHERE id = cast(:chat AS uuid)
    """
    async with world.unchanged():
        with pytest.raises(asyncpg.UniqueViolationError, match="conversations_one_alive"):
            await world.execute(copy.format(counterpart="counterpart_id"), chat=chat.id)
    # Without a counterpart, too: two NULLs count as the same.
    assert await world.execute(copy.format(counterpart="NULL"), chat=chat.id) == 1
    with pytest.raises(asyncpg.UniqueViolationError, match="conversations_one_alive"):
        await world.execute(copy.format(counterpart="NULL"), chat=chat.id)


async def test_nobody_blocks_oneself(world: World) -> None:
    person = await world.person()
    with pytest.raises(asyncpg.CheckViolationError, match="user_blocks_not_oneself"):
        await world.execute("INSERT INTO user_blocks (blocker_id, blocked_id) VALUES (:id, :id)", id=person.id)

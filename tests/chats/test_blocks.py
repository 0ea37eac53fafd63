"""Who wants no messages from whom (realtime.md: Chat)."""

from app.models.users import Role
from tests.chats.steps import asked, bought, new_id, refused, succeeded
from tests.support.world import Person, World

BLOCKS = "/api/v1/me/blocks"


async def block(person: Person, other: Person) -> None:
    await succeeded(await person.call("PUT", f"{BLOCKS}/{other.id}"))


async def test_after_a_block_nothing_passes_in_either_direction_and_neither_learns_whose_it_is(world: World) -> None:
    chat = await bought(world)
    await chat.say(chat.customer)
    await block(chat.provider, chat.customer)
    async with world.unchanged():
        answers = [await person.post(chat.messages, {"text": "Hello"}) for person in (chat.customer, chat.provider)]
    assert {refused(answer) for answer in answers} == {(403, "messages_blocked")}
    assert answers[0].json() == answers[1].json()
    assert len(await chat.heard(chat.customer)) == 1


async def test_a_block_holds_in_every_conversation_of_the_two_and_in_no_other(world: World) -> None:
    first = await bought(world)
    second = await asked(world, first.customer, first.provider)
    other = await asked(world, first.customer)
    await block(first.customer, first.provider)
    assert refused(await second.provider.post(second.messages, {"text": "Hello"})) == (403, "messages_blocked")
    await other.say(other.provider)


async def test_unblocked_they_talk_again_unless_the_other_one_has_blocked_too(world: World) -> None:
    chat = await bought(world)
    await block(chat.provider, chat.customer)
    await block(chat.customer, chat.provider)
    mine = await succeeded(await chat.customer.get(BLOCKS))
    assert [item["id"] for item in mine["items"]] == [str(chat.provider.id)]
    await succeeded(await chat.customer.call("DELETE", f"{BLOCKS}/{chat.provider.id}"))
    assert refused(await chat.customer.post(chat.messages, {"text": "Hello"})) == (403, "messages_blocked")
    await succeeded(await chat.provider.call("DELETE", f"{BLOCKS}/{chat.customer.id}"))
    await chat.say(chat.customer)


async def test_one_blocks_only_whom_one_has_met(world: World) -> None:
    chat, stranger = await bought(world), await world.person()
    async with world.unchanged():
        answers = [
            await chat.customer.call("PUT", f"{BLOCKS}/{other}")
            for other in (stranger.id, chat.customer.id, new_id(), world.support.id)
        ]
        answers.append(await chat.customer.call("DELETE", f"{BLOCKS}/{chat.provider.id}"))
    assert {refused(answer) for answer in answers} == {(404, "not_found")}


async def test_staff_are_heard_in_spite_of_a_block_between_the_parties(world: World) -> None:
    chat, helper = await bought(world), await world.person(Role.SUPPORT)
    await succeeded(await helper.post(f"/api/v1/admin/conversations/{chat.id}/join"))
    await block(chat.customer, chat.provider)
    await chat.say(helper, "Let us find a way.")
    assert refused(await chat.customer.post(chat.messages, {"text": "No"})) == (403, "messages_blocked")

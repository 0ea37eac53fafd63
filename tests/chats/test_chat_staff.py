"""Staff in conversations: looking on, joining, deciding about reports; what is deleted stays with them."""

import asyncio

import pytest

from app.models.users import Role
from app.schemas.regions import CreateRegion
from app.services.regions import administration as regions
from tests.chats.steps import PATH, Chat, about, asked, bought, listed, refused, rejected, report_of, succeeded
from tests.support.world import FAR_AWAY, Person, World

ADMIN = "/api/v1/admin"


@pytest.fixture(scope="module")
async def elsewhere(world: World) -> Person:
    """The manager of another region."""
    manager = await world.person(Role.MANAGER)
    async with world.platform.database.write() as session:
        wanted = CreateRegion(code="chat-elsewhere", name="Elsewhere", zipcodes=["411002"], centre=FAR_AWAY)
        await regions.appoint_manager(session, (await regions.create(session, wanted)).id, manager.id)
    return manager


async def joined(chat: Chat, person: Person) -> None:
    await succeeded(await person.post(f"{ADMIN}/conversations/{chat.id}/join"))


async def test_a_manager_joins_in_sight_of_the_parties_and_then_writes_and_hears(world: World) -> None:
    chat = await bought(world)
    await chat.say(chat.customer)
    async with world.unchanged():
        assert refused(await world.manager.post(chat.messages, {"text": "Hello"})) == (403, "join_first")
    await joined(chat, world.manager)
    assert (await world.told(chat.id))[-1] == ("chat.participant_joined", {chat.customer.id, chat.provider.id})
    (item,) = await listed(chat.customer)
    roles = {one["user_id"]: one["role"] for one in item["participants"]}
    assert roles[str(world.manager.id)] == "manager"
    await chat.say(world.manager, "How can I help?")
    await chat.say(chat.provider, "He did not pay.")
    assert (await world.told(chat.id))[-1] == ("chat.message_sent", {chat.customer.id, world.manager.id})
    assert chat.id in [one["id"] for one in await listed(world.manager)]


async def test_joining_again_changes_nothing(world: World) -> None:
    chat = await bought(world)
    await joined(chat, world.support)
    async with world.unchanged():
        await joined(chat, world.support)


async def test_a_party_does_not_join_as_staff(world: World) -> None:
    customer = await world.person(Role.SUPPORT)
    chat = await asked(world, customer)
    async with world.unchanged():
        answer = await customer.post(f"{ADMIN}/conversations/{chat.id}/join")
    assert refused(answer) == (409, "already_takes_part")


async def test_a_manager_of_another_region_sees_nothing(world: World, elsewhere: Person) -> None:
    chat = await bought(world)
    sent = await chat.say(chat.customer)
    report = await report_of(chat, chat.provider, sent)
    reason = {"reason": "Fine."}
    async with world.unchanged():
        answers = [
            await elsewhere.get(f"{PATH}/{chat.id}"),
            await elsewhere.get(chat.messages),
            await elsewhere.post(chat.messages, {"text": "Hello"}),
            await elsewhere.post(f"{ADMIN}/conversations/{chat.id}/join"),
            await elsewhere.get(f"{ADMIN}/message-reports/{report}"),
            await elsewhere.post(f"{ADMIN}/message-reports/{report}/uphold", reason),
        ]
        lists = [
            await succeeded(await elsewhere.get(f"{ADMIN}/conversations?subject_id={chat.request_id}")),
            await succeeded(await elsewhere.get(f"{ADMIN}/message-reports")),
        ]
    assert {refused(answer) for answer in answers} == {(404, "not_found")}
    assert [page["items"] for page in lists] == [[], []]


async def test_who_is_no_staff_any_more_hears_nothing_more(world: World) -> None:
    chat, helper = await bought(world), await world.person(Role.SUPPORT)
    await joined(chat, helper)
    await world.execute("DELETE FROM user_roles WHERE user_id = :id AND role = 'support'", id=helper.id)
    await chat.say(chat.customer)
    assert (await world.told(chat.id))[-1] == ("chat.message_sent", {chat.provider.id})


async def test_after_a_rejection_the_chat_is_gone_for_both_and_stays_with_staff(
    world: World, elsewhere: Person
) -> None:
    chat = await bought(world)
    await chat.say(chat.customer, "A secret of ours")
    await joined(chat, world.manager)
    assert await rejected(world, chat) == 1
    async with world.unchanged():
        for person in (chat.customer, chat.provider, elsewhere):
            answers = [
                await person.get(f"{PATH}/{chat.id}"),
                await person.get(chat.messages),
                await person.post(chat.messages, {"text": "Hello?"}),
                await person.call("PUT", f"{PATH}/{chat.id}/read", json={"number": 1}),
            ]
            assert {refused(answer) for answer in answers} == {(404, "not_found")}
            assert await listed(person) == []
            assert "A secret of ours" not in (await person.get("/api/v1/notifications")).text
        assert refused(await world.support.post(f"{ADMIN}/conversations/{chat.id}/join")) == (
            409,
            "conversation_closed",
        )
    for person in (world.manager, world.support, world.admin):
        seen = await succeeded(await person.get(chat.messages))
        assert [message["text"] for message in seen["items"]] == ["A secret of ours"]
        page = await succeeded(await person.get(f"{ADMIN}/conversations?subject_id={chat.request_id}"))
        assert [(one["id"], one["deleted_at"] is not None) for one in page["items"]] == [(chat.id, True)]
    (row,) = [row for row in await world.rows("conversations") if str(row["id"]) == chat.id]
    assert row["deleted_by"] == chat.provider.id
    heard = {chat.customer.id, chat.provider.id, world.manager.id}
    assert (await world.told(chat.id))[-1] == ("chat.conversation_deleted", heard)


async def test_after_a_deleted_conversation_a_new_one_can_begin(world: World) -> None:
    chat = await bought(world)
    await chat.say(chat.customer)
    await rejected(world, chat)
    fresh = await succeeded(await chat.provider.post(PATH, about(chat.request_id)))
    assert (fresh["id"] != chat.id, fresh["last_message"]) == (True, None)
    assert await rejected(world, chat) == 1


async def test_a_report_reaches_support_and_the_managers_with_what_was_written_around(world: World) -> None:
    chat = await asked(world)
    for index in range(14):
        last = await chat.say(chat.provider, f"Call 98765 4321{index % 10}")
    report = await report_of(chat, chat.customer, last)
    ((name, heard),) = await world.told(report)
    assert (name, {world.support.id, world.manager.id} <= heard, chat.provider.id in heard) == (
        "chat.message_reported",
        True,
        False,
    )
    shown = await succeeded(await world.manager.get(f"{ADMIN}/message-reports/{report}"))
    assert [message["number"] for message in shown["messages"]] == list(range(4, 15))
    assert shown["messages"][-1]["original_text"] == "Call 98765 43213"
    assert report in [
        item["id"] for item in (await succeeded(await world.support.get(f"{ADMIN}/message-reports")))["items"]
    ]


async def test_a_message_is_reported_once_by_each_who_has_not_written_it(world: World) -> None:
    chat, other = await bought(world), await bought(world)
    sent = await chat.say(chat.customer)
    await report_of(chat, chat.provider, sent)
    path, body = f"/api/v1/messages/{sent['id']}/reports", {"reason": "spam"}
    async with world.unchanged():
        assert refused(await chat.provider.post(path, body)) == (409, "already_reported")
        assert refused(await chat.customer.post(path, body)) == (404, "not_found")
        assert refused(await other.provider.post(path, body)) == (404, "not_found")


@pytest.mark.parametrize(("action", "status"), [("dismiss", "DISMISSED"), ("uphold", "UPHELD")])
async def test_a_report_is_decided_once_and_who_reported_reads_why(world: World, action: str, status: str) -> None:
    chat = await bought(world)
    report = await report_of(chat, chat.provider, await chat.say(chat.customer))
    path = f"{ADMIN}/message-reports/{report}"
    decided = await succeeded(await world.manager.post(f"{path}/{action}", {"reason": "We looked at it."}))
    assert (decided["status"], decided["decision_reason"]) == (status, "We looked at it.")
    name, heard = (await world.told(report))[-1]
    assert (name, heard) == (f"chat.report_{status.lower()}", {chat.provider.id})
    assert (await world.trail(report))[-1]["actor_id"] == world.manager.id
    async with world.unchanged():
        again = await world.support.post(f"{path}/uphold", {"reason": "Once more."})
    assert refused(again) == (409, "illegal_transition")


async def test_of_two_who_decide_at_once_one_does(world: World) -> None:
    chat = await bought(world)
    report = await report_of(chat, chat.provider, await chat.say(chat.customer))
    path = f"{ADMIN}/message-reports/{report}"
    answers = await asyncio.gather(
        world.manager.post(f"{path}/dismiss", {"reason": "Fine."}),
        world.support.post(f"{path}/uphold", {"reason": "Not fine."}),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(await world.told(report)) == 2

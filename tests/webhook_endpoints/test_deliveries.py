"""Deliveries: signed as Standard Webhooks says, at least once under one id, retried for a day, replayed by hand."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.core.tasks import end
from app.jobs import webhooks
from app.jobs.queue import prune_history
from app.kernel.platform import Platform
from app.services.webhook_endpoints import sending
from tests.conftest import serving
from tests.support.receiver import Receiver, speaking
from tests.support.world import World
from tests.webhook_endpoints.steps import (
    ENDPOINTS,
    Other,
    by_id,
    deliveries,
    happen,
    only_what_comes,
    pass_time,
    read,
    register,
    seconds_until_due,
    send_due,
    spread,
)

DAY = 24 * 3600


@pytest.fixture(autouse=True)
async def _nothing_before(world: World) -> None:
    await only_what_comes(world)


@pytest.fixture
async def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def url(receiver: Receiver) -> AsyncIterator[str]:
    async with serving(receiver) as address:
        yield f"{address}/hook?of=ours"


async def test_an_event_is_sent_signed_to_whoever_asked_for_its_family(
    world: World, receiver: Receiver, url: str
) -> None:
    # Given an owner with an endpoint for a family
    owner = await world.person(language="hi")
    endpoint = await register(owner, url, "hook_test.*")
    # When an event of the family, one of another, and one for somebody else happen
    (event_id,) = await happen(world, owner, 7)
    await happen(world, owner, 8, event=Other)
    await happen(world, await world.person(), 9)
    assert await send_due(world) == 1
    # Then the one is there, with path and query, and its signature fits
    (got,) = receiver.received
    assert (got.method, got.path, got.query) == ("POST", "/hook", "of=ours")
    assert got.headers["content-type"] == "application/json"
    envelope = Webhook(endpoint["secret"]).verify(got.body, got.headers)
    assert (got.headers["webhook-id"], envelope["id"]) == (event_id, event_id)
    assert (envelope["name"], envelope["number"], envelope["message"]) == ("hook_test.happened", 7, "संख्या 7 हुई।")
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint["secret"]).verify(got.body.replace(b"7", b"8"), got.headers)
    # And it is listed with what came of it
    (delivery,) = await deliveries(owner, endpoint)
    (attempt,) = delivery["attempts"]
    assert (delivery["event_id"], delivery["status"], delivery["due_at"]) == (event_id, "DELIVERED", None)
    assert (attempt["status"], attempt["error"]) == (200, None)
    assert attempt["duration_ms"] >= 0


async def test_both_secrets_sign_for_a_day_after_a_rotation(world: World, receiver: Receiver, url: str) -> None:
    owner = await world.person()
    first = await register(owner, url)
    second = (await owner.post(f"{ENDPOINTS}/{first['id']}/secret")).json()
    await happen(world, owner, 1)
    await send_due(world)
    for secret in (first["secret"], second["secret"]):
        assert Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)["number"] == 1
    # When the day is over
    await pass_time(world, first, DAY)
    await happen(world, owner, 2)
    await send_due(world)
    # Then only the new one does
    got = receiver.received[1]
    assert Webhook(second["secret"]).verify(got.body, got.headers)["number"] == 2
    with pytest.raises(WebhookVerificationError):
        Webhook(first["secret"]).verify(got.body, got.headers)


async def test_an_event_is_spread_once_however_often_it_is_looked_at(
    world: World, receiver: Receiver, url: str
) -> None:
    owner = await world.person()
    await register(owner, url)
    await register(owner, url, "hook_test.happened", "hook_test.*", "*")
    (event_id,) = await happen(world, owner, 1)
    await world.execute("UPDATE relay_cursors SET (xid, seq) = ('0', 0) WHERE consumer = 'webhooks'")
    await asyncio.gather(*(spread(world) for _ in range(4)))
    await send_due(world)
    assert list(by_id(receiver.received)) == [event_id] * 2


async def test_nothing_from_before_the_endpoint_is_sent(world: World, receiver: Receiver, url: str) -> None:
    owner = await world.person()
    await register(owner, url, "hook_test_other.*")  # somebody listens, but not to this
    await happen(world, owner, 1)
    await register(owner, url)
    await world.execute("UPDATE relay_cursors SET (xid, seq) = ('0', 0) WHERE consumer = 'webhooks'")
    await spread(world)
    assert (await send_due(world), receiver.received) == (0, [])


async def test_a_delivery_is_tried_for_a_day_with_growing_pauses_and_then_given_up(
    world: World, receiver: Receiver, url: str
) -> None:
    # Given an endpoint that always fails
    receiver.answers = [500] * 100
    owner = await world.person()
    endpoint = await register(owner, url)
    (event_id,) = await happen(world, owner, 1)
    # When the clock goes from attempt to attempt
    pauses = []
    assert await send_due(world) == 1
    while (pause := await seconds_until_due(world, endpoint)) is not None:
        await pass_time(world, endpoint, pause - 0.2)
        assert await send_due(world) == 0  # not before its time
        await pass_time(world, endpoint, 0.4)
        assert await send_due(world) == 1
        pauses.append(pause)
    # Then the pauses grow threefold up to four hours, each off by a fifth at most
    planned = [min(10 * 3**number, 4 * 3600) for number in range(len(pauses))]
    assert all(0.79 * plan <= pause <= 1.21 * plan for plan, pause in zip(planned, pauses, strict=True)), pauses
    # And go on for a day: one more would have been past it
    assert 0.8 * DAY - 4 * 3600 < sum(pauses) <= DAY
    assert sum(pauses) + 1.2 * 4 * 3600 > DAY
    assert 11 <= len(pauses) <= 14
    # And every attempt went out under the same id, and is listed
    assert Counter(by_id(receiver.received)) == {event_id: len(pauses) + 1}
    (delivery,) = await deliveries(owner, endpoint, status="FAILED")
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500] * (len(pauses) + 1)
    assert await deliveries(owner, endpoint, status="PENDING") == []
    assert (await read(owner, endpoint))["status"] == "ENABLED"


async def test_pauses_differ_so_that_a_crowd_comes_apart(platform: Platform) -> None:
    pauses = [sending.pause_after(5, platform.settings) for _ in range(200)]
    assert (min(pauses) < 0.85 * 810, max(pauses) > 1.15 * 810) == (True, True)
    assert len(set(pauses)) > 190


async def test_an_endpoint_that_fails_for_three_days_is_disabled_and_its_owner_told(
    world: World, receiver: Receiver, url: str
) -> None:
    # Given an endpoint that has failed since the first event
    receiver.answers = [500] * 100
    owner = await world.person()
    endpoint = await register(owner, url)
    await happen(world, owner, 1)
    await send_due(world)
    since = datetime.fromisoformat((await read(owner, endpoint))["failing_since"])
    # When three days go by in which nothing is taken
    for day in (1, 2):
        await pass_time(world, endpoint, DAY)
        await happen(world, owner, day)
        await send_due(world)
        assert (await read(owner, endpoint))["status"] == "ENABLED"
    await pass_time(world, endpoint, DAY)
    await happen(world, owner, 3)
    await send_due(world)
    # Then it is disabled, once, and the owner is told and mailed
    found = await read(owner, endpoint)
    assert (found["status"], found["disabled_reason"]) == ("DISABLED", "failing")
    assert datetime.fromisoformat(found["failing_since"]) < since - timedelta(days=2.9)
    told = await world.told(endpoint["id"])
    assert told == [("webhook_endpoint.registered", {owner.id}), ("webhook_endpoint.disabled", {owner.id})]
    # And nothing is sent there any more, by itself or by hand
    waiting, sent = await deliveries(owner, endpoint, status="PENDING"), len(receiver.received)
    await pass_time(world, endpoint, 5 * 3600)
    await happen(world, owner, 4)
    assert (await send_due(world), len(receiver.received)) == (0, sent)
    (failed, *_) = await deliveries(owner, endpoint, limit=100)
    refused = await owner.post(f"{ENDPOINTS}/{endpoint['id']}/deliveries/{failed['event_id']}/replay")
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_endpoint_disabled")
    # When it is repaired and enabled
    receiver.answers = []
    enabled = (await owner.post(f"{ENDPOINTS}/{endpoint['id']}/enable")).json()
    assert (enabled["status"], enabled["failing_since"]) == ("ENABLED", None)
    # Then what still waited is sent
    await send_due(world)
    delivered = {item["event_id"] for item in await deliveries(owner, endpoint, status="DELIVERED")}
    assert delivered == {item["event_id"] for item in waiting}


async def test_one_success_ends_the_days_of_failure(world: World, receiver: Receiver, url: str) -> None:
    receiver.answers = [500, 204, 500]
    owner = await world.person()
    endpoint = await register(owner, url)
    await happen(world, owner, 1)
    await send_due(world)
    await pass_time(world, endpoint, 2.9 * DAY)
    await send_due(world)
    assert (await read(owner, endpoint))["failing_since"] is None
    await happen(world, owner, 2)
    await pass_time(world, endpoint, 0.2 * DAY)
    await send_due(world)
    assert (await read(owner, endpoint))["status"] == "ENABLED"


async def test_a_replay_sends_again_under_the_same_id(world: World, receiver: Receiver, url: str) -> None:
    owner = await world.person()
    endpoint = await register(owner, url)
    (event_id,) = await happen(world, owner, 1)
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries/{event_id}/replay"
    # While it waits it is not replayed
    pending = await owner.post(path)
    assert (pending.status_code, pending.json()["code"]) == (409, "delivery_pending")
    await send_due(world)
    # Of several replays at once, one is taken
    answers = await asyncio.gather(*(owner.post(path) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    await send_due(world)
    assert list(by_id(receiver.received)) == [event_id] * 2
    assert receiver.received[0].body == receiver.received[1].body
    (delivery,) = await deliveries(owner, endpoint)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [200, 200]


async def test_a_replay_of_what_was_given_up_is_tried_for_another_day(
    world: World, receiver: Receiver, url: str
) -> None:
    receiver.answers = [500, 500]
    owner = await world.person()
    endpoint = await register(owner, url)
    (event_id,) = await happen(world, owner, 1)
    await send_due(world)
    await pass_time(world, endpoint, DAY)
    await send_due(world)
    assert [item["status"] for item in await deliveries(owner, endpoint)] == ["FAILED"]
    await owner.post(f"{ENDPOINTS}/{endpoint['id']}/deliveries/{event_id}/replay")
    receiver.answers = [500]
    await send_due(world)
    assert 7 < (await seconds_until_due(world, endpoint) or 0) < 13  # the pauses begin anew
    await pass_time(world, endpoint, 13)
    await send_due(world)
    (delivery,) = await deliveries(owner, endpoint)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 500, 500, 200]


async def test_what_was_sent_and_not_recorded_is_sent_again_under_the_same_id(
    world: World, platform: Platform, receiver: Receiver, url: str
) -> None:
    # Given a worker that dies after it has sent and before it has recorded that
    owner = await world.person()
    endpoint = await register(owner, url)
    (event_id,) = await happen(world, owner, 1)
    (taken,) = await sending.take(platform, {}, 10)
    await sending._send(platform, taken)
    assert await send_due(world) == 0  # as long as it may still be at it
    # When it is taken for lost, then it is sent again
    await pass_time(world, endpoint, 41)
    assert await send_due(world) == 1
    assert list(by_id(receiver.received)) == [event_id] * 2
    # And the first worker, should it live after all, overwrites nothing
    receiver.answers = [500]
    await sending.attempt(platform, taken)
    (delivery,) = await deliveries(owner, endpoint)
    assert (delivery["status"], len(delivery["attempts"])) == ("DELIVERED", 1)
    assert (await read(owner, endpoint))["failing_since"] is None


async def test_workers_that_look_at_once_take_each_delivery_once(
    world: World, platform: Platform, receiver: Receiver, url: str
) -> None:
    owner = await world.person()
    await register(owner, url)
    event_ids = await happen(world, owner, *range(40))
    made = await asyncio.gather(*(webhooks.send_due(platform) for _ in range(4)))
    assert sum(made) == 40
    assert sorted(by_id(receiver.received)) == sorted(event_ids)


async def test_one_endpoint_gets_no_more_at_once_than_its_share_and_holds_up_nobody(
    world: World, platform: Platform, receiver: Receiver, url: str
) -> None:
    at_once = peak = 0
    go_on = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal at_once, peak
        at_once += 1
        peak = max(peak, at_once)
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        at_once -= 1

    async with speaking(hang) as port:
        # Given a crowd for an endpoint that hangs, and one delivery for another that came later
        slow, quick = await world.person(), await world.person()
        await register(slow, f"http://127.0.0.1:{port}/")
        await register(quick, url)
        await happen(world, slow, *range(100))
        await happen(world, quick, 1)
        # When a worker sends
        began = time.monotonic()
        running = asyncio.create_task(webhooks.run_sending(platform))
        await receiver.wait_for(1)
        took = time.monotonic() - began
        async with asyncio.timeout(5):
            while at_once < 4:  # noqa: ASYNC110 - the server tells no other way
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        # Then the quick one was not held up, and the slow one has its four
        assert took < 3
        assert peak == platform.settings.webhook_concurrency_per_endpoint
        go_on.set()
        await end(running)


async def test_a_suspended_owner_is_sent_nothing(world: World, receiver: Receiver, url: str) -> None:
    owner = await world.person()
    await register(owner, url)
    await happen(world, owner, 1)
    await world.admin.post(f"/api/v1/admin/users/{owner.id}/suspend", {"reason": "For the test."})
    assert (await send_due(world), receiver.received) == (0, [])


async def test_nothing_is_sent_to_an_endpoint_that_was_deleted(world: World, receiver: Receiver, url: str) -> None:
    owner = await world.person()
    endpoint = await register(owner, url)
    await happen(world, owner, 1)
    await owner.call("DELETE", f"{ENDPOINTS}/{endpoint['id']}")
    assert (await send_due(world), receiver.received) == (0, [])


async def test_a_secret_that_cannot_be_opened_is_a_failure_and_not_an_end(
    world: World, receiver: Receiver, url: str
) -> None:
    owner = await world.person()
    endpoint = await register(owner, url)
    await world.execute("UPDATE webhook_endpoints SET sealed_secret = 'x' WHERE id = :id", id=UUID(endpoint["id"]))
    await happen(world, owner, 1)
    await send_due(world)
    (delivery,) = await deliveries(owner, endpoint)
    assert ([attempt["error"] for attempt in delivery["attempts"]], receiver.received) == (["secret_unreadable"], [])


async def test_the_list_is_read_in_pages_and_by_status(world: World, receiver: Receiver, url: str) -> None:
    receiver.answers = [500, 500]
    owner = await world.person()
    endpoint = await register(owner, url)
    for number in range(5):
        await happen(world, owner, number)
    await send_due(world)
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries"
    listed: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await owner.get(path, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        listed, cursor = listed + page["items"], page["next_cursor"]
    assert [item["event_id"] for item in listed] == sorted((item["event_id"] for item in listed), reverse=True)
    by_status = {
        status: len(await deliveries(owner, endpoint, status=status)) for status in ("PENDING", "DELIVERED", "FAILED")
    }
    assert (len(listed), by_status) == (5, {"PENDING": 2, "DELIVERED": 3, "FAILED": 0})


async def test_a_working_worker_delivers_by_itself(world: World, working: None, receiver: Receiver, url: str) -> None:
    owner = await world.person()
    endpoint = await register(owner, url, "api_key.*")
    key = (await owner.post("/api/v1/me/api-keys", {"name": "K", "scopes": ["events:read"]})).json()
    (got,) = await receiver.wait_for(1)
    assert json.loads(got.body)["api_key_id"] == key["id"]
    assert Webhook(endpoint["secret"]).verify(got.body, got.headers)


async def test_deliveries_and_revoked_keys_are_forgotten_after_ninety_days(
    world: World, platform: Platform, receiver: Receiver, url: str
) -> None:
    # Given what is old, and what is not
    owner = await world.person()
    endpoint = await register(owner, url)
    old, young = await happen(world, owner, 1, 2)
    keys = [(await owner.post("/api/v1/me/api-keys", {"name": "K", "scopes": ["events:read"]})).json() for _ in "12"]
    await owner.call("DELETE", f"/api/v1/me/api-keys/{keys[0]['id']}")
    ago = "now() - interval '91 days'"
    await world.execute(f"UPDATE webhook_deliveries SET created_at = {ago} WHERE event_id = :id", id=UUID(old))
    await world.execute(f"UPDATE api_keys SET revoked_at = {ago} WHERE id = :id", id=UUID(keys[0]["id"]))
    # When history is pruned
    await prune_history(platform)
    # Then the old is gone, and nothing else
    assert [item["event_id"] for item in await deliveries(owner, endpoint)] == [young]
    assert [str(row["id"]) for row in await world.rows("api_keys", user_id=owner.id)] == [keys[1]["id"]]

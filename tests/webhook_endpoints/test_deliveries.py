"""Deliveries: signed as Standard Webhooks says, once for each event, and to nobody who is not to have them."""

import asyncio
import json
import time
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.core.tasks import end
from app.jobs import webhooks
from app.jobs.queue import prune_history
from app.kernel.platform import Platform
from tests.support.receiver import Receiver, speaking
from tests.support.world import World
from tests.webhook_endpoints.steps import (
    DAY,
    ENDPOINTS,
    Other,
    by_id,
    deliveries,
    happen,
    pass_time,
    register,
    send_due,
    spread,
)

pytestmark = pytest.mark.usefixtures("nothing_before")


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

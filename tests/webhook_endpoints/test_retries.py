"""Deliveries that fail: at least once under one id, retried for a day, replayed by hand."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.kernel.platform import Platform
from app.services.webhook_endpoints import sending
from tests.support.receiver import Receiver
from tests.support.world import World
from tests.webhook_endpoints.steps import (
    DAY,
    ENDPOINTS,
    by_id,
    deliveries,
    happen,
    pass_time,
    read,
    register,
    seconds_until_due,
    send_due,
)

pytestmark = pytest.mark.usefixtures("nothing_before")


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

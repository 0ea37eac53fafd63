"""Who may follow a topic, how many, and for how long (realtime.md: Socket)."""

import asyncio
from typing import Any

import pytest

from app.core.ids import uuid7
from app.kernel import subjects
from app.ws.topics import Follower, Topics
from tests.support import rides
from tests.support.rides import Status, ride
from tests.support.world import World
from tests.ws.sockets import Served, ask
from tests.ws.topics.steps import (
    HERE,
    RECHECK_SECONDS,
    TOPICS_PER_SOCKET,
    a_ride,
    follow,
    present,
    rides_id,
    send,
    silent,
    until,
)


async def test_a_strangers_topic_and_one_that_is_not_there_look_alike(app: Served, world: World) -> None:
    # Given a request, a provider who sees it but takes no part in it, and staff
    customer, request_id, _ = await world.lead()
    watching = await follow(app, customer, f"service_request:{request_id}")
    for stranger in (await world.provider(), world.admin, await world.person()):
        socket = await app.open(stranger)
        # When and then
        for topic in (f"service_request:{request_id}", f"service_request:{uuid7()}", f"payment:{uuid7()}"):
            answer = await ask(socket, {"op": "subscribe", "topic": topic})
            assert answer.pop("detail")
            assert answer == {"type": "error", "code": "topic_unknown", "topic": topic}
            answer = await ask(socket, {"op": "typing", "topic": topic})
            assert answer["code"] == "topic_not_followed"
        await socket.close()
    await silent(watching)
    await watching.close()


async def test_whoever_takes_part_no_longer_stops_following(app: Served, elsewhere: Served, world: World) -> None:
    # Given two who ride along, on two processes
    driver, rider, topic = await a_ride(world)
    leaving = await world.person()
    await ride(world, rides_id(topic), driver, [rider, leaving], Status.MOVING)
    drivers = await follow(app, driver, topic)
    leavings = await follow(elsewhere, leaving, topic, driver)
    await present(drivers, topic, driver, leaving)
    # When one of them is taken off
    await ride(world, rides_id(topic), driver, [rider], Status.MOVING)
    # Then they are told so, nothing more comes to them, and the others see that they are gone
    answer = {"type": "unsubscribed", "topic": topic, "reason": "left"}
    assert await until(leavings, type="unsubscribed") == answer
    await present(drivers, topic, driver)
    await send(drivers, "position", topic, **HERE)
    await silent(leavings)
    assert (await ask(leavings, {"op": "subscribe", "topic": topic}))["code"] == "topic_unknown"
    await drivers.close()
    await leavings.close()


async def test_a_socket_follows_so_many_topics_and_no_more(app: Served, world: World) -> None:
    driver = await world.person()
    topics = [await ride(world, uuid7(), driver, [], Status.MOVING) for _ in range(TOPICS_PER_SOCKET + 1)]
    socket = await app.open(driver)
    for topic in topics[:-1]:
        await send(socket, "subscribe", topic)
        await until(socket, type="subscribed", topic=topic)
    await send(socket, "subscribe", topics[-1])
    assert (await until(socket, type="error"))["code"] == "topic_limit"
    # One that is followed already may be subscribed to again, and one that is given up makes room.
    await send(socket, "subscribe", topics[0])
    await until(socket, type="subscribed", topic=topics[0])
    await send(socket, "unsubscribe", topics[0])
    await send(socket, "subscribe", topics[-1])
    await until(socket, type="subscribed", topic=topics[-1])
    await socket.close()


async def test_a_recheck_that_looked_before_somebody_joined_does_not_send_them_away(
    app: Served, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a recheck that has looked and has not acted yet
    driver, rider, topic = await a_ride(world)
    await ride(world, rides_id(topic), driver, [], Status.MOVING)
    drivers = await follow(app, driver, topic)
    topics: Topics = app.app.state.topics
    looked, go_on = asyncio.Event(), asyncio.Event()
    parties_of = subjects.parties_of

    async def slowly(*arguments: Any) -> Any:
        found = await parties_of(*arguments)
        looked.set()
        await go_on.wait()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(subjects, "parties_of", slowly)
        rechecking = asyncio.create_task(topics._recheck(rides.NAME, list(topics._followed.values())))
        await looked.wait()
    # When somebody joins the ride and follows it
    await ride(world, rides_id(topic), driver, [rider], Status.MOVING)
    riders = await follow(app, rider, topic, driver)
    go_on.set()
    await rechecking
    # Then they stay
    await silent(riders)
    await riders.close()
    await drivers.close()


async def test_refusals_that_a_client_cannot_foresee_do_not_end_its_socket(app: Served, world: World) -> None:
    driver, _, topic = await a_ride(world, status=Status.WAITING)
    socket = await follow(app, driver, topic)
    for _ in range(20):
        answer = await ask(socket, {"op": "position", "topic": topic, **HERE})
        assert answer["code"] == "position_refused"
    assert await ask(socket, {"op": "ping"}) == {"type": "pong"}
    await socket.close()


async def test_who_leaves_while_subscribing_follows_nothing(
    app: Served, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a subscription that waits for the database
    driver, _, topic = await a_ride(world)
    socket = await app.open(driver)
    [connection] = app.hub.of(driver.id)
    topics: Topics = app.app.state.topics
    follower = Follower(connection)
    asked, go_on = asyncio.Event(), asyncio.Event()
    look = topics._positions

    async def slowly(*arguments: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await look(*arguments)

    monkeypatch.setattr(topics, "_positions", slowly)
    subscribing = asyncio.create_task(topics.subscribe(follower, topic))
    await asked.wait()
    # When the socket is closed
    topics.leave(follower)
    go_on.set()
    await subscribing
    # Then
    assert not follower.topics
    assert topics.count == 0
    await socket.close()


async def test_while_the_database_is_away_a_topic_cannot_be_followed_and_one_that_is_goes_on(
    app: Served, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, rider, topic = await a_ride(world)
    riders, drivers = await follow(app, rider, topic), await app.open(driver)

    async def away() -> None:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(app.app.state.platform.database, "acquire", away)
        answer = await ask(drivers, {"op": "subscribe", "topic": topic})
        assert answer["code"] == "topic_unavailable"
        await asyncio.sleep(2 * RECHECK_SECONDS)
    assert (await ask(drivers, {"op": "subscribe", "topic": topic}))["type"] == "subscribed"
    await present(riders, topic, driver, rider)
    await riders.close()
    await drivers.close()

"""Where somebody is: who may say so, who hears, and that only the newest counts (realtime.md: Socket)."""

import asyncio
import json

from websockets.asyncio.client import ClientConnection

from app.core.config import Settings
from app.ws.topics import Follower
from tests.support.rides import Status, ride
from tests.support.world import World
from tests.ws.sockets import Served, ask, frame, served
from tests.ws.topics.steps import HERE, PERIOD_SECONDS, SMALL, a_ride, follow, present, rides_id, send, silent


async def test_a_position_reaches_the_others_and_whoever_comes_later(
    app: Served, elsewhere: Served, world: World
) -> None:
    driver, rider, topic = await a_ride(world)
    drivers = await follow(app, driver, topic)
    riders = await follow(elsewhere, rider, topic, driver)
    await present(drivers, topic, driver, rider)
    # When the driver says where they are
    await send(drivers, "position", topic, **HERE, accuracy_metres=4.5)
    # Then the others hear so
    heard = await frame(riders)
    assert heard.pop("timestamp")
    assert heard == {"type": "position", "topic": topic, "user_id": str(driver.id), "accuracy_metres": 4.5, **HERE}
    await silent(drivers)
    await riders.close()
    await present(drivers, topic, driver)
    # and whoever subscribes later hears the newest at once
    riders = await app.open(rider)
    assert (await ask(riders, {"op": "subscribe", "topic": topic}))["type"] == "subscribed"
    heard = await frame(riders)
    assert (heard["type"], heard["latitude"], heard["user_id"]) == ("position", HERE["latitude"], str(driver.id))
    await riders.close()
    await drivers.close()


async def test_a_position_is_forgotten(configured: Settings, world: World) -> None:
    driver, rider, topic = await a_ride(world)
    async with served(configured, **SMALL | {"position_seconds": 0.3}) as app:
        drivers = await follow(app, driver, topic)
        await send(drivers, "position", topic, **HERE)
        assert await ask(drivers, {"op": "ping"}) == {"type": "pong"}
        await asyncio.sleep(0.6)
        riders = await app.open(rider)
        await ask(riders, {"op": "subscribe", "topic": topic})
        assert (await frame(riders))["type"] == "presence"
        await riders.close()
        await drivers.close()


async def test_only_whom_the_subject_names_may_send_a_position_and_only_while_it_says_so(
    app: Served, world: World
) -> None:
    # Given a ride that has not begun
    driver, rider, topic = await a_ride(world, status=Status.WAITING)
    drivers, riders = await follow(app, driver, topic), await follow(app, rider, topic, driver)
    await present(drivers, topic, driver, rider)
    place = {"op": "position", "topic": topic, **HERE}
    # When and then
    assert (await ask(drivers, place))["code"] == "position_refused"
    # and once it has, the driver may and the rider may not
    await ride(world, rides_id(topic), driver, [rider], Status.MOVING)
    async with asyncio.timeout(5):
        await drivers.send(json.dumps(place))
        while not await passes(riders, "position"):
            await drivers.send(json.dumps(place))
    assert (await ask(riders, place))["code"] == "position_refused"
    # and a subject that declares nobody takes none
    customer, request_id, _ = await world.lead()
    socket = await follow(app, customer, f"service_request:{request_id}")
    answer = await ask(socket, place | {"topic": f"service_request:{request_id}"})
    assert answer["code"] == "position_refused"
    for opened in (socket, drivers, riders):
        await opened.close()


async def passes(socket: ClientConnection, kind: str) -> bool:
    """Whether a frame of this kind comes soon."""
    try:
        return bool((await frame(socket, 0.1))["type"] == kind)
    except TimeoutError:
        return False


async def test_what_comes_too_often_is_dropped(app: Served, world: World) -> None:
    driver, rider, topic = await a_ride(world)
    drivers, riders = await follow(app, driver, topic), await follow(app, rider, topic, driver)
    await present(drivers, topic, driver, rider)
    # When positions come much faster than they are passed on
    began = asyncio.get_running_loop().time()
    for number in range(60):
        await send(drivers, "position", topic, latitude=number, longitude=0)
        await asyncio.sleep(0.02)
    took = asyncio.get_running_loop().time() - began
    # Then one in each period is
    heard = []
    while await passes(riders, "position"):
        heard.append(1)
    assert 2 <= len(heard) <= took / PERIOD_SECONDS + 2
    # and the socket lives on
    assert await ask(drivers, {"op": "ping"}) == {"type": "pong"}
    await drivers.close()
    await riders.close()


async def test_for_a_slow_reader_only_the_newest_of_each_kind_waits(app: Served, world: World) -> None:
    # Given a follower that is written nothing
    driver, rider, topic = await a_ride(world)
    socket = await follow(app, rider, topic)
    [connection] = app.hub.of(rider.id)
    follower = Follower(connection)
    # When much passes
    for number in range(10_000):
        follower.pass_on(("position", topic, driver.id), str(number).encode())
        follower.pass_on(("position", str(number), driver.id), b"of another topic")
    # Then a bounded number of frames waits, the newest of the one that changed among them at most once
    waiting = []
    while (passing := follower.take()) is not None:
        waiting.append(passing)
    assert len(waiting) <= 200
    assert [passing for passing in waiting if passing != b"of another topic"] in ([b"9999"], [])
    await socket.close()

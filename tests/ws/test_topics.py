"""What the parties of a subject see of each other: who is there, who types, where (realtime.md: Socket)."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from app.core.config import Settings
from app.core.ids import uuid7
from app.kernel import subjects
from app.kernel.platform import Platform
from app.ws.topics import Follower, Topics
from tests.processes.servers import environment_of, free_port
from tests.support import rides
from tests.support.nursery import Nursery
from tests.support.rides import Status, ride
from tests.support.world import Person, World
from tests.ws.sockets import Frame, Served, ask, closing_code, frame, served, tell

RECHECK_SECONDS = 0.2
PERIOD_SECONDS = 0.4
PRESENCE_SECONDS = 1.5
TOPICS_PER_SOCKET = 5
SMALL = {
    "topic_recheck_seconds": RECHECK_SECONDS,
    "topic_message_seconds": PERIOD_SECONDS,
    "presence_seconds": PRESENCE_SECONDS,
    "topics_per_socket": TOPICS_PER_SOCKET,
    "hub_sweep_seconds": 0.2,
}
SILENCE_SECONDS = 0.3
HERE = {"latitude": 18.5074, "longitude": 73.8077}


@pytest.fixture(scope="module", autouse=True)
async def known_rides(configured: Settings) -> AsyncIterator[None]:
    async with rides.known(configured):
        yield


@pytest.fixture(scope="module")
async def app(configured: Settings, known_rides: None) -> AsyncIterator[Served]:
    async with served(configured, **SMALL) as running:
        yield running


@pytest.fixture(scope="module")
async def elsewhere(configured: Settings, known_rides: None) -> AsyncIterator[Served]:
    """Another process on the same servers, as far as the application can tell."""
    async with served(configured, **SMALL) as running:
        yield running


async def until(socket: ClientConnection, **members: Any) -> Frame:
    """The next frame in which these members have these values; what comes before is passed over."""
    async with asyncio.timeout(5):
        while True:
            heard = await frame(socket)
            if all(heard.get(name) == value for name, value in members.items()):
                return heard


async def present(socket: ClientConnection, topic: str, *people: Person) -> None:
    """Wait until these and no others are present."""
    online = sorted(str(person.id) for person in people)
    await until(socket, type="presence", topic=topic, online=online)


async def silent(socket: ClientConnection) -> None:
    """Nothing comes."""
    with pytest.raises(TimeoutError):
        await frame(socket, SILENCE_SECONDS)


async def follow(app: Served, person: Person, topic: str, *with_people: Person) -> ClientConnection:
    """A socket that follows the topic and knows that these people do too."""
    socket = await app.open(person)
    assert await ask(socket, {"op": "subscribe", "topic": topic}) == {"type": "subscribed", "topic": topic}
    await present(socket, topic, person, *with_people)
    return socket


async def send(socket: ClientConnection, op: str, topic: str, **more: Any) -> None:
    await socket.send(json.dumps({"op": op, "topic": topic} | more))


async def a_ride(world: World, *, status: Status = Status.MOVING) -> tuple[Person, Person, str]:
    """A driver, somebody who rides along, and their topic."""
    driver, rider = await world.person(), await world.person()
    return driver, rider, await ride(world, uuid7(), driver, [rider], status)


async def test_the_parties_of_a_request_see_who_is_there_and_who_types(app: Served, world: World) -> None:
    # Given a customer and a provider who bought the lead
    customer, request_id, [provider] = await world.lead()
    topic = f"service_request:{request_id}"
    customers = await follow(app, customer, topic)
    providers = await follow(app, provider, topic, customer)
    await present(customers, topic, customer, provider)
    # When one types
    await send(providers, "typing", topic)
    # Then the other hears so, and not the one who types
    assert await frame(customers) == {"type": "typing", "topic": topic, "user_id": str(provider.id)}
    await silent(providers)
    # and when one stops following, nothing more comes to them, and the other sees them leave
    assert await ask(providers, {"op": "unsubscribe", "topic": topic}) == {
        "type": "unsubscribed",
        "topic": topic,
        "reason": "asked",
    }
    await present(customers, topic, customer)
    await send(customers, "typing", topic)
    await silent(providers)
    await customers.close()
    await providers.close()


async def test_competitors_for_one_customer_do_not_see_each_other(app: Served, elsewhere: Served, world: World) -> None:
    # Given a customer and three providers who bought the same lead, one of them on another process
    customer, request_id, (first, second, third) = await world.lead(buyers=3)
    topic = f"service_request:{request_id}"
    firsts, seconds = await follow(app, first, topic), await follow(app, second, topic)
    thirds = await follow(elsewhere, third, topic)
    # When the customer comes, each sees the customer alone, who sees all of them
    customers = await follow(app, customer, topic, first, second, third)
    for provider, socket in ((first, firsts), (second, seconds), (third, thirds)):
        await present(socket, topic, customer, provider)
    # and when one of them types, and leaves, so does the customer alone notice
    await send(firsts, "typing", topic)
    await until(customers, type="typing", user_id=str(first.id))
    await firsts.close()
    await present(customers, topic, customer, second, third)
    for socket in (seconds, thirds):
        await silent(socket)
    # and when the customer types, they all hear so
    await send(customers, "typing", topic)
    for socket in (seconds, thirds):
        assert await frame(socket) == {"type": "typing", "topic": topic, "user_id": str(customer.id)}
        await socket.close()
    await customers.close()


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


async def test_presence_and_typing_go_from_process_to_process(app: Served, elsewhere: Served, world: World) -> None:
    driver, rider, topic = await a_ride(world)
    drivers = await follow(app, driver, topic)
    riders = await follow(elsewhere, rider, topic, driver)
    await present(drivers, topic, driver, rider)
    await send(drivers, "typing", topic)
    assert await frame(riders) == {"type": "typing", "topic": topic, "user_id": str(driver.id)}
    # and one who follows with two devices is there until both have left
    second = await follow(app, rider, topic, driver)
    await riders.close()
    await silent(drivers)
    await second.close()
    await present(drivers, topic, driver)
    await drivers.close()


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


def rides_id(topic: str) -> Any:
    return topic.partition(":")[2]


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


async def test_nothing_is_stored_and_nothing_is_left_behind(app: Served, world: World) -> None:
    driver, rider, topic = await a_ride(world)
    topics: Topics = app.app.state.topics
    async with world.unchanged():
        drivers, riders = await follow(app, driver, topic), await follow(app, rider, topic, driver)
        await send(drivers, "position", topic, **HERE)
        await send(drivers, "typing", topic)
        await until(riders, type="typing")
        drivers.transport.abort()
        await riders.close()
        async with asyncio.timeout(5):
            while topics.count or app.hub.count:  # noqa: ASYNC110  (a poll is simpler here)
                await asyncio.sleep(0.01)
    client, channel = app.app.state.platform.valkey.client, f"topic:{topic}"
    assert await client.zcard(f"presence:{topic}") == 0
    async with asyncio.timeout(5):
        while dict(await client.pubsub_numsub(channel))[channel.encode()]:  # noqa: ASYNC110 - Valkey tells no other way
            await asyncio.sleep(0.01)


async def test_a_process_that_ends_in_an_orderly_way_says_that_its_users_are_gone(
    configured: Settings, world: World
) -> None:
    # Given a party on each of two processes, whose presence would last long
    driver, rider, topic = await a_ride(world)
    lasting = SMALL | {"presence_seconds": 60}
    async with served(configured, **lasting) as staying:
        async with served(configured, **lasting) as ending:
            drivers = await follow(staying, driver, topic)
            riders = await follow(ending, rider, topic, driver)
            await present(drivers, topic, driver, rider)
            # When one process ends
        assert await closing_code(riders) == 1012
        # Then the other hears of it at once
        await present(drivers, topic, driver)
        await drivers.close()


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


async def test_presence_ends_when_a_process_is_killed(children: Nursery, world: World, platform: Platform) -> None:
    # Given two server processes and a party of a request on each
    customer, request_id, [provider] = await world.lead()
    topic = f"service_request:{request_id}"
    small = environment_of({name: value for name, value in SMALL.items() if name != "topic_message_seconds"})
    async with AsyncExitStack() as stack:
        ports = [free_port(), free_port()]
        pids = [await children.serve(port, small) for port in ports]
        sockets = []
        for port, person in zip(ports, (customer, provider), strict=True):
            await serves(port)
            url = f"ws://127.0.0.1:{port}/ws/notifications/"
            socket = await stack.enter_async_context(connect(url, subprotocols=person.subprotocols, proxy=None))
            assert await frame(socket) == {"type": "ready"}
            await send(socket, "subscribe", topic)
            sockets.append(socket)
        customers, providers = sockets
        await present(customers, topic, customer, provider)
        await present(providers, topic, customer, provider)
        # When one types, the other hears so
        await send(providers, "typing", topic)
        await until(customers, type="typing", user_id=str(provider.id))
        # When that process is killed
        os.kill(pids[1], signal.SIGKILL)
        assert await closing_code(providers) == 1006
        # Then the other party sees them gone, no later than presence lives, and hears events as before
        async with asyncio.timeout(2 * PRESENCE_SECONDS + 1):
            await present(customers, topic, customer)
        await tell(platform.database, customer, words="on it goes")
        assert (await frame(customers))["reason"] == "on it goes"


async def serves(port: int) -> None:
    async with asyncio.timeout(20), httpx.AsyncClient() as http:
        while True:
            try:
                if (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success:
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)

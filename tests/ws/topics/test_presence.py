"""Who is there and who types, from process to process, and that nothing of it stays (realtime.md: Socket)."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

from websockets.asyncio.client import connect

from app.core.config import Settings
from app.kernel.platform import Platform
from app.ws.topics import Topics
from tests.processes.servers import environment_of, free_port
from tests.support.nursery import Nursery
from tests.support.world import World
from tests.ws.sockets import Served, ask, closing_code, frame, served, serves, tell
from tests.ws.topics.steps import HERE, PRESENCE_SECONDS, SMALL, a_ride, follow, present, send, silent, until


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
            while topics.count or app.hub.count:  # noqa: ASYNC110 - a poll is simpler here
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

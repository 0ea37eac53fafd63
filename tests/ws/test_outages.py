"""Dead lines, suspended users, and servers that are away for a while (realtime.md: Socket)."""

import asyncio
import base64
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect

from app.core.config import Settings
from app.kernel.platform import Platform
from tests.processes.servers import environment_of, free_port
from tests.support.nursery import Nursery
from tests.support.world import Person, World
from tests.ws.sockets import Served, ask, closing_code, frame, served, serves, tell
from tests.ws.test_opening import suspend

HEARTBEAT_SECONDS = 0.3
_PING = 0x9


async def test_a_heartbeat_comes_every_25_seconds_unless_configured_otherwise() -> None:
    assert Settings.model_fields["socket_heartbeat_seconds"].default == 25


async def opcodes(port: int, ticket: str) -> AsyncIterator[int]:
    """The kinds of the frames that a server sends, to a client that answers none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET /ws/notifications/?ticket={ticket} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    writer.write("\r\n".join([*lines, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]).encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    try:
        while True:
            first, length = await reader.readexactly(2)
            await reader.readexactly(length)  # all of them are short
            yield first & 0x0F
    finally:
        writer.close()


async def test_the_server_sends_heartbeats(children: Nursery, world: World) -> None:
    person = await world.person()
    ticket = (await person.post("/api/v1/ws/tickets")).json()["ticket"]
    port = free_port()
    pid = await children.serve(port, environment_of({"socket_heartbeat_seconds": HEARTBEAT_SECONDS}))
    await serves(port)
    began = time.monotonic()
    async with asyncio.timeout(5):
        async for opcode in opcodes(port, ticket):
            if opcode == _PING:
                break
    assert time.monotonic() - began < HEARTBEAT_SECONDS + 1
    os.kill(pid, signal.SIGKILL)


async def test_a_suspended_users_token_and_ticket_open_nothing(small: Served, world: World) -> None:
    # Given a token that has not expired and a ticket that is not spent
    person = await world.person()
    ticket = await small.ticket(person)
    await suspend(world, person)
    # When and then
    for url, offered in ((f"{small.url}?ticket={ticket}", None), (small.url, person.subprotocols)):
        async with connect(url, subprotocols=offered, proxy=None) as socket:
            assert await closing_code(socket) == 4401


async def test_while_the_database_is_away_sockets_stay_open_and_then_hear_what_they_missed(
    configured: Settings, platform: Platform, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await world.person()
    async with served(configured, hub_sweep_seconds=0.2) as app:
        socket = await app.open(person)
        was_tried = asyncio.Event()

        async def away() -> None:
            was_tried.set()
            raise OSError("away")

        # Given a server that cannot reach the database, whose last look into it has ended
        with monkeypatch.context() as patched:
            for database in (app.app.state.platform.database, app.app.state.platform.watching):
                patched.setattr(database, "acquire", away)
            await asyncio.wait_for(was_tried.wait(), 5)
            # When another one, which can, commits events, for longer than some sweeps
            for number in range(5):
                await tell(platform.database, person, words=str(number))
                await asyncio.sleep(0.1)
            assert await ask(socket, {"op": "ping"}) == {"type": "pong"}
        # Then they all arrive when it is back
        assert [(await frame(socket))["reason"] for _ in range(5)] == [str(number) for number in range(5)]
        await socket.close()


async def test_a_client_that_drops_its_line_again_and_again_misses_nothing(
    small: Served, platform: Platform, world: World
) -> None:
    # Given a client that remembers nothing but which events it has acted on, and acknowledges each
    person, count = await world.person(), 60
    heard: dict[str, str] = {}
    socket = await small.open(person)
    telling = asyncio.create_task(_tell_many(platform, person, count))
    while len(heard) < count:
        # When it loses its line after some events, and comes back
        for _ in range(min(10, count - len(heard))):
            event = await frame(socket)
            heard.setdefault(event["id"], event["reason"])
            await socket.send(f'{{"op":"ack","id":"{event["id"]}"}}')
        await socket.send('{"op":"ping"}')
        while (await frame(socket))["type"] != "pong":
            pass  # whatever it did not act on any more
        socket.transport.abort()
        socket = await small.open(person)
        await socket.send('{"op":"resume"}')
        while (await frame(socket))["type"] != "resumed":
            pass  # a live one, which comes again in its place
    # Then it has everything, in order
    assert list(heard.values()) == [str(number) for number in range(count)]
    await telling
    await socket.close()


async def _tell_many(platform: Platform, person: Person, count: int) -> None:
    for number in range(count):
        await tell(platform.database, person, words=str(number))
        await asyncio.sleep(0.01)

"""A server process that is told to stop, and one that is told nonsense through its real socket settings."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.core.config import Settings
from app.core.ids import uuid7
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.services.service_requests.events import SentBack
from tests.processes.servers import Server, ended, handing_in, hold, serving_processes
from tests.support.world import Person, World

STOP_SECONDS = 10.0


@pytest.fixture
async def server(configured: Settings, tmp_path: Path) -> AsyncIterator[Server]:
    assert configured.database_url
    async with serving_processes(tmp_path, 1) as [running]:
        yield running


async def code_of(socket: ClientConnection) -> int:
    async with asyncio.timeout(STOP_SECONDS):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


async def tell(platform: Platform, person: Person, words: str) -> None:
    async with platform.database.write() as session:
        event = SentBack(service_request_id=person.id, reason=words, status="IN_PROGRESS")
        await emit(session, event, subject_type="service_request", subject_id=uuid7(), to=[person.id])


async def test_a_server_that_is_stopped_closes_its_sockets_with_1012_and_ends(server: Server, world: World) -> None:
    people = [await world.person() for _ in range(20)]
    url = f"ws://127.0.0.1:{server.port}/ws/notifications/"
    sockets = [await connect(url, subprotocols=person.subprotocols, proxy=None) for person in people]
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.gather(*(code_of(socket) for socket in sockets)) == [1012] * len(sockets)
    took = await ended(server.process, STOP_SECONDS)
    print(f"ended {took:.1f} s after the sockets were closed")


async def test_event_streams_do_not_hold_up_the_end(server: Server, world: World) -> None:
    person = await world.person()
    async with server.http.stream("GET", "/api/v1/events/stream", headers=person.headers) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: ready"
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert [line async for line in lines][-1] == ""
        await ended(server.process, STOP_SECONDS)
    assert time.monotonic() - began < STOP_SECONDS / 2


async def test_neither_a_reader_that_reads_nothing_nor_half_a_request_keeps_a_server_from_ending(
    server: Server, world: World, platform: Platform
) -> None:
    # Given a socket whose client has stopped reading with much on its way, and a request that does not come to its end
    person = await world.person()
    url = f"ws://127.0.0.1:{server.port}/ws/notifications/"
    socket = await connect(url, subprotocols=person.subprotocols, proxy=None, max_queue=1, ping_interval=None)
    for _ in range(100):
        await tell(platform, person, "." * 60_000)
    provider = await world.provider()
    half = await hold(server, handing_in(provider, server, str(uuid7())))
    await asyncio.sleep(1)
    # When
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    # Then
    await ended(server.process, STOP_SECONDS)
    print(f"ended after {time.monotonic() - began:.1f} s")
    socket.transport.abort()
    half.writer.transport.abort()


async def test_a_killed_server_takes_no_event_with_it(servers: list[Server], world: World, platform: Platform) -> None:
    # Given a socket on one process
    person = await world.person()
    folder = Path(platform.settings.data_folder)
    async with serving_processes(folder, 1) as [doomed]:
        async with doomed.seen_by(person).socket() as socket:
            await tell(platform, person, "one")
            first = json.loads(await socket.recv())
            # When that process is killed, and events are committed
            doomed.process.kill()
            await tell(platform, person, "two")
            assert await code_of(socket) == 1006
            await tell(platform, person, "three")
        # Then another process has them
        async with servers[0].seen_by(person).socket() as socket:
            await socket.send(json.dumps({"op": "resume", "after": first["id"]}))
            frames = [json.loads(await socket.recv()) for _ in range(3)]
            assert frames[0] == {"type": "resumed", "after": first["id"]}
            assert [frame["reason"] for frame in frames[1:]] == ["two", "three"]


async def test_a_frame_above_the_limit_of_the_server_ends_the_socket_before_it_is_read(
    servers: list[Server], world: World
) -> None:
    person = await world.person()
    async with servers[0].seen_by(person).socket() as socket:
        await socket.send("x" * 60_000)
        assert json.loads(await socket.recv())["code"] == "frame_refused"
        await socket.send("x" * 70_000)
        assert await code_of(socket) == 1009

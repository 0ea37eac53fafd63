"""A slow reader never holds up others nor grows memory (realtime.md: Socket)."""

import asyncio
import socket as sockets
import time
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.core.config import Settings
from app.core.ids import uuid7
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.services.service_requests.events import SentBack
from app.ws.position import PAGE
from tests.support.faithful import until
from tests.support.world import Person, World
from tests.ws.sockets import Frame, Served, frame, resume, served, tell

STALL_SECONDS = 1.0
SWEEP_SECONDS = 0.2
EVENTS, EVENT_BYTES = 800, 10_000
"""More than the kernel's buffers of a connection take."""


@pytest.fixture
async def app(configured: Settings) -> AsyncIterator[Served]:
    async with served(configured, hub_sweep_seconds=SWEEP_SECONDS, socket_stall_seconds=STALL_SECONDS) as running:
        yield running


async def open_without_reading(app: Served, person: Person) -> ClientConnection:
    """A client that takes its first frame and then none, with little room in between."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 8192)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (app.http.base_url.host, app.http.base_url.port))
    url = f"{app.url}?ticket={await app.ticket(person)}"
    socket = await connect(url, sock=raw, proxy=None, compression=None, max_queue=1, ping_interval=None)
    assert await frame(socket) == {"type": "ready"}
    return socket


async def flood(platform: Platform, person: Person) -> None:
    async with platform.database.write() as session:
        for number in range(EVENTS):
            words = str(number).ljust(EVENT_BYTES, ".")
            event = SentBack(service_request_id=person.id, reason=words, status="IN_PROGRESS")
            await emit(session, event, subject_type="service_request", subject_id=uuid7(), to=[person.id])


async def stalled(app: Served, person: Person) -> None:
    """Wait until the hub cannot write to this user any more."""
    await until(
        lambda: any(c.stalled_since and len(c.frames) >= PAGE for c in app.hub.of(person.id)), 10, "a stalled line"
    )


async def test_a_reader_that_never_reads_is_cut_off_and_loses_nothing(
    app: Served, platform: Platform, world: World
) -> None:
    # Given a reader that reads and one that has an event and then stops reading
    idle, keen = await world.person(), await world.person()
    socket = await app.open(idle)
    await tell(platform.database, idle, words="first")
    first = (await frame(socket))["id"]
    await socket.close()
    silent, reading = await open_without_reading(app, idle), await app.open(keen)

    # When a flood of events comes for the one that does not read
    await flood(platform, idle)
    await stalled(app, idle)
    began = time.monotonic()
    delays, most = [], 0
    while app.hub.connections_of(idle.id):
        # Then the other one hears at once
        sent = time.monotonic()
        await tell(platform.database, keen)
        await frame(reading)
        delays.append(time.monotonic() - sent)
        # and what waits in memory is bounded
        most = max([most, *(len(connection.frames) for connection in app.hub.of(idle.id))])
        assert time.monotonic() - began < 15
        await asyncio.sleep(0.02)
    took = time.monotonic() - began
    print(f"cut off after {took:.1f} s; {most} frames; the other's delay at most {max(delays) * 1000:.0f} ms")
    assert PAGE <= most <= 2 * PAGE
    assert max(delays) < 0.5
    # and it is cut off soon after it stalled, with the time that its closing frame is offered
    assert STALL_SECONDS - 0.1 < took < STALL_SECONDS + SWEEP_SECONDS + 5 + 1
    silent.transport.abort()

    # and when it comes back, it has missed nothing
    again = await app.open(idle, compression=None)
    await resume(again, first)
    heard = [(await frame(again))["reason"] for _ in range(EVENTS)]
    assert [int(words.rstrip(".")) for words in heard] == list(range(EVENTS))
    await again.close()
    await reading.close()


async def test_a_slow_reader_that_reads_again_is_told_to_resume(app: Served, platform: Platform, world: World) -> None:
    # Given a reader that has fallen behind for too long
    person = await world.person()
    socket = await open_without_reading(app, person)
    await flood(platform, person)
    await stalled(app, person)
    await until(lambda: any(connection.closing for connection in app.hub.of(person.id)), 10, "a line that is closing")
    # When it reads again
    heard: dict[str, Frame] = {}
    closed: ConnectionClosed | None = None
    async with asyncio.timeout(10):
        try:
            while True:
                event = await frame(socket)
                heard[event["id"]] = event
        except ConnectionClosed as end:
            closed = end
    # Then it gets what was under way, and the code that says what to do
    assert closed is not None
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (4409, "resume")
    assert 0 < len(heard) < EVENTS
    # and does it
    again = await app.open(person, compression=None)
    await resume(again, list(heard)[-1])
    while len(heard) < EVENTS:
        event = await frame(again)
        heard.setdefault(event["id"], event)
    assert [int(event["reason"].rstrip(".")) for event in heard.values()] == list(range(EVENTS))
    await again.close()


async def test_a_reader_that_is_merely_slow_is_left_alone(app: Served, platform: Platform, world: World) -> None:
    person = await world.person()
    socket = await open_without_reading(app, person)
    await flood(platform, person)
    heard = 0
    # A third of it is read over more than twice the time that a standstill may last.
    while heard < EVENTS // 3:
        for _ in range(20):
            await frame(socket)
        heard += 20
        await asyncio.sleep(2.4 * STALL_SECONDS / (EVENTS / 3 / 20))
    assert [connection.closing for connection in app.hub.of(person.id)] == [None]
    for _ in range(EVENTS - heard):
        await frame(socket)
    await socket.close()

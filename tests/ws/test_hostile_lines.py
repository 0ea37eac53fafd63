"""What a peer that means harm may do to the connection under a socket, over a real one (realtime.md: Socket)."""

import asyncio
import base64
import os
import socket as sockets
import struct
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app.kernel.platform import Platform
from tests.processes.servers import environment_of, free_port
from tests.support.nursery import Nursery
from tests.support.world import Person, World
from tests.ws.test_slow_readers import flood

CUT_SECONDS = 2
SMALL = {"connection_stall_seconds": CUT_SECONDS, "socket_stall_seconds": 1, "hub_sweep_seconds": 0.2}
FLOOD_BYTES = int(os.environ.get("LOCALBAZAAR_FLOOD_BYTES", 24_000_000))
KEPT_BYTES = 8_000_000
"""What the process may grow by, whatever is sent to it: far less than that."""
_FIN, _TEXT, _CONTINUED, _PING = 0x80, 0x1, 0x0, 0x9
_MASKED = 0x80


class Process:
    def __init__(self, pid: int, port: int) -> None:
        self.port, self._pid = port, pid

    @property
    def memory_bytes(self) -> int:
        return int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def request(self, target: str, *headers: str) -> sockets.socket:
        """A raw connection with this request's answer, of which nothing but the head is read."""
        line = sockets.socket()
        line.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 8192)
        line.settimeout(10)
        line.connect(("127.0.0.1", self.port))
        head = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers]
        line.sendall("\r\n".join([*head, "", ""]).encode())
        answered = b""
        while not answered.endswith(b"\r\n\r\n"):
            answered += line.recv(1)
        return line

    def open(self, person: Person) -> sockets.socket:
        """A raw line that carries a WebSocket; its first frame waits to be read."""
        key = base64.b64encode(os.urandom(16)).decode()
        return self.request(
            "/ws/notifications/",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Sec-WebSocket-Protocol: bearer, {person.access_token}",
        )


@pytest.fixture(scope="module")
async def process(children: Nursery) -> Process:
    port = free_port()
    pid = await children.serve(port, environment_of(SMALL))
    async with httpx.AsyncClient() as http, asyncio.timeout(30):
        while True:
            try:
                if (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == httpx.codes.OK:
                    break
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
    return Process(pid, port)


def _frame(opcode: int, payload: bytes = b"") -> bytes:
    return struct.pack("!BB", opcode, _MASKED | len(payload)) + bytes(4) + payload


def _send(line: sockets.socket, content: bytes, total: int) -> None:
    """Again and again, until so many bytes were taken, or the line is cut or full."""
    try:
        for _ in range(total // len(content)):
            line.sendall(content)
    except OSError:
        pass


def _is_cut_within(line: sockets.socket, harmless: bytes, seconds: float) -> bool:
    """Whether the other side resets the line, told by its answer to what we send and not by reading."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            line.send(harmless)
        except OSError:
            return True
        time.sleep(0.05)
    return False


async def test_pings_whose_answers_are_not_read_take_no_memory(process: Process, world: World) -> None:
    person = await world.person()
    with closing(await asyncio.to_thread(process.open, person)) as line:
        before = process.memory_bytes
        await asyncio.to_thread(_send, line, _frame(_FIN | _PING, b"." * 125) * 500, FLOOD_BYTES)
        assert process.memory_bytes - before < KEPT_BYTES


async def test_empty_parts_of_a_message_are_not_gathered(process: Process, world: World) -> None:
    person = await world.person()
    with closing(await asyncio.to_thread(process.open, person)) as line:
        line.sendall(_frame(_TEXT, b"{") + _frame(_CONTINUED) * 1000)
        heard = b""
        while received := await asyncio.to_thread(line.recv, 65536):
            heard += received
        assert struct.pack("!H", 1009) + b"too many parts" in heard


async def test_a_socket_that_is_never_read_does_not_keep_its_line(
    process: Process, platform: Platform, world: World
) -> None:
    # Given a peer that keeps its line open and takes nothing
    person = await world.person()
    with closing(await asyncio.to_thread(process.open, person)) as line:
        # When more is told than the line holds
        await flood(platform, person)
        # Then the line is cut, soon after it was given up
        assert await asyncio.to_thread(_is_cut_within, line, _frame(_FIN | _PING), 1 + CUT_SECONDS + 10)


async def test_nor_does_an_event_stream(process: Process, platform: Platform, world: World) -> None:
    person = await world.person()
    bearer = f"Authorization: Bearer {person.access_token}"
    with closing(await asyncio.to_thread(process.request, "/api/v1/events/stream", bearer)) as line:
        await flood(platform, person)
        assert await asyncio.to_thread(_is_cut_within, line, b"\r\n", 1 + CUT_SECONDS + 10)

"""Server processes of the product, each on a port of its own, and requests that reach them at the same instant."""

import asyncio
import copy
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import httpx
from pydantic_core import from_json

from app.core.processes import spawn
from tests.support.world import Person, picture

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 15.0


class Server(NamedTuple):
    """A running `localbazaar serve`."""

    process: "subprocess.Popen[bytes]"
    http: httpx.AsyncClient
    port: int

    def seen_by(self, person: Person) -> Person:
        """The same person, speaking to this server."""
        there = copy.copy(person)
        there.http = self.http
        return there


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def start(*arguments: str, log: Path, **environment: str) -> "subprocess.Popen[bytes]":
    """`localbazaar <arguments>` with this process's environment and some on top; it cannot outlive this process."""
    with log.open("ab") as output:
        return spawn(
            [sys.executable, "-m", "app.cli", *arguments],
            on_parent_death=signal.SIGTERM,
            cwd=ROOT,
            env={**os.environ, **environment},
            output=output,
        )


async def played(module: str, *arguments: object, database_url: str) -> int:
    """`python -m <module> <arguments>` on this database, to its end; how it ended, a signal as a negative number."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *map(str, arguments),
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


async def ended(process: "subprocess.Popen[bytes]", within_seconds: float) -> float:
    """Wait for the end; how many seconds that took. AssertionError if it does not come."""
    began = time.monotonic()
    while process.poll() is None:
        assert time.monotonic() - began < within_seconds, f"{process.args!r} still runs after {within_seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def ready(http: httpx.AsyncClient, process: "subprocess.Popen[bytes]", within_seconds: float) -> float:
    """Wait until `/readyz` answers 200; how many seconds that took."""
    began = time.monotonic()
    while True:
        try:
            if (await http.get("/readyz", timeout=5)).status_code == httpx.codes.OK:
                return time.monotonic() - began
        except httpx.HTTPError:
            pass
        assert process.poll() is None, f"{process.args!r} ended with code {process.returncode}"
        assert time.monotonic() - began < within_seconds, f"{process.args!r} is not ready after {within_seconds} s"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def serving_processes(folder: Path, count: int, **environment: str) -> AsyncIterator[list[Server]]:
    """So many `localbazaar serve` side by side, stopped in the end by their pids, whatever happened."""
    servers: list[Server] = []
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_stop, servers)
        for number in range(count):
            port = free_port()
            process = start("serve", "--port", str(port), log=folder / f"serve-{number}.log", **environment)
            http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
            servers.append(Server(process, http, port))
            stack.push_async_callback(http.aclose)
        await asyncio.gather(*(ready(server.http, server.process, START_SECONDS) for server in servers))
        yield servers


async def _stop(servers: Sequence[Server]) -> None:
    for server in servers:
        if server.process.poll() is None:
            server.process.terminate()
    try:
        for server in servers:
            await ended(server.process, STOP_SECONDS)
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()


class Answer(NamedTuple):
    status: int
    body: Any


class HeldRequest(NamedTuple):
    """A request that has reached its server but for the last byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    last_byte: bytes


async def hold(server: Server, request: httpx.Request) -> HeldRequest:
    """Send all of the request but its last byte, which is the end of the head if there is no body."""
    content = request.read()
    headers = {**request.headers, "connection": "close", "content-length": str(len(content))}
    head = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    whole = "\r\n".join([*head, "", ""]).encode() + content
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(whole[:-1])
    await writer.drain()
    return HeldRequest(reader, writer, whole[-1:])


async def release(held: Sequence[HeldRequest]) -> list[Answer]:
    """Send the last bytes in one go, so that all requests are complete at the same instant; the answers."""
    for request in held:
        request.writer.write(request.last_byte)
    return await asyncio.gather(*(_answer(request) for request in held))


async def _answer(request: HeldRequest) -> Answer:
    head, _, body = (await request.reader.read()).partition(b"\r\n\r\n")
    request.writer.close()
    return Answer(int(head.split(b" ", 2)[1]), from_json(body) if body else None)


def handing_in(provider: Person, server: Server, request_id: str) -> httpx.Request:
    """The documented multipart request of the client apps, with a small real photo."""
    return server.http.build_request(
        "POST",
        "/api/v1/service-request/complete",
        data={"requestId": request_id, "notes": "New washer, no drip."},
        files={"completionProof": ("tap.jpg", picture(), "image/jpeg")},
        headers=provider.headers,
    )


def buying(provider: Person, server: Server, request_id: str | UUID) -> httpx.Request:
    path = f"/api/v1/service-requests/{request_id}/purchase"
    return server.http.build_request(
        "POST", path, headers=provider.headers
    )  # no body: the server would not wait for it


def environment_of(values: Mapping[str, object]) -> dict[str, str]:
    """Settings as the variables that set them."""
    return {f"LOCALBAZAAR_{name.upper()}": str(value) for name, value in values.items()}

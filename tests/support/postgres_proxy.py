"""A way to PostgreSQL on which things happen: between a process of the product and its database, at a chosen statement.

The product knows nothing of it. The process is given `url` as its DATABASE_URL; this reads just enough of the wire
protocol (length-prefixed messages, no TLS: it listens on a Unix socket) to count what the process asks for, and to do
something before the n-th statement reaches the database, or after it took effect and before anybody hears of it.
"""

import asyncio
import math
import os
import signal
import socket
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy.engine import URL, make_url

_PORT: Final = 5432  # only names the socket
_HEAD_BYTES: Final = 5  # the kind of a message, and its length, which counts itself
_READY: Final = b"Z"
_SHOWN: Final = 100
_CREDENTIALS: Final = struct.Struct("3i")


class When(StrEnum):
    BEFORE = "before"
    """The database never sees the statement."""
    AFTER = "after"
    """It took effect, and the answer is lost: after COMMIT, the famous doubt."""


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to the process that asks, which is given no instant to tidy up; its connections end with it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """All connections are reset, on both sides; the process lives, and new ones are let through."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The statement, or its answer, comes so many seconds late; for `math.inf`, never."""

    seconds: float


Fault = Kill | Cut | Delay


@dataclass(slots=True)
class _Arming:
    number: int
    when: When
    fault: Fault


@dataclass(slots=True, eq=False)
class _Connection:
    """Two streams that belong together, and what the process has prepared on them."""

    process: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    database: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    prepared: dict[bytes, str] = field(default_factory=dict)
    bound: str = ""
    answer_fault: Fault | None = None
    """What happens once the database has answered; the answer is held back until then."""

    @property
    def pid(self) -> int:
        """Of the process, as the kernel knows it (Linux)."""
        socket_ = self.process[1].get_extra_info("socket")
        pid, _user, _group = _CREDENTIALS.unpack(
            socket_.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        return int(pid)

    def abort(self) -> None:
        for _, writer in (self.process, self.database):
            writer.transport.abort()


class _End(Exception):
    """This connection is over."""


class PostgresProxy:
    """Between one process and the database; `proxy` opens it.

    `statements` counts since the last `arm`: each simple query and each execution of a prepared one. Preparing is not
    counted, because nothing happens by it, so a process that has run a statement before counts like one that has not.
    """

    def __init__(self, database: URL) -> None:
        self._database = database
        self._connections: set[_Connection] = set()
        self._arming: _Arming | None = None
        self.statements = 0
        self.struck = asyncio.Event()
        """Set when the fault that was armed has happened; it happens once."""
        self.struck_at = ""
        """Where that was, in words: before or after which statement."""

    def arm(self, number: int, when: When, fault: Fault) -> None:
        """Count anew, and let the fault happen at this statement, from 1; any other that was armed is forgotten."""
        self.disarm()
        self.statements = 0
        self.struck.clear()
        self.struck_at = ""
        self._arming = _Arming(number, when, fault)

    def disarm(self) -> None:
        """Let everything through from now on, and count on."""
        self._arming = None
        for connection in self._connections:
            connection.answer_fault = None

    def cut(self) -> None:
        """Reset all connections, now."""
        for connection in tuple(self._connections):
            connection.abort()

    async def end(self) -> None:
        """Reset all connections, and return when none is left."""
        while self._connections:
            self.cut()
            await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the process, until either side ends it."""
        try:
            connection = _Connection((reader, writer), await self._connect())
        except OSError:
            return writer.transport.abort()
        self._connections.add(connection)
        ways = {asyncio.create_task(self._ask(connection)), asyncio.create_task(self._answer(connection))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            # Whatever ends a connection here, the database rolls back what was open on it.
            connection.abort()
            await asyncio.gather(*ways, return_exceptions=True)
            self._connections.discard(connection)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = self._database.query.get("host") or self._database.host or "127.0.0.1"
        port = self._database.query.get("port") or self._database.port or _PORT
        if str(host).startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(str(host), int(str(port)))

    async def _ask(self, connection: _Connection) -> None:
        """From the process to the database, message by message."""
        reader, writer = connection.process[0], connection.database[1]
        with suppress(OSError, asyncio.IncompleteReadError, _End):
            head = await reader.readexactly(4)  # the greeting alone has no kind
            writer.write(head + await reader.readexactly(int.from_bytes(head) - 4))
            while True:
                kind, message = await _message(reader)
                await self._look_at(connection, kind, message[_HEAD_BYTES:])
                writer.write(message)
                await writer.drain()

    async def _look_at(self, connection: _Connection, kind: bytes, body: bytes) -> None:
        """Know which statement it is, and do before it what was armed."""
        match kind:
            case b"P":
                name, sql = body.split(b"\0")[:2]
                connection.prepared[name] = sql.decode()
            case b"B":
                connection.bound = connection.prepared.get(body.split(b"\0")[1], "")
            case b"Q":
                await self._step(connection, body.rstrip(b"\0").decode())
            case b"E":
                await self._step(connection, connection.bound)

    async def _step(self, connection: _Connection, sql: str) -> None:
        self.statements += 1
        arming = self._arming
        if arming is None or self.statements != arming.number:
            return
        self._arming = None
        self.struck_at = f"{arming.when} {arming.number}: {' '.join(sql.split())[:_SHOWN]}"
        if arming.when is When.AFTER:
            connection.answer_fault = arming.fault
        else:
            await self._strike(connection, arming.fault)

    async def _answer(self, connection: _Connection) -> None:
        """From the database to the process; an answer that a fault is waiting for is held back until it is whole."""
        reader, writer = connection.database[0], connection.process[1]
        held = bytearray()
        with suppress(OSError, asyncio.IncompleteReadError, _End):
            while True:
                kind, message = await _message(reader)
                held += message
                if connection.answer_fault is not None:
                    if kind != _READY:
                        continue
                    fault, connection.answer_fault = connection.answer_fault, None
                    await self._strike(connection, fault)
                writer.write(held)
                held.clear()
                await writer.drain()

    async def _strike(self, connection: _Connection, fault: Fault) -> None:
        self.struck.set()
        match fault:
            case Kill():
                os.kill(connection.pid, signal.SIGKILL)
                raise _End
            case Cut():
                self.cut()
                raise _End
            case Delay(seconds) if seconds == math.inf:
                await asyncio.Event().wait()
            case Delay(seconds):
                await asyncio.sleep(seconds)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The kind of the next message, and the whole of it."""
    head = await reader.readexactly(_HEAD_BYTES)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


@asynccontextmanager
async def proxy(database_url: str) -> AsyncIterator[tuple[PostgresProxy, str]]:
    """A proxy to this database, and the URL that leads there by way of it."""
    database = make_url(database_url)
    proxying = PostgresProxy(database)
    # /tmp by name: a socket's path has to be short.
    with tempfile.TemporaryDirectory(prefix="localbazaar-proxy-", dir="/tmp") as folder:
        server = await asyncio.start_unix_server(proxying.serve, f"{folder}/.s.PGSQL.{_PORT}")
        own = database.set(host="", port=None).update_query_dict({"host": folder, "port": str(_PORT)})
        try:
            yield proxying, own.render_as_string(hide_password=False)
        finally:
            server.close()
            await proxying.end()
            await server.wait_closed()

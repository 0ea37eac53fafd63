"""Somebody else's web server on the loopback: takes whatever is sent to it, keeps it, and answers as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.asgi import taken

_PAGE = b"<!doctype html><title>The shop</title><h1>The shop</h1>"


@dataclass(frozen=True, slots=True)
class Received:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An ASGI application. It answers with the next of `answers`, and with 200 when there are none left."""

    answers: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers, body = await taken(scope, receive)
        self.received.append(Received(scope["method"], scope["path"], scope["query_string"].decode(), headers, body))
        status = self.answers.pop(0) if self.answers else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": _PAGE})

    async def wait_for(self, count: int, within_seconds: float = 20) -> list[Received]:
        """What was received, once there are so many."""
        async with asyncio.timeout(within_seconds):
            while len(self.received) < count:  # noqa: ASYNC110 - what is waited for is in another task
                await asyncio.sleep(0.02)
        return self.received


Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def speaking(conversation: Conversation, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on the loopback that answers each connection as no web server should; its port."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await conversation(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side had enough
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()

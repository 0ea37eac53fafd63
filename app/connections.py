"""Connections as uvicorn speaks over them, and what it lets a hostile peer do bounded.

By itself it keeps what a peer does not read for as long as the line is open, also behind the end of a response or a
socket; answers pings whether or not the answers are read; and gathers the parts of a message however many they are.
"""

import asyncio
from typing import Any, Final

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from app.core.config import settings

_PARTS: Final = 64
"""Of one message; clients send short ones, in one."""


class _Impatient(asyncio.Protocol):
    """Cuts a line over which the peer takes too little, too long: ASGI itself can only ask for an orderly end."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _cut: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """More waits than the transport is to hold."""
        super().pause_writing()
        self._cut = self.loop.call_later(settings().connection_stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._have_patience()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_patience()
        super().connection_lost(exc)

    def _have_patience(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


class HttpLine(_Impatient, HttpToolsProtocol):
    """A connection that carries requests."""


class _Inbox:
    """What the peer has sent and nobody has taken yet, for one taker.

    It has what uvicorn asks of an `asyncio.Queue`, which takes two kilobytes while it is empty: for hours, mostly.
    """

    __slots__ = ("_messages", "_waiter")

    def __init__(self) -> None:
        self._messages: list[ASGIReceiveEvent] = []
        self._waiter: asyncio.Future[None] | None = None

    def empty(self) -> bool:
        return not self._messages

    def put_nowait(self, message: ASGIReceiveEvent) -> None:
        self._messages.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> ASGIReceiveEvent:
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._messages.pop(0)


class SocketLine(_Impatient, WebSocketsSansIOProtocol):
    """A connection that carries a WebSocket. There are thousands, and they wait for hours: what they hold, counts."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.queue = _Inbox()  # type: ignore[assignment]  # it has the methods that uvicorn calls, and no others

    def start_keepalive(self) -> None:
        """The handshake is over: nobody looks at its headers again, and they hold the peer's token."""
        self.request.headers.clear()
        self.response.headers.clear()
        super().start_keepalive()

    def handle_ping(self) -> None:
        """While what waits is not read, no pong is added to it: only the latest ping has to be answered (RFC 6455)."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """Empty parts never reach the limit on a message's size."""
        if len(self.frames) < _PARTS:
            super().handle_cont(event)
        elif not self.transport.is_closing():
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many parts")
            self.handle_parser_exception()

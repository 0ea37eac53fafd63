"""The client's side of a WebSocket with as little work as possible: whoever loads a server must not wait for itself."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

_END_OF_HEADERS: Final = b"\r\n\r\n"
_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89
_NO_MASK: Final = b"\0\0\0\0"
"""Clients have to mask what they send; with zeros, it stays as it is."""
ABNORMAL: Final = 1006

Take = Callable[["Socket", bytes], None]


class Socket(asyncio.Protocol):
    """One socket: `take` is called with it and with each text that arrives, the first perhaps before `connect` has
    answered. It answers pings; it takes no fragments and no binary.

    `closed` is done with the closing code when the line has ended, `ABNORMAL` where none came.
    """

    def __init__(self, token: str, take: Take) -> None:
        self._token, self._take = token, take
        self._begun = b""
        self._is_open = False
        self._code = ABNORMAL
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(
            b"GET /ws/notifications/ HTTP/1.1\r\nhost: bench\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-protocol: bearer, " + self._token.encode() + _END_OF_HEADERS
        )

    def data_received(self, data: bytes) -> None:
        if self._begun:
            data = self._begun + data
        at = 0
        if not self._is_open:
            at = data.find(_END_OF_HEADERS) + len(_END_OF_HEADERS)
            if at < len(_END_OF_HEADERS):
                self._begun = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                return self.abort()
            self._is_open = True
        self._begun = data[self._take_frames(data, at) :]

    def _take_frames(self, data: bytes, at: int) -> int:
        """Take all frames that are whole; where the first begins that is not."""
        end = len(data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            if end < start + length:
                break
            if data[at] == _TEXT:
                self._take(self, data[start : start + length])
            else:
                self._obey(data[at], data[start : start + length])
            at = start + length
        return at

    def _obey(self, kind: int, content: bytes) -> None:
        if kind == _PING:
            self._transport.write(bytes((0x8A, 0x80 | len(content))) + _NO_MASK + content)
        elif kind == _CLOSE:
            self._code = int.from_bytes(content[:2]) if content else 1005
            self._transport.write(bytes((_CLOSE, 0x80 | len(content))) + _NO_MASK + content)
            self._transport.close()
        else:
            raise ValueError(f"a frame that the product does not send: {kind:#x}")

    def send(self, text: bytes) -> None:
        """A text of less than 126 bytes."""
        self._transport.write(bytes((_TEXT, 0x80 | len(text))) + _NO_MASK + text)

    def stop_reading(self) -> None:
        """Take nothing more off the line, until `go_on_reading`."""
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        self._transport.resume_reading()

    def abort(self) -> None:
        """Break off without a word, as a phone in a tunnel does."""
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(self._code)


async def connect(port: int, token: str, take: Take, *, receive_buffer: int | None = None) -> Socket:
    """A socket whose handshake is under way; the kernel keeps `receive_buffer` bytes for a reader that does not read.

    Raises OSError where nobody listens.
    """
    loop = asyncio.get_running_loop()
    line = socket.socket()
    try:
        line.setblocking(False)
        if receive_buffer is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await loop.sock_connect(line, ("127.0.0.1", port))
        _, opened = await loop.create_connection(lambda: Socket(token, take), sock=line)
    except BaseException:
        line.close()
        raise
    return opened

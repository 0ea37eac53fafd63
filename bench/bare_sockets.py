"""The limit of the sockets: a server that knows nobody and looks nowhere, and sends what it has in memory to all.

`GET /<count>` sends as many frames to each, one after the other as the product's events come.
"""

import asyncio
import os
import socket
import sys
from typing import Any, Final

import uvicorn
from pydantic_core import to_json

_EVENT: Final = {
    "id": "01a1fe0e-d46c-70a0-b4f0-8d734e5268da", "name": "service_request.sent_back",
    "type": "service_request_update", "event": "SERVICE_REQUEST_SENT_BACK",
    "timestamp": "2026-01-29T10:30:00.176052+00:00", "service_request_id": "01a1fe0e-d46c-70a0-b4f0-8d734e5268db",
    "reason": "0", "status": "IN_PROGRESS", "message": "Your request was sent back: 0.",
}  # fmt: skip
_READY: Final = {"type": "websocket.send", "text": '{"type":"ready"}'}


class Broadcast:
    """Raw ASGI."""

    def __init__(self) -> None:
        self._lines: set[asyncio.Queue[dict[str, str]]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        if scope["type"] == "websocket":
            return await self._serve(receive, send)
        if scope["path"] != "/healthz":
            for _ in range(int(scope["path"][1:])):
                frame = {"type": "websocket.send", "text": to_json(_EVENT).decode()}
                for line in self._lines:
                    line.put_nowait(frame)
                await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def _serve(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "bearer"})
        await send(_READY)
        line: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._lines.add(line)
        writing = asyncio.create_task(_write(line, send))
        await receive()
        writing.cancel()
        self._lines.discard(line)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        os._exit(0)


async def _write(line: "asyncio.Queue[dict[str, str]]", send: Any) -> None:
    while True:
        await send(await line.get())


def main() -> None:
    """Serve on the inherited socket whose number is the only argument, with the settings of `localbazaar serve`."""
    config = uvicorn.Config(
        Broadcast(), loop="uvloop", http="httptools", ws="websockets-sansio", ws_per_message_deflate=False,
        ws_ping_interval=25, access_log=False, log_level="warning", server_header=False,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()

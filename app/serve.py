"""One server process: uvicorn with the settings that the product is measured with.

`python -m app.serve` is what `localbazaar up` starts; it loads nothing that only a terminal needs.
"""

import argparse
import socket
import sys

import uvicorn
from fastapi import FastAPI

from app.connections import HttpLine, SocketLine
from app.core.config import settings
from app.listening import listen
from app.main import create_app

DRAIN_SECONDS = 6


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connection, send sockets and event streams away over some seconds, then finish what is left.

        An event stream never ends by itself: it would hold up the exit to the last second.
        """
        for server in self.servers:
            server.close()
        await self._app.state.hub.drain()
        await super().shutdown(sockets)


def serve(host: str, port: int, fd: int | None = None) -> None:
    """Serve until SIGTERM; then finish what is under way, close sockets with 1012, and end within ten seconds.

    With `fd`, accept from that inherited listening socket instead of a new one.
    """
    try:
        listening = listen(host, port) if fd is None else socket.socket(fileno=fd)
    except OSError as error:
        sys.exit(f"Cannot listen on {host}:{port}: {error.strerror}")
    app = create_app()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=HttpLine,
        ws=SocketLine,
        ws_max_size=64 * 1024,
        ws_ping_interval=settings().socket_heartbeat_seconds,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    _Server(config, app).run(sockets=[listening])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int)
    serve(**vars(parser.parse_args()))

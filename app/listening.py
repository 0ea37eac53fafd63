"""Where connections are taken: without any of the server that will serve them."""

import socket
import sys

from app.core.config import settings


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that child processes may inherit."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=2048)
    listening.set_inheritable(True)
    if sys.platform == "linux":
        # Accepted connections inherit it: it ends those whose last bytes, fewer than we watch, are never taken.
        milliseconds = int(settings().connection_stall_seconds * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listening

"""Keeps PostgreSQL and Valkey in a process of its own, kills one when told to, and starts it again on the same data.

Waiting for a server that recovers would hold up the clients, if it were done in their process.
"""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.embedded import embedded_servers
from app.core.processes import spawn


class Keeper:
    """The process, as seen from here."""

    def __init__(self, lines: socket.socket) -> None:
        self._lines = lines.makefile("rw")
        self.addresses: dict[str, str] = json.loads(self._told())

    def _told(self) -> str:
        line = self._lines.readline()
        if not line:
            raise RuntimeError("the keeper of PostgreSQL and Valkey has ended; its log tells why")
        return line

    def _order(self, order: str) -> None:
        print(order, file=self._lines, flush=True)
        self._told()

    async def crash(self, name: str) -> None:
        """SIGKILL to "PostgreSQL" or "Valkey"; return when it is there again."""
        await asyncio.to_thread(self._order, name)


@contextmanager
def keeping(folder: Path, log: Path) -> Iterator[Keeper]:
    """Both servers, durable, on the data in this folder, until the block ends."""
    here, there = socket.socketpair()
    with here, there, log.open("ab") as output:
        process = spawn(
            [sys.executable, "-m", "chaos.keeper", str(folder)],
            on_parent_death=signal.SIGTERM,
            stdin=there.fileno(),
            output=output,
        )
        there.close()
        try:
            yield Keeper(here)
        finally:
            here.shutdown(socket.SHUT_RDWR)
            process.wait()


def _main() -> None:
    with (
        socket.socket(fileno=0) as orders,
        orders.makefile("rw") as lines,
        embedded_servers(Path(sys.argv[1])) as servers,
    ):
        print(
            json.dumps({"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}), file=lines, flush=True
        )
        while order := lines.readline().strip():
            servers.crash(order)
            print("alive", file=lines, flush=True)


if __name__ == "__main__":
    _main()

"""Processes of the product that are there within a moment: forked from one that has loaded the product already.

Loading is most of what a start costs, and tests that kill processes by the hundred start as many. A child runs what
`python -m app.serve` and `python -m app.jobs.worker` run, in an environment of its own, and has a pid of its own.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import app.main  # noqa: F401 - this is what takes the time
from app.core.config import settings
from app.core.processes import die_with_parent, spawn
from app.jobs import worker
from app.serve import serve
from chaos.skew import skew

_ROOT = Path(__file__).parents[2]


class Nursery:
    """Starts servers and workers, which log to `folder` and end with the nursery."""

    def __init__(self, orders: socket.socket, folder: Path) -> None:
        self._lines, self._folder = orders.makefile("rw"), folder

    async def serve(
        self, port: int, environment: Mapping[str, str], *, shared: bool = False, skew_seconds: float = 0
    ) -> int:
        """A server process on this port of the loopback, not ready yet; its pid.

        A `shared` port stays open for as long as the nursery: whichever process is there takes the next connection.
        The clock of the process is so many seconds ahead.
        """
        log = str(self._folder / "server.log")
        return await self._start(
            port=port, shared=shared, skew_seconds=skew_seconds, log=log, environment=dict(environment)
        )

    async def work(self, environment: Mapping[str, str]) -> int:
        """A worker process; its pid."""
        return await self._start(log=str(self._folder / "worker.log"), environment=dict(environment))

    async def _start(self, **wanted: Any) -> int:
        return int(await asyncio.to_thread(self._ask, json.dumps(wanted)))

    def _ask(self, order: str) -> str:
        print(order, file=self._lines, flush=True)
        return self._lines.readline()

    def close(self) -> None:
        self._lines.close()


@asynccontextmanager
async def nursery(folder: Path) -> AsyncIterator[Nursery]:
    """A process that has loaded the product and waits for orders; it inherits this one's environment."""
    here, there = socket.socketpair()
    with here, there:
        with (folder / "nursery.log").open("ab") as log:
            process = spawn(
                [sys.executable, "-m", "tests.support.nursery"],
                on_parent_death=signal.SIGTERM,
                cwd=_ROOT,
                env=os.environ,
                stdin=there.fileno(),
                output=log,
            )
        there.close()
        opened = Nursery(here, folder)
        try:
            yield opened
        finally:
            process.kill()
            process.wait()
            opened.close()


def signalled(pid: int, number: int) -> bool:
    """Send this signal to a child; whether it still was there. 0 only asks."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _become(wanted: Mapping[str, Any]) -> NoReturn:
    """The child, which must never come back into the loop below, whatever happens to it."""
    try:
        die_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with Path(wanted["log"]).open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.environ.update(wanted["environment"])
        if wanted.get("skew_seconds"):
            skew(wanted["skew_seconds"])
        if "port" in wanted:
            listening = _shared.get(wanted["port"]) if wanted["shared"] else None
            serve("127.0.0.1", wanted["port"], None if listening is None else listening.fileno())
        else:
            asyncio.run(worker.run(settings()))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


_shared: Final[dict[int, socket.socket]] = {}
"""Ports that several children listen on."""


def _main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    with socket.socket(fileno=0) as orders, orders.makefile("rw") as lines:
        while order := lines.readline():
            wanted = json.loads(order)
            if wanted.get("shared") and wanted["port"] not in _shared:
                _shared[wanted["port"]] = socket.create_server(("127.0.0.1", wanted["port"]), backlog=1024)
            child = os.fork()
            if child == 0:
                _become(wanted)
            print(child, file=lines, flush=True)


if __name__ == "__main__":
    _main()

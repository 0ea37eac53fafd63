"""The servers under test: started on a socket of ours, tied to a core, and asked what they cost."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Final, NamedTuple

from app.core.processes import spawn

ROOT: Final = Path(__file__).resolve().parent.parent
_START_SECONDS: Final = 30.0


class Cores(NamedTuple):
    """One core for the server, one for everything else; None where processes cannot be tied to cores."""

    server: int | None
    others: int | None


def choose_cores() -> Cores:
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        return Cores(None, None)
    first, second, *_ = sorted(os.sched_getaffinity(0))
    return Cores(first, second)


def tie(pid: int, core: int | None) -> None:
    """Tie a process and the children that it has, and will have, to a core."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        for each in (pid, *children(pid)):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(each, {core})


def children(pid: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(process.name))
    return found


def processor_seconds(pids: Sequence[int]) -> dict[int, float]:
    """Processor time that each of these processes has used so far; empty where /proc does not tell."""
    seconds = {}
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            seconds[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def used_since(before: dict[int, float]) -> float:
    """Processor time that those of the processes which still live have used since."""
    now = processor_seconds(list(before))
    return sum(seconds - before[pid] for pid, seconds in now.items())


@dataclass(frozen=True)
class Server:
    process: "subprocess.Popen[bytes]"
    port: int
    start_seconds: float

    @property
    def resident_mb(self) -> float | None:
        """Memory in use, in MB; None where /proc does not tell."""
        with suppress(OSError):
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return None


@contextmanager
def serving(module: str, *options: str, core: int | None) -> Iterator[Server]:
    """`python -m module … <number of a listening socket>` until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        port = listening.getsockname()[1]
        begun = time.perf_counter()
        argv = [sys.executable, "-m", module, *options, str(listening.fileno())]
        process = spawn(argv, on_parent_death=signal.SIGTERM, cwd=ROOT, pass_fds=[listening.fileno()])
        tie(process.pid, core)
        try:
            _await_health(process, port)
            yield Server(process, port, time.perf_counter() - begun)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_health(process: "subprocess.Popen[bytes]", port: int) -> None:
    """The socket takes connections before the server does, so one question is waited for."""
    deadline = time.monotonic() + _START_SECONDS
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: bench\r\n\r\n")
        while not select([client], [], [], 0.1)[0]:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {process.args!r}")
        if not client.recv(64).startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server is not healthy: {process.args!r}")

"""The servers under test: started on a socket of ours, tied to a core, and asked what they cost."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
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


@contextmanager
def tie_to_all(*pids: int) -> Iterator[None]:
    """Let these processes, and their children, run on every core until the block ends."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = {each: os.sched_getaffinity(each) for pid in pids for each in (pid, *children(pid))}
    for each in before:
        os.sched_setaffinity(each, os.sched_getaffinity(0))
    try:
        yield
    finally:
        for pid in pids:
            for each in (pid, *children(pid)):
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(each, before[pid])


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
    processes: Sequence["subprocess.Popen[bytes]"]
    port: int
    start_seconds: float

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    @property
    def resident_mb(self) -> float | None:
        """Memory in use by the first process, in MB; None where /proc does not tell."""
        with suppress(OSError):
            pages = int(Path(f"/proc/{self.pids[0]}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return None


@contextmanager
def serving(
    module: str, *options: str, core: int | None, processes: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`python -m module … <number of a listening socket>` until the block ends; several accept from one socket."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        port = listening.getsockname()[1]
        begun = time.perf_counter()
        argv = [sys.executable, "-m", module, *options, str(listening.fileno())]
        told = os.environ | (environment or {})
        started = [
            spawn(argv, on_parent_death=signal.SIGTERM, cwd=ROOT, pass_fds=[listening.fileno()], env=told)
            for _ in range(processes)
        ]
        for process in started:
            tie(process.pid, core)
        try:
            _await_health(started[0], port)
            yield Server(started, port, time.perf_counter() - begun)
        finally:
            for process in started:
                process.terminate()
            for process in started:
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

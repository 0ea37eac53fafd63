"""The load generator: a process of its own that speaks as little HTTP as keeps connections busy."""

import asyncio
import gc
import os
import time
from array import array
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from itertools import count, cycle
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from typing import Final, NamedTuple, Self, cast

import uvloop

_END_OF_HEADERS: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
_STALL_SECONDS: Final = 20.0


class Job(NamedTuple):
    """Requests, as the bytes to send, over so many connections that each wait for an answer before they go on."""

    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float
    """Start no request after so long. With `once`, the end of the requests may come first."""
    once: bool = False
    per_second: float | None = None
    """Requests fall due evenly, so many a second, whether a connection is free for them or not. None: each connection
    asks again as soon as it is answered, so that all of them always wait."""


class Outcome(NamedTuple):
    seconds: float
    latencies: "array[float]"
    """Seconds from when a request fell due until all of its answer was there, of each that succeeded."""
    failures: dict[str, int]

    @property
    def done(self) -> int:
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.done / self.seconds


class Load:
    """The process. It ends with this one, or with the block."""

    def __init__(self, core: int | None) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, core), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def run(self, job: Job) -> Outcome:
        self._pipe.send(job)
        if not self._pipe.poll(job.seconds + _STALL_SECONDS):
            raise TimeoutError("the load generator waits for answers that do not come")
        outcome: Outcome = self._pipe.recv()
        return outcome


def _serve(pipe: Pipe, core: int | None) -> None:
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    gc.disable()
    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(uvloop.run(_run(job)))
        gc.collect()


async def _run(job: Job) -> Outcome:
    loop = asyncio.get_running_loop()
    run = _Run(job)
    clients = [_Client(run) for _ in range(job.connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", job.port)  # type: ignore[misc]  # mypy cannot infer a lambda's default
    begun = time.perf_counter()
    run.deadline = begun + job.seconds
    for client in clients:
        client.go_on(begun)
    if job.per_second is not None:
        await _pace(run, begun, job.per_second)
    await run.ended.wait()
    for client in clients:
        client.leave()
    return Outcome(run.last - begun, run.latencies, dict(run.failures))


async def _pace(run: "_Run", begun: float, per_second: float) -> None:
    async for due in falling_due(begun, run.deadline, per_second):
        run.fall_due(due)
    run.close()


async def falling_due(begun: float, until: float, per_second: float) -> AsyncIterator[float]:
    """When each of so many a second falls due, evenly, and as soon as it does."""
    for number in count():
        due = begun + number / per_second
        if due >= until:
            return
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        yield due


class _Run:
    """What the connections of one job share."""

    def __init__(self, job: Job) -> None:
        self.latencies: array[float] = array("d")
        self.failures: Counter[str] = Counter()
        self.deadline = 0.0
        self.last = 0.0
        self.ended = asyncio.Event()
        self._requests = iter(job.requests) if job.once else cycle(job.requests)
        self._is_paced = self._more_fall_due = job.per_second is not None
        self._due: deque[float] = deque()
        self._free: deque[_Client] = deque()
        self._busy = job.connections

    def next(self, client: "_Client", now: float) -> tuple[bytes, float] | None:
        """The next request and when it fell due; None if the connection is to rest, until one falls due."""
        due = self._fallen_due() if self._is_paced else now if now < self.deadline else None
        request = None if due is None else next(self._requests, None)
        if due is not None and request is not None:
            return request, due
        self._free.append(client)
        self.leave(now)
        return None

    def _fallen_due(self) -> float | None:
        return self._due.popleft() if self._due else None

    def fall_due(self, due: float) -> None:
        self._due.append(due)
        if self._free:
            self._busy += 1
            self._free.popleft().go_on(due)

    def close(self) -> None:
        """No more falls due."""
        self._more_fall_due = False
        self._end_if_idle()

    def leave(self, now: float) -> None:
        self.last = max(self.last, now)
        self._busy -= 1
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if not self._busy and not self._more_fall_due:
            self.ended.set()


class _Client(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._due = 0.0
        self._begun = b""
        self._waits = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def go_on(self, now: float) -> None:
        following = self._run.next(self, now)
        self._waits = following is not None
        if following is not None:
            request, self._due = following
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._begun:
            data = self._begun + data
        headers_end = data.find(_END_OF_HEADERS)
        if headers_end < 0:
            self._begun = data
            return
        at = data.find(_LENGTH, 0, headers_end) + len(_LENGTH)
        length = int(data[at : data.find(b"\r", at)])
        if len(data) < headers_end + 4 + length:
            self._begun = data
            return
        self._begun = b""
        now = time.perf_counter()
        if data[9] == 0x32:  # 2xx
            self._run.latencies.append(now - self._due)
        else:
            self._run.failures[f"{data[9:12].decode()} {data[headers_end + 4 :][:200].decode(errors='replace')}"] += 1
        self.go_on(now)

    def connection_lost(self, error: Exception | None) -> None:
        if self._waits:
            self._waits = False
            self._run.failures[f"connection lost: {error!r}"] += 1
            self._run.leave(time.perf_counter())

    def leave(self) -> None:
        self._waits = False
        self._transport.close()

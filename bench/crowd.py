"""A process full of sockets, and one that writes events: both work on the core that the server does not have.

What a socket receives is noted with the time and looked into afterwards.
"""

import asyncio
import gc
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AsyncExitStack
from multiprocessing import get_context
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

import uvloop
from pydantic_core import from_json

from app.core.config import settings
from app.core.ids import uuid7
from app.kernel.events import emit
from app.kernel.platform import Platform, open_platform
from app.services.service_requests.events import SentBack
from bench.wire import Socket, connect

_AT_ONCE: Final = 64
"""Handshakes under way together: more would wait for each other in the server's queue."""
_POLL_SECONDS: Final = 0.002
_HINT_SECONDS: Final = 0.1
"""For the last hint to go out."""
_NUMBER: Final = b'"reason":"'


class Delivery(NamedTuple):
    """`at` is by the clock of the wall, which all processes of a machine share."""

    at: float
    text: bytes

    @property
    def number(self) -> int:
        """Which of the writer's events it is."""
        start = self.text.index(_NUMBER) + len(_NUMBER)
        return int(self.text[start : self.text.index(b'"', start)])


class _Member:
    """One socket of the crowd, over all of its lines."""

    def __init__(self, port: int, token: str, note: Callable[[Delivery], None]) -> None:
        self._port, self._token, self._note = port, token, note
        self._last: str | None = None
        self._latest = b""
        self._is_current = asyncio.Event()
        self._socket: Socket

    async def open(self) -> None:
        """Return once every later event will come; after a line that was lost, once what it missed is on its way."""
        self._is_current.clear()
        self._last = from_json(self._latest)["id"] if self._latest else None
        self._socket = await connect(self._port, self._token, self._take)
        await self._is_current.wait()

    def _take(self, line: Socket, text: bytes) -> None:
        if self._is_current.is_set():
            self._latest = text
            self._note(Delivery(time.time(), text))
        elif text == b'{"type":"ready"}':
            if self._last is None:
                self._is_current.set()
            else:
                line.send(b'{"op":"resume","after":"%s"}' % self._last.encode())
        elif text.startswith(b'{"type":"resumed"'):
            self._is_current.set()

    def drop(self) -> None:
        self._socket.abort()


class _Crowd:
    """What the process holds between two orders."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._deliveries: list[Delivery] = []

    async def join(self, port: int, tokens: Sequence[str]) -> float:
        began = time.perf_counter()
        members = [_Member(port, token, self._deliveries.append) for token in tokens]
        self._members += members
        await _all(members)
        return time.perf_counter() - began

    async def take(self, count: int, within_seconds: float) -> list[Delivery]:
        until = time.monotonic() + within_seconds
        while len(self._deliveries) < count and time.monotonic() < until:  # noqa: ASYNC110 - cheaper than a wake-up each
            await asyncio.sleep(_POLL_SECONDS)
        taken = self._deliveries.copy()
        self._deliveries.clear()
        return taken

    async def come_back(self) -> float:
        for member in self._members:
            member.drop()
        began = time.perf_counter()
        await _all(self._members)
        return time.perf_counter() - began

    async def leave(self) -> None:
        for member in self._members:
            member.drop()
        self._members.clear()
        self._deliveries.clear()


async def _all(members: Sequence[_Member]) -> None:
    waiting = iter(members)

    async def open_in_turn() -> None:
        for member in waiting:
            await member.open()

    await asyncio.gather(*(open_in_turn() for _ in range(_AT_ONCE)))


class _Pen:
    """What the writing process holds."""

    def __init__(self) -> None:
        self._opened = AsyncExitStack()
        self._platform: Platform

    async def open(self) -> None:
        self._platform = await self._opened.enter_async_context(open_platform(settings()))

    async def write(self, readers: Sequence[Sequence[UUID]], per_second: float) -> list[float]:
        """One event for each of these groups of readers, so many a second; when each was committed."""
        committed = [0.0] * len(readers)

        async def write(number: int) -> None:
            event = SentBack(service_request_id=uuid7(), reason=str(number), status="IN_PROGRESS")
            async with self._platform.database.write() as session:
                await emit(session, event, subject_type="service_request", subject_id=uuid7(), to=readers[number])
            committed[number] = time.time()

        began, writing = time.perf_counter(), []
        for number in range(len(readers)):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            writing.append(asyncio.create_task(write(number)))
        await asyncio.gather(*writing)
        await asyncio.sleep(_HINT_SECONDS)
        return committed


class _Process:
    """A process of its own, tied to a core, that carries out orders in one event loop. It ends with the block."""

    def __init__(self, make: type, core: int | None) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, (make, core))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _order(self, what: str, *details: Any) -> "Future[Any]":
        return self._pool.submit(_carry_out, what, *details)


class Crowd(_Process):
    """Sockets."""

    def __init__(self, core: int | None) -> None:
        super().__init__(_Crowd, core)

    def join(self, port: int, tokens: Sequence[str]) -> float:
        """Open as many more; the seconds until all said `ready`."""
        return float(self._order("join", port, tokens).result())

    def take(self, count: int, within_seconds: float) -> "Future[list[Delivery]]":
        """What arrives from now on, until so many have come or the time is over."""
        return self._order("take", count, within_seconds)

    def come_back(self) -> float:
        """Break all off at once; the seconds until all are open again and have resumed."""
        return float(self._order("come_back").result())

    def leave(self) -> None:
        """Break all off for good."""
        self._order("leave").result()


class Pen(_Process):
    """Writes events as another process of the product would: its hints go through Valkey."""

    def __init__(self, core: int | None) -> None:
        super().__init__(_Pen, core)
        self._order("open")

    def write(self, readers: Sequence[Sequence[UUID]], per_second: float) -> "Future[list[float]]":
        """One numbered event for each of these groups of readers, so many a second; when each was committed."""
        return self._order("write", readers, per_second)


_loop: asyncio.AbstractEventLoop
_worker: Any


def _begin(make: type, core: int | None) -> None:
    global _loop, _worker
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    gc.disable()
    _loop = uvloop.new_event_loop()
    asyncio.set_event_loop(_loop)
    _worker = make()


def _carry_out(what: str, *details: Any) -> Any:
    return _loop.run_until_complete(getattr(_worker, what)(*details))

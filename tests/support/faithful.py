"""A client that keeps its side of the promise (docs/events.md): the reference for whoever writes one.

It resumes after the last event that it has acted on, ignores what comes before `resumed`, drops duplicates by id, and
comes back after every end of a line, a little later each time that fails.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

from pydantic_core import from_json

from app.core.tasks import end
from bench.wire import Socket, connect

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02

Event = dict[str, Any]


class FaithfulClient:
    """One client on one port; `act` is called once with each event, in the order of arrival."""

    def __init__(
        self, port: int, token: str, act: Callable[[Event], None], *, receive_buffer: int | None = None
    ) -> None:
        self._port, self._token, self._act, self._receive_buffer = port, token, act, receive_buffer
        self._last: str | None = None
        self._known: set[str] = set()
        self._socket: Socket | None = None
        self._living: asyncio.Task[None] | None = None
        self.is_current = False
        """Whether every event that commits from now on will come."""
        self.acted = 0
        self.duplicates = 0
        self.ends: list[tuple[float, int]] = []
        """When each line ended, by the monotonic clock, and with which code."""
        self.errors: list[Event] = []

    def start(self) -> None:
        self._living = asyncio.create_task(self._live())

    async def stop(self) -> None:
        if self._living is not None:
            await end(self._living)
        if self._socket is not None:
            self._socket.abort()

    async def _live(self) -> None:
        failures = 0
        while True:
            try:
                self._socket = await connect(self._port, self._token, self._take, receive_buffer=self._receive_buffer)
                code = await self._socket.closed
                self.ends.append((time.monotonic(), code))
            except OSError:
                pass
            # A line that was of use is no reason to wait: the client comes back at once, but not with all others.
            failures = 0 if self.is_current else failures + 1
            self.is_current = False
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**failures)
            await asyncio.sleep(random.uniform(0, pause))

    def _take(self, line: Socket, text: bytes) -> None:
        frame: Event = from_json(text)
        if "event" in frame:
            if self.is_current:
                self._take_event(frame)
        elif frame["type"] == "ready":
            if self._last is None:
                self.is_current = True
            else:
                line.send(b'{"op":"resume","after":"%s"}' % self._last.encode())
        elif frame["type"] == "resumed":
            self.is_current = True
        else:
            self.errors.append(frame)

    def _take_event(self, event: Event) -> None:
        if event["id"] in self._known:
            self.duplicates += 1
        else:
            self._known.add(event["id"])
            self._act(event)
            self.acted += 1
        self._last = event["id"]

    def drop(self) -> None:
        """Lose the line, as in a tunnel."""
        if self._socket is not None:
            self._socket.abort()

    def stop_reading(self) -> None:
        assert self._socket is not None
        self._socket.stop_reading()

    def go_on_reading(self) -> None:
        assert self._socket is not None
        self._socket.go_on_reading()


async def until(condition: Callable[[], bool], within_seconds: float, what: str) -> float:
    """Wait for something that a poll can tell; how many seconds that took. AssertionError if it does not come."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_seconds, f"not within {within_seconds} s: {what}"
        await asyncio.sleep(_POLL_SECONDS)
    return time.monotonic() - began

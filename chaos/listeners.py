"""Apps on the socket: they come back to any server, resume after the last event, and drop duplicates by id."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any, Final

from pydantic_core import from_json
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from chaos.clients import Clients
from tests.support.world import Person

_BROKEN: Final = (OSError, WebSocketException, TimeoutError, EOFError)


class Listener:
    """One app of one user."""

    def __init__(self, person: Person, clients: Clients, addresses: Sequence[str], rng: random.Random) -> None:
        self.person = person
        self.heard: dict[str, dict[str, Any]] = {}
        """Every event by its id, in the order of the first time that it came."""
        self.ready = asyncio.Event()
        """From now on it misses nothing."""
        self.duplicates = 0
        self.connections = 0
        self.faults: list[str] = []
        self._clients, self._addresses, self._rng = clients, addresses, rng
        self._last: str | None = None

    async def listen(self) -> None:
        """Until cancelled; also drops the line by itself now and then, as phones do."""
        while True:
            try:
                async with asyncio.timeout(self._rng.uniform(5, 60)):
                    await self._connection()
            except _BROKEN:
                await asyncio.sleep(self._rng.uniform(0.05, 0.5))

    async def _connection(self) -> None:
        address = self._rng.choice(self._addresses).replace("http", "ws", 1)
        async with connect(
            f"{address}/ws/notifications/",
            subprotocols=self.person.subprotocols,
            proxy=None,
            close_timeout=1,
            ping_interval=10,
        ) as socket:
            self.connections += 1
            resumed = self._last is None
            if self._last is not None:
                await socket.send(json.dumps({"op": "resume", "after": self._last}))
            async for text in socket:
                frame = from_json(text)
                if "event" in frame:
                    if resumed:
                        self._take(frame)
                elif frame["type"] == "ready":
                    if self._last is None:
                        await self._look_at_feed()
                    self.ready.set()
                elif frame["type"] == "resumed":
                    resumed = True
                elif frame["type"] == "error":
                    self.faults.append(f"socket of {self.person.id}: {frame}")

    async def _look_at_feed(self) -> None:
        """Who has no event yet to resume after begins with a snapshot: what follows it comes live."""
        feed = await self._clients.get(self.person, "/api/v1/notifications?limit=100")
        for item in reversed(feed["items"] if feed else ()):
            self._take(item["event"])

    def _take(self, event: dict[str, Any]) -> None:
        self._last = event["id"]
        self.duplicates += event["id"] in self.heard
        self.heard.setdefault(event["id"], event)

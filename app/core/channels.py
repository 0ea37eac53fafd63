"""Channels of Valkey that a process listens to for as long as somebody in it wants to: one line for all of them.

A channel is published to by itself, never together with another, so it makes no difference on which shard it lives.
Messages are told, not kept: whoever is not listening misses them.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.core.tasks import run_together
from app.core.valkey import PAUSE_SECONDS, messages_of, subscribed

_log = structlog.get_logger()

_ANCHOR: Final = "channels"
"""Nobody publishes here; it keeps the line open while nothing else is wanted."""

Heard = Callable[[str, bytes | None], None]
"""Called with a channel and a message, or None when the channel is heard anew and anything may have been missed."""


class Channels:
    def __init__(self, url: str, heard: Heard) -> None:
        self._url, self._heard = url, heard
        self._wanted = {_ANCHOR}
        self._changed = asyncio.Event()

    def want(self, channel: str) -> None:
        """Listen to the channel soon; `heard` tells from when on."""
        self._wanted.add(channel)
        self._changed.set()

    def drop(self, channel: str) -> None:
        self._wanted.discard(channel)
        self._changed.set()

    async def listen(self) -> None:
        """Listen for as long as the process runs, on a new line whenever one breaks."""
        while True:
            try:
                async with subscribed(self._url, _ANCHOR) as subscription:
                    await run_together(self._follow(subscription), self._hear(subscription))
            except (RedisError, OSError) as error:
                _log.warning("channels_unheard", channels=len(self._wanted), error=type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self, subscription: PubSub) -> None:
        """Subscribe to what is wanted, as it changes."""
        current = {_ANCHOR}
        while True:
            self._changed.clear()
            wanted = set(self._wanted)
            if added := wanted - current:
                await subscription.subscribe(*added)
            if dropped := current - wanted:
                await subscription.unsubscribe(*dropped)
            current = wanted
            await self._changed.wait()

    async def _hear(self, subscription: PubSub) -> None:
        async for message in messages_of(subscription):
            if message["type"] in ("message", "subscribe"):
                data = message["data"] if message["type"] == "message" else None
                self._heard(message["channel"].decode(), data)

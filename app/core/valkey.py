"""Valkey: hints between processes, codes, tickets and limits. Fast and forgetful; no promise rests on it."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import Unavailable

_log = structlog.get_logger()

STREAMS: Final = "hints:streams"
"""Users whose event streams grew."""
SESSIONS: Final = "hints:sessions"
"""Users whose sessions, roles or status changed."""


class Valkey:
    """The clients of one process: one for commands, and one without a read timeout for each subscription."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis_url
        self.client: Redis = Redis.from_url(self._url, socket_timeout=2, socket_connect_timeout=2, max_connections=50)
        self._pending: dict[str, set[UUID]] = {STREAMS: set(), SESSIONS: set()}
        self._wake = asyncio.Event()
        self.here: defaultdict[str, list[Callable[[set[UUID]], None]]] = defaultdict(list)
        """Who in this process listens to a channel: told at once, whether Valkey is there or not."""

    def hint(self, channel: str, users: set[UUID]) -> None:
        """Tell this process at once and the others soon, without waiting.

        A hint may be lost; whoever hears them looks by itself too, if more seldom.
        """
        for listener in self.here[channel]:
            listener(users)
        self._pending[channel].update(users)
        self._wake.set()

    async def publish_hints(self) -> None:
        """Send the hints that pile up, many users in one message. Runs for as long as the process."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for channel, users in self._pending.items():
                batch, self._pending[channel] = users, set()
                if batch:
                    try:
                        await self.client.publish(channel, b"".join(user.bytes for user in batch))
                    except RedisError as error:
                        _log.warning("hints_lost", channel=channel, users=len(batch), error=type(error).__name__)

    async def hints(self, channel: str) -> AsyncIterator[set[UUID] | None]:
        """Users named on the channel; None each time the subscription is new, when anything may have been missed."""
        while True:
            subscriber: Redis = Redis.from_url(self._url, socket_timeout=None, socket_connect_timeout=2)
            try:
                async with subscriber.pubsub() as subscription:
                    await subscription.subscribe(channel)
                    yield None
                    async for message in subscription.listen():
                        if message["type"] == "message":
                            yield _user_ids(message["data"])
            except (RedisError, OSError):
                yield None
                await asyncio.sleep(0.2)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await subscriber.aclose()

    @contextlib.asynccontextmanager
    async def commands(self) -> AsyncIterator[Redis]:
        """The client, for what cannot be done without it: `Unavailable` while Valkey is away."""
        try:
            yield self.client
        except (RedisError, OSError) as error:
            raise Unavailable("Codes and tickets are away for the moment.") from error

    async def close(self) -> None:
        await self.client.aclose()


def _user_ids(data: Any) -> set[UUID]:
    return {UUID(bytes=data[start : start + 16]) for start in range(0, len(data) - len(data) % 16, 16)}

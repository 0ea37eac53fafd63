"""Valkey: hints between processes, codes, tickets and limits. Fast and forgetful; no promise rests on it."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final
from uuid import UUID, uuid4

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import Unavailable

_log = structlog.get_logger()

STREAMS: Final = "hints:streams"
"""Users whose event streams grew."""
SESSIONS: Final = "hints:sessions"
"""Users whose sessions, roles or status changed."""

PAUSE_SECONDS: Final = 0.2
"""Between a line that broke and the next one."""
_LINE_CHECK_SECONDS: Final = 15
_GATHERING_SECONDS: Final = 0.005
"""After a message, what other processes are to hear next is gathered for so long: each costs all of them a wake-up."""


class Valkey:
    """The clients of one process: one for commands, and one without a read timeout for each subscription."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis_url
        # Whoever comes when all connections are in use waits for one: a crowd is no reason for a refusal.
        pool = BlockingConnectionPool.from_url(
            self._url, socket_timeout=2, socket_connect_timeout=2, max_connections=50, timeout=5
        )
        self.client: Redis = Redis.from_pool(pool)
        self._pending: dict[str, set[UUID]] = {STREAMS: set(), SESSIONS: set()}
        self._wake = asyncio.Event()
        self._sender = uuid4()
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
        """Send the first hint at once, and those that follow it closely together. Runs for as long as the process."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for channel, users in self._pending.items():
                batch, self._pending[channel] = users, set()
                if batch:
                    try:
                        await self.client.publish(channel, b"".join(each.bytes for each in (self._sender, *batch)))
                    except Exception as error:  # of whatever kind: this loop must outlive it
                        _log.warning("hints_lost", channel=channel, users=len(batch), error=type(error).__name__)
            await asyncio.sleep(_GATHERING_SECONDS)

    async def hints(self, channel: str) -> AsyncGenerator[set[UUID] | None, None]:
        """Users that other processes name on the channel; None when the subscription is new: anything may be missed."""
        while True:
            try:
                async with subscribed(self._url, channel) as subscription:
                    async for message in messages_of(subscription):
                        if message["type"] == "message":
                            sender, users = message["data"][:16], message["data"][16:]
                            if sender != self._sender.bytes:  # this process was told before it was sent
                                yield set(_ids(users))
                        elif message["type"] == "subscribe":
                            # The client subscribes again by itself when it has lost the connection: the server's
                            # confirmation tells from when on the channel is heard, our own call does not.
                            yield None
            except (RedisError, OSError) as error:
                _log.warning("hints_unheard", channel=channel, error=type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)

    @contextlib.asynccontextmanager
    async def commands(self) -> AsyncIterator[Redis]:
        """The client, for what cannot be done without it: `Unavailable` while Valkey is away."""
        try:
            yield self.client
        except (RedisError, OSError) as error:
            raise Unavailable("Codes and tickets are away for the moment.") from error

    async def close(self) -> None:
        await self.client.aclose()


@contextlib.asynccontextmanager
async def subscribed(url: str, channel: str) -> AsyncIterator[PubSub]:
    """A line of its own, on which the channel is heard; RedisError or OSError if it cannot be had or breaks."""
    subscriber: Redis = Redis.from_url(url, socket_timeout=None, socket_connect_timeout=2)
    try:
        async with subscriber.pubsub() as subscription:
            await subscription.subscribe(channel)
            yield subscription
    finally:
        with contextlib.suppress(RedisError, OSError):
            await subscriber.aclose()


async def messages_of(subscription: PubSub) -> AsyncIterator[dict[str, Any]]:
    """What arrives, for as long as the line proves to be alive: a dead one would keep silent for ever."""
    asked = False
    while True:
        message = await subscription.get_message(timeout=_LINE_CHECK_SECONDS)
        if message is not None:
            asked = False
            yield message
        elif asked:
            raise ConnectionError("the subscription does not answer")
        else:
            asked = True
            await subscription.ping()


def _ids(data: bytes) -> list[UUID]:
    """The users that a hint names."""
    return [UUID(bytes=data[start : start + 16]) for start in range(0, len(data) - len(data) % 16, 16)]

"""Limits on how often something may be tried, shared by all processes through Valkey.

While Valkey is away each process counts for itself: weaker, but neither open nor shut.
"""

import time
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

from limits import parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import TooManyRequests


@dataclass(frozen=True, slots=True)
class Window:
    """What is left of an allowance, and when it will be whole again."""

    limit: int
    remaining: int
    reset_seconds: int


class _Shared(RedisStorage):
    """The library loads every client that it knows and finds installed, each a few megabytes; this one is used."""

    DEPENDENCIES = {"redis": RedisStorage.DEPENDENCIES["redis"]}


class Limits:
    def __init__(self, settings: Settings) -> None:
        self._pool = BlockingConnectionPool.from_url(
            settings.redis_url, socket_timeout=2, socket_connect_timeout=2, max_connections=50, timeout=5
        )
        # The pool knows the address. Given it instead, the library would take unix:// for a server of another make,
        # whose client it loads, and whose exceptions are not caught below.
        shared = _Shared(
            "async+redis://",
            implementation="redispy",
            connection_pool=self._pool,  # type: ignore[arg-type]  # its annotation forgets the documented pool
        )
        self._shared = MovingWindowRateLimiter(shared)
        self._alone = MovingWindowRateLimiter(MemoryStorage())

    async def hit(self, allowance: str, *key: str) -> None:
        """Count one try. `allowance` reads "10/15 minutes", several joined by ";". Raises `TooManyRequests`."""
        for limit in parse_many(allowance):
            try:
                limiter, fits = self._shared, await self._shared.hit(limit, *key)
            except (RedisError, OSError):
                limiter, fits = self._alone, await self._alone.hit(limit, *key)
            if not fits:
                reset_at, _ = await limiter.get_window_stats(limit, *key)
                raise TooManyRequests(int(reset_at - time.time()) + 1)

    async def left(self, allowance: str, *key: str) -> Window:
        """What `hit` has left of the first limit of an allowance; counts nothing."""
        limit = parse_many(allowance)[0]
        try:
            reset_at, remaining = await self._shared.get_window_stats(limit, *key)
        except (RedisError, OSError):
            reset_at, remaining = await self._alone.get_window_stats(limit, *key)
        return Window(limit.amount, remaining, max(0, int(reset_at - time.time()) + 1))

    async def close(self) -> None:
        await self._pool.disconnect()


def origin(address: str) -> str:
    """What counts as one address: every customer of an IPv6 network has 2⁶⁴ of them, so there it is the /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Network((parsed, 64), strict=False))

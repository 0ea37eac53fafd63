"""Limits on how often something may be tried, shared by all processes through Valkey.

While Valkey is away each process counts for itself: weaker, but neither open nor shut.
"""

import asyncio
import time
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import TooManyRequests
from app.core.tasks import end

_TOGETHER: Final = 100
# What the library's own script does for one key, for many: a round trip costs the client twenty times what it costs
# Valkey. The lists are the library's, too, which reads them.
_COUNT: Final = """
local now = tonumber(ARGV[1])
local fits = {}
for i, key in ipairs(KEYS) do
    local amount, seconds = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    local oldest = redis.call('lindex', key, amount - 1)
    if amount < 1 or (oldest and tonumber(oldest) >= now - seconds) then
        fits[i] = 0
    else
        redis.call('lpush', key, ARGV[1])
        redis.call('ltrim', key, 0, amount - 1)
        redis.call('expire', key, seconds)
        fits[i] = 1
    end
end
return fits
"""


@dataclass(frozen=True, slots=True)
class Window:
    """What is left of an allowance, and when it will be whole again."""

    limit: int
    remaining: int
    reset_seconds: int


class _Shared(RedisStorage):
    """The library loads every client that it knows and finds installed, each a few megabytes; this one is used."""

    DEPENDENCIES = {"redis": RedisStorage.DEPENDENCIES["redis"]}


class _Try(NamedTuple):
    key: str
    limit: RateLimitItem
    fits: asyncio.Future[bool]


class _Tries:
    """Counts tries in Valkey: those that come while others are being counted go there together afterwards."""

    def __init__(self, storage: RedisStorage, client: Redis) -> None:
        self._prefix = storage.bridge.key_prefix
        self._script = client.register_script(_COUNT)
        self._waiting: list[_Try] = []
        self._counting: asyncio.Task[None] | None = None

    async def count(self, limit: RateLimitItem, *key: str) -> bool:
        """Whether the try is within the limit, and so counts. Raises what the client raises."""
        fits: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Try(f"{self._prefix}:{limit.key_for(*key)}", limit, fits))
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count())
        return await fits

    async def _count(self) -> None:
        while self._waiting:
            tries, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            amounts = [number for each in tries for number in (each.limit.amount, each.limit.get_expiry())]
            try:
                found = await self._script([each.key for each in tries], [time.time(), *amounts])
            except Exception as error:  # of whatever kind: it is for those who wait, who shall not wait for another
                late, self._waiting = self._waiting, []
                for each in (*tries, *late):
                    if not each.fits.done():
                        each.fits.set_exception(error)
            else:
                for each, fits in zip(tries, found, strict=True):
                    if not each.fits.done():  # whoever asked may have gone
                        each.fits.set_result(bool(fits))

    async def close(self) -> None:
        if self._counting is not None:
            await end(self._counting)


@cache
def _parsed(allowance: str) -> list[RateLimitItem]:
    return parse_many(allowance)


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
        self._tries = _Tries(shared, Redis(connection_pool=self._pool))
        self._shared = MovingWindowRateLimiter(shared)
        self._alone = MovingWindowRateLimiter(MemoryStorage())

    async def hit(self, allowance: str, *key: str) -> None:
        """Count one try. `allowance` reads "10/15 minutes", several joined by ";". Raises `TooManyRequests`."""
        for limit in _parsed(allowance):
            try:
                limiter, fits = self._shared, await self._tries.count(limit, *key)
            except (RedisError, OSError):
                limiter, fits = self._alone, await self._alone.hit(limit, *key)
            if not fits:
                reset_at, _ = await limiter.get_window_stats(limit, *key)
                raise TooManyRequests(int(reset_at - time.time()) + 1)

    async def left(self, allowance: str, *key: str) -> Window:
        """What `hit` has left of the first limit of an allowance; counts nothing."""
        limit = _parsed(allowance)[0]
        try:
            reset_at, remaining = await self._shared.get_window_stats(limit, *key)
        except (RedisError, OSError):
            reset_at, remaining = await self._alone.get_window_stats(limit, *key)
        return Window(limit.amount, remaining, max(0, int(reset_at - time.time()) + 1))

    async def close(self) -> None:
        await self._tries.close()
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

"""Limits on how often something may be tried, shared by all processes through Valkey.

While Valkey is away each process counts for itself: weaker, but neither open nor shut.
"""

import time

from limits import parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import TooManyRequests


class Limits:
    def __init__(self, settings: Settings) -> None:
        shared = RedisStorage(f"async+{settings.redis_url}", implementation="redispy", socket_timeout=2)
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

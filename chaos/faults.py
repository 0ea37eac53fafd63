"""What can happen to a house. Each fault is a function that does it, and undoes what would not end by itself."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chaos.house import House, Mortal
from tests.support.postgres_proxy import Cut, Delay, Kill, When

_STOPPED_SECONDS: Final = 12
"""Longer than any statement or lock is waited for, and than a worker is believed to live without a heartbeat of its
connection: whoever comes back finds that the world went on."""
_DELAY_SECONDS: Final = 3.0
_WRONG_SECONDS: Final = 3600.0
_STATEMENTS: Final = 30
"""The fault strikes at one of so many next statements of the process."""
_STRIKE_SECONDS: Final = 5

Fault = Callable[[House, random.Random], Awaitable[None]]


async def kill_server(house: House, rng: random.Random) -> None:
    rng.choice(house.servers).kill()


async def kill_worker(house: House, rng: random.Random) -> None:
    rng.choice(house.workers).kill()


async def kill_postgres(house: House, rng: random.Random) -> None:
    """Every connection breaks, what was not committed is gone, and what was is recovered from the log."""
    await house.keeper.crash("PostgreSQL")


async def kill_valkey(house: House, rng: random.Random) -> None:
    await house.keeper.crash("Valkey")


async def wipe_valkey(house: House, rng: random.Random) -> None:
    """All hints, tickets, counters and caches are forgotten."""
    client = Redis.from_url(house.environment["REDIS_URL"])
    try:
        await client.flushall()
    except RedisError:
        pass  # it was just killed, which forgets as well
    finally:
        await client.aclose()


async def cut_connections(house: House, rng: random.Random) -> None:
    """All connections of one process to the database are reset."""
    _anybody(house, rng).way.cut()


async def lose_an_answer(house: House, rng: random.Random) -> None:
    """The database does what it was asked, a COMMIT perhaps, and the connection breaks before anybody hears of it."""
    await _strike(_anybody(house, rng), rng, When.AFTER, Cut())


async def delay_a_statement(house: House, rng: random.Random) -> None:
    await _strike(_anybody(house, rng), rng, rng.choice(list(When)), Delay(_DELAY_SECONDS))


async def kill_at_a_statement(house: House, rng: random.Random) -> None:
    """As `kill_server`, in the middle of something: before a statement, or right after it took effect."""
    await _strike(_anybody(house, rng), rng, rng.choice(list(When)), Kill())


async def stop_for_a_while(house: House, rng: random.Random) -> None:
    """SIGSTOP: it holds its locks and connections, and goes on later as if nothing had been."""
    victim = _anybody(house, rng)
    pid = victim.pid
    victim.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(_STOPPED_SECONDS)
    finally:
        if victim.pid == pid:
            victim.send(signal.SIGCONT)


async def set_a_clock_wrong(house: House, rng: random.Random) -> None:
    """A server comes back with a clock that is an hour ahead, or behind, and keeps it until it is killed again."""
    victim = rng.choice(house.servers)
    victim.skew_seconds = rng.choice((-_WRONG_SECONDS, 0.0, _WRONG_SECONDS))
    victim.kill()


def _anybody(house: House, rng: random.Random) -> Mortal:
    return rng.choice((*house.servers, *house.workers))


async def _strike(victim: Mortal, rng: random.Random, when: When, fault: Cut | Delay | Kill) -> None:
    victim.way.arm(rng.randint(1, _STATEMENTS), when, fault)
    try:
        async with asyncio.timeout(_STRIKE_SECONDS):
            await victim.way.struck.wait()
    except TimeoutError:
        victim.way.disarm()


FAULTS: Final[tuple[Fault, ...]] = (
    kill_server,
    kill_worker,
    kill_postgres,
    kill_valkey,
    wipe_valkey,
    cut_connections,
    lose_an_answer,
    delay_a_statement,
    kill_at_a_statement,
    stop_for_a_while,
    set_a_clock_wrong,
)
"""A new one joins here."""

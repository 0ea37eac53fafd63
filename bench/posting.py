"""Posting to the ledger, beside PostgreSQL's own benchmark on the same server: `pgbench`, which does TPC-B.

Clients pay from wallets of their own into one account of the platform, each payment in a transaction of its own,
through the kernel, in one process: first as fast as they can, then at half of that rate, as requests are paced too.
`python -m bench ledger` measures this alone.
"""

import asyncio
import gc
import os
import re
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from multiprocessing import get_context
from typing import Any, Final, NamedTuple
from uuid import uuid4

import uvloop
from sqlalchemy.engine import make_url

from app.core.config import settings
from app.core.connections import connect
from app.core.embedded import EmbeddedServers
from app.core.system_account import postgres_binaries
from app.kernel import ledger
from app.kernel.ledger import Account, AccountKind
from app.kernel.platform import Platform, open_platform
from bench.compare import CONNECTIONS, ROUND_SECONDS, SHARE, percentile, percentile_of_rounds
from bench.load import falling_due
from bench.processes import Cores, children, processor_seconds, used_since

CLIENTS: Final = 64
_ROUNDS: Final = 5
_SECONDS: Final = 4
_PGBENCH_SCALE: Final = 10
_FUNDS_MINOR: Final = 1_000_000_00
_DATABASE: Final = "pgbench"
_FEES: Final = ledger.platform(AccountKind.FEES, "INR")


class _Outcome(NamedTuple):
    rate: float
    latencies: list[float]
    paced: list[float]
    """Latencies of entries that fall due at `SHARE` of the rate, from when they fell due."""
    process_seconds: float
    database_seconds: float


@dataclass
class Posting:
    """Entries a second through the kernel, transactions a second of TPC-B, round by round; latencies in seconds."""

    fsync: str
    entries: list[float] = field(default_factory=list)
    tpcb: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    paced: list[list[float]] = field(default_factory=list)
    """With `CONNECTIONS` at most at work, at `SHARE` of the rate; by rounds."""
    process_seconds: float = 0.0
    database_seconds: float = 0.0

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.entries, self.tpcb, strict=True)]

    def percentile(self, percent: float) -> float:
        return percentile(self.latencies, percent)

    def paced_percentile(self, percent: float) -> float:
        return percentile_of_rounds(self.paced, percent)

    def micros(self, seconds: float) -> float:
        """Microseconds of each entry."""
        return seconds / max(1, len(self.latencies)) * 1e6


def measure_posting(database: EmbeddedServers, cores: Cores) -> Posting:
    """Both in turns, of which the first of each does not count."""
    found = Posting(asyncio.run(_prepare(database, cores)))
    with ProcessPoolExecutor(1, get_context("spawn"), _tie_to, (cores.server,)) as process:
        for number in range(_ROUNDS + 1):
            ours = process.submit(_post_in_process, database.postgres_pid).result()
            theirs = _run_pgbench(database, cores)
            if number:
                found.entries.append(ours.rate)
                found.latencies += ours.latencies
                found.paced.append(ours.paced)
                found.process_seconds += ours.process_seconds
                found.database_seconds += ours.database_seconds
                found.tpcb.append(theirs)
    return found


async def _prepare(database: EmbeddedServers, cores: Cores) -> str:
    """Make pgbench's own database; whether the server waits for the disk."""
    connection: Any = await connect(settings())
    await connection.execute(f"CREATE DATABASE {_DATABASE}")
    fsync: str = await connection.fetchval("SHOW fsync")
    await connection.close()
    _pgbench(database, cores, "--initialize", "--quiet", f"--scale={_PGBENCH_SCALE}")
    return fsync


def _run_pgbench(database: EmbeddedServers, cores: Cores) -> float:
    """Transactions a second of TPC-B with prepared statements."""
    options = (f"--client={CLIENTS}", "--jobs=2", f"--time={_SECONDS}", "--protocol=prepared", "--no-vacuum")
    told = _pgbench(database, cores, *options)
    match = re.search(r"^tps = ([0-9.]+)", told, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"pgbench tells no rate: {told}")
    return float(match[1])


def _pgbench(database: EmbeddedServers, cores: Cores, *options: str) -> str:
    url = make_url(database.database_url)
    where = [f"--host={url.query['host']}", f"--port={url.query['port']}", f"--username={url.username}"]
    done = subprocess.run(
        [postgres_binaries(None) / "pgbench", *where, *options, _DATABASE],
        preexec_fn=partial(_tie_to, cores.server),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _tie_to(core: int | None) -> None:
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def _post_in_process(postgres_pid: int) -> _Outcome:
    return uvloop.run(_post(postgres_pid))


async def _post(postgres_pid: int) -> _Outcome:
    async with open_platform(settings().model_copy(update={"database_pool_size": CLIENTS})) as platform:
        wallets = [ledger.wallet(uuid4(), "INR") for _ in range(CLIENTS)]
        clearing = ledger.platform(AccountKind.CLEARING, "INR")
        for each in wallets:
            async with platform.database.write_single() as session:
                await ledger.transfer(session, "bench_top_up", clearing, each, _FUNDS_MINOR)
        await asyncio.gather(*(_client(platform, each, time.perf_counter() + 0.5) for each in wallets))
        gc.collect()
        gc.freeze()
        database = processor_seconds(children(postgres_pid))
        process, begun = time.process_time(), time.perf_counter()
        latencies = await asyncio.gather(*(_client(platform, each, begun + _SECONDS) for each in wallets))
        spent = time.perf_counter() - begun
        costs = time.process_time() - process, used_since(database)
        every = [seconds for one in latencies for seconds in one]
        rate = len(every) / spent
        return _Outcome(rate, every, await _pace(platform, wallets, rate * SHARE), *costs)


async def _client(platform: Platform, source: Account, until: float) -> list[float]:
    """Pay to the platform until then; how long each payment took, in seconds."""
    latencies = []
    while (begun := time.perf_counter()) < until:
        await _pay(platform, source)
        latencies.append(time.perf_counter() - begun)
    return latencies


async def _pace(platform: Platform, sources: Sequence[Account], per_second: float) -> list[float]:
    """Payments that fall due evenly, of which `CONNECTIONS` are made at once; how long each took since it fell due."""
    latencies: list[float] = []
    free = asyncio.Semaphore(CONNECTIONS)

    async def pay(due: float, source: Account) -> None:
        async with free:
            await _pay(platform, source)
        latencies.append(time.perf_counter() - due)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as payments:
        payers = cycle(sources)
        async for due in falling_due(begun, begun + ROUND_SECONDS, per_second):
            payments.create_task(pay(due, next(payers)))
    return latencies


async def _pay(platform: Platform, source: Account) -> None:
    async with platform.database.write_single() as session:
        await ledger.transfer(session, "bench_fee", source, _FEES, 1, idempotency_key=f"bench:{uuid4()}")

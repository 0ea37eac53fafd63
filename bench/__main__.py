"""Runs the measurement on servers and data of its own: all of it, in some ten minutes, or the part that is named.

`alone`, `ledger`, `sockets`, `workers`, `growth`: that part, into what was found before. `plot`: the picture and the
table.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from rich.console import Console

from app.core.config import settings
from app.core.embedded import EmbeddedServers
from bench import report
from bench.alone import Alone, measure_alone
from bench.compare import Contest
from bench.flows import FLOWS
from bench.growth import Growth, measure_growth
from bench.plot import draw, tabulate
from bench.posting import measure_posting
from bench.processes import Cores, choose_cores
from bench.report import Found, Server
from bench.sockets import Sockets, measure_sockets
from bench.stage import prepared_servers, set_stage
from bench.work import Market
from bench.workers import Workers, measure_workers
from bench.world import World, make_world

_ROWS: Final = 5_000_000
_ROWS_OF_THE_WHOLE: Final = 200_000
"""Rows to which the database grows within the whole measurement, and with `growth` alone."""


@asynccontextmanager
async def _inhabited() -> AsyncIterator[World]:
    world = await make_world(settings())
    try:
        yield world
    finally:
        await world.connection.close()


async def _measure(console: Console, database: EmbeddedServers, cores: Cores, load_before: float) -> Found:
    async with _inhabited() as world:
        market = Market(world)
        console.print("The world is made.")
        with set_stage(database, cores) as stage:
            idle = stage.product.resident_mb
            comparisons = []
            for flow in FLOWS:
                console.print(f"{flow.name} …")
                comparisons.append(await Contest(stage, world, market, flow).hold())
            loaded = stage.product.resident_mb
            console.print("every path, alone …")
            alone = await measure_alone(stage, world, market)
        console.print("two workers …")
        workers = await measure_workers(database, world, market)
        console.print("sockets …")
        sockets = await measure_sockets(database, world, cores)
        postgres: str = await world.connection.fetchval("SHOW server_version")
    server = Server(stage.product.start_seconds, idle, loaded)
    return Found(os.cpu_count() or 1, load_before, postgres, server, comparisons, alone, workers, sockets)


async def _measure_alone(database: EmbeddedServers, cores: Cores) -> list[Alone]:
    async with _inhabited() as world:
        with set_stage(database, cores) as stage:
            return await measure_alone(stage, world, Market(world))


async def _measure_sockets(database: EmbeddedServers, cores: Cores) -> Sockets:
    async with _inhabited() as world:
        return await measure_sockets(database, world, cores)


async def _measure_workers(database: EmbeddedServers) -> list[Workers]:
    async with _inhabited() as world:
        return await measure_workers(database, world, Market(world))


def _grow(cores: Cores, rows: int) -> Growth:
    """On servers of its own, which nothing else has filled."""
    with prepared_servers(cores) as database:
        return asyncio.run(measure_growth(database, cores, rows))


def _measure_part(part: str, cores: Cores, console: Console) -> list[str]:
    """Measure, show and write one part; what failed in it."""
    if part == "growth":
        growth = _grow(cores, int(os.environ.get("LOCALBAZAAR_BENCH_ROWS", _ROWS)))
        report.show_growth(growth, console)
        report.write_part("growth", report.growth(growth))
        return growth.failures
    with prepared_servers(cores) as database:
        if part == "ledger":
            entries = measure_posting(database, cores)
            report.show_posting(entries, console)
            report.write_part("post_to_the_ledger", report.posting(entries))
            return []
        if part == "alone":
            paths = asyncio.run(_measure_alone(database, cores))
            report.show_alone(paths, console)
            report.write_part("one_connection", report.alone(paths))
            return report.show_failures(report.failures_alone(paths), console)
        if part == "workers":
            workers = asyncio.run(_measure_workers(database))
            report.show_workers(workers, console)
            report.write_part("two_workers", report.workers(workers))
            return [failure for each in workers for failure in each.failures]
        sockets = asyncio.run(_measure_sockets(database, cores))
        report.show_sockets(sockets, console)
        report.write_part("sockets", report.sockets(sockets))
        return sockets.failures


def _measure_all(cores: Cores, console: Console) -> list[str]:
    load_before = os.getloadavg()[0]
    with prepared_servers(cores) as database:
        measured = asyncio.run(_measure(console, database, cores, load_before))
        console.print("post to the ledger …")
        found = measured._replace(posting=measure_posting(database, cores))
    console.print("growth …")
    rows = int(os.environ.get("LOCALBAZAAR_BENCH_ROWS", _ROWS_OF_THE_WHOLE))
    found = found._replace(growth=_grow(cores, rows))
    report.show(found, console)
    report.write(found)
    return found.failures


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 200)
    measure: dict[str, Callable[..., Any]] = {
        part: partial(_measure_part, part) for part in ("alone", "ledger", "sockets", "workers", "growth")
    } | {"plot": lambda *_: [], "": _measure_all}
    part = "".join(sys.argv[1:])
    if part not in measure:
        console.print(f"python -m bench [{'|'.join(filter(None, measure))}]", markup=False)
        return 2
    failures = measure[part](choose_cores(), console)
    found = report.read()
    draw(found)
    tabulate(found)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())

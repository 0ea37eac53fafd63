"""Runs the whole measurement: about four minutes, on servers and data of its own; with `ledger`, that part alone."""

import asyncio
import os
import sys

from rich.console import Console

from app.core.config import settings
from app.core.embedded import EmbeddedServers
from bench.alone import measure_alone
from bench.compare import ENDPOINTS, Contest
from bench.posting import measure_posting
from bench.processes import Cores, choose_cores
from bench.report import Found, Server, show, show_posting, write, write_posting
from bench.stage import prepared_servers, set_stage
from bench.world import make_world


async def _measure(console: Console, database: EmbeddedServers, cores: Cores, load_before: float) -> Found:
    world = await make_world(settings())
    console.print("The world is made.")
    with set_stage(database, cores) as stage:
        idle = stage.product.resident_mb
        comparisons = []
        for endpoint in ENDPOINTS:
            console.print(f"{endpoint.name} …")
            comparisons.append(await Contest(stage, world, endpoint).hold())
        loaded = stage.product.resident_mb
        console.print("every other path …")
        alone = await measure_alone(stage, world)
        postgres: str = await world.connection.fetchval("SHOW server_version")
        await world.connection.close()
        server = Server(stage.product.start_seconds, idle, loaded)
        return Found(os.cpu_count() or 1, load_before, postgres, server, comparisons, alone)


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 180)
    cores, load_before = choose_cores(), os.getloadavg()[0]
    only_ledger = sys.argv[1:] == ["ledger"]
    with prepared_servers(cores) as database:
        measured = None if only_ledger else asyncio.run(_measure(console, database, cores, load_before))
        console.print("post to the ledger …")
        posting = measure_posting(database, cores)
    show_posting(posting, console)
    if measured is None:
        write_posting(posting)
        return 0
    found = measured._replace(posting=posting)
    show(found, console)
    write(found)
    return 1 if found.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())

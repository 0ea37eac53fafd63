"""Runs the whole measurement: about five minutes, on servers and data of its own; `ledger` or `sockets`: that part."""

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
from bench.report import Found, Server, posting, show, show_posting, show_sockets, write, write_part
from bench.report import sockets as sockets_document
from bench.sockets import Sockets, measure_sockets
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
        console.print("sockets …")
        sockets = await measure_sockets(database, world, cores)
        postgres: str = await world.connection.fetchval("SHOW server_version")
        await world.connection.close()
        server = Server(stage.product.start_seconds, idle, loaded)
        return Found(os.cpu_count() or 1, load_before, postgres, server, comparisons, alone, sockets)


async def _measure_sockets(database: EmbeddedServers, cores: Cores) -> Sockets:
    world = await make_world(settings())
    try:
        return await measure_sockets(database, world, cores)
    finally:
        await world.connection.close()


def _measure_part(part: str, database: EmbeddedServers, cores: Cores, console: Console) -> int:
    if part == "ledger":
        entries = measure_posting(database, cores)
        show_posting(entries, console)
        write_part("post_to_the_ledger", posting(entries))
        return 0
    sockets = asyncio.run(_measure_sockets(database, cores))
    show_sockets(sockets, console)
    write_part("sockets", sockets_document(sockets))
    return 1 if sockets.failures else 0


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 180)
    cores, load_before = choose_cores(), os.getloadavg()[0]
    with prepared_servers(cores) as database:
        if sys.argv[1:] in (["ledger"], ["sockets"]):
            return _measure_part(sys.argv[1], database, cores, console)
        measured = asyncio.run(_measure(console, database, cores, load_before))
        console.print("post to the ledger …")
        found = measured._replace(posting=measure_posting(database, cores))
    show(found, console)
    write(found)
    return 1 if found.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The house that is set on fire: PostgreSQL and Valkey, server processes and workers, each with a way of its own to the
database on which things happen."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from chaos.keeper import Keeper, keeping
from tests.processes.servers import free_port
from tests.support.nursery import Nursery, nursery, signalled
from tests.support.postgres_proxy import PostgresProxy, proxy

SERVERS: Final = 4
WORKERS: Final = 2
_START_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.05


@dataclass(eq=False)
class Mortal:
    """A process of the product: it is started again whenever it has ended, as a supervisor would."""

    name: str
    way: PostgresProxy
    database_url: str
    port: int | None = None
    pid: int | None = None
    skew_seconds: float = 0.0
    deaths: int = 0

    def kill(self) -> None:
        """SIGKILL, also while it is stopped."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            signalled(self.pid, number)

    @property
    def lives(self) -> bool:
        return self.pid is not None and signalled(self.pid, 0)


class House:
    """All processes of one run."""

    def __init__(self, folder: Path, environment: dict[str, str], children: Nursery, keeper: Keeper) -> None:
        self.folder, self.environment = folder, environment
        self.keeper = keeper
        self._children = children
        self.servers: list[Mortal] = []
        self.workers: list[Mortal] = []

    @property
    def addresses(self) -> list[str]:
        return [f"http://127.0.0.1:{server.port}" for server in self.servers]

    async def keep_alive(self) -> None:
        """Start whatever is not there, for as long as this runs."""
        while True:
            for mortal in (*self.servers, *self.workers):
                if not mortal.lives:
                    mortal.deaths += mortal.pid is not None
                    mortal.pid = await self._start(mortal)
            await asyncio.sleep(_POLL_SECONDS)

    async def _start(self, mortal: Mortal) -> int:
        environment = self.environment | {"DATABASE_URL": mortal.database_url}
        if mortal.port is None:
            return await self._children.work(environment)
        return await self._children.serve(mortal.port, environment, skew_seconds=mortal.skew_seconds)

    async def set_clocks_right(self) -> None:
        """Whoever has a wrong one is started again, as somebody would do who found out."""
        for server in self.servers:
            if server.skew_seconds:
                server.skew_seconds, wrong = 0.0, server.pid
                server.kill()
                while server.pid == wrong:  # noqa: ASYNC110 - it is a child of the nursery's
                    await asyncio.sleep(_POLL_SECONDS)
        await self.ready()

    async def ready(self) -> None:
        """Wait until every server says that it is ready."""
        async with httpx.AsyncClient(timeout=5) as http, asyncio.timeout(_START_SECONDS):
            for address in self.addresses:
                while not await _is_ready(http, address):  # noqa: ASYNC110 - it tells no other way
                    await asyncio.sleep(_POLL_SECONDS)


async def _is_ready(http: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await http.get(f"{address}/readyz")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def open_house(folder: Path, settings: dict[str, str]) -> AsyncIterator[House]:
    """Everything running, on fresh data with fsync on. `settings` are the product's, as variables."""
    async with AsyncExitStack() as stack:
        keeper = stack.enter_context(keeping(folder / "data", folder / "keeper.log"))
        environment = keeper.addresses | settings
        house = House(folder, environment, await stack.enter_async_context(nursery(folder)), keeper)
        for number in range(SERVERS + WORKERS):
            way, url = await stack.enter_async_context(proxy(environment["DATABASE_URL"]))
            if number < SERVERS:
                house.servers.append(Mortal(f"server {number}", way, url, port=free_port()))
            else:
                house.workers.append(Mortal(f"worker {number - SERVERS}", way, url))
        # Links that the product makes lead to one of the servers; their clients ask any of them.
        house.environment["LOCALBAZAAR_PUBLIC_URL"] = house.addresses[0]
        yield house

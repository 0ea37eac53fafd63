"""PostgreSQL and Valkey once for many test processes: `python -m tests.support.shared_servers <command …>`.

A mutation run starts a pytest process for every mutant. Servers and a schema for each would cost more than its tests;
here each takes a database of its own, copied from one that is migrated already, and drops it when it ends.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

import asyncpg
from sqlalchemy.engine import URL, make_url

from app.core.config import settings
from app.core.embedded import embedded_servers
from app.migrate import migrate

SHARED = "LOCALBAZAAR_TEST_SERVERS"
"""Set for the command: DATABASE_URL is not to be used, but to be copied."""


@contextmanager
def own_database(template: str) -> Iterator[str]:
    """The address of a copy of this database, for as long as the block runs."""
    address, name = make_url(template), f"test_{os.getpid()}"
    asyncio.run(_copy(address, name))
    try:
        yield address.set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(_drop(address, name))


async def _copy(address: URL, name: str) -> None:
    async with _administration(address) as connection:
        # Whoever was killed, as a mutant that hangs is, has left its own behind. One process at a time drops them.
        await connection.execute("SELECT pg_advisory_lock(1)")
        for row in await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'test!_%' ESCAPE '!'"):
            if not _is_running(int(row["datname"].removeprefix("test_"))):
                await connection.execute(f"DROP DATABASE {row['datname']} WITH (FORCE)")
        await connection.execute("SELECT pg_advisory_unlock(1)")
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {address.database} STRATEGY FILE_COPY")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _drop(address: URL, name: str) -> None:
    async with _administration(address) as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def _administration(address: URL) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(host=address.query["host"], user=address.username, database="postgres")
    try:
        yield connection
    finally:
        await connection.close()


def run(command: list[str]) -> int:
    """Run the command beside two servers and a migrated database; its exit code."""
    with tempfile.TemporaryDirectory(prefix="localbazaar-test-") as folder:
        Path(folder).chmod(0o755)  # the database's own system user has to reach it
        with embedded_servers(Path(folder), durable=False) as servers:
            addresses = {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}
            # What killed processes leave in their temporary folders goes with this one.
            with patch.dict(os.environ, addresses | {SHARED: "yes", "TMPDIR": folder}):
                migrate(settings())
                return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

"""Real servers for every pytest worker: PostgreSQL and Valkey out of wheels, the application behind a real socket."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import uvicorn
import uvloop
from sqlalchemy import text

from app.core.config import Settings, settings
from app.core.database import Statement
from app.core.embedded import embedded_servers
from app.core.tasks import end
from app.jobs import relay, worker
from app.kernel.platform import Platform, open_platform
from app.main import create_app
from app.migrate import migrate
from tests.support.shared_servers import SHARED, own_database
from tests.support.world import World, build_world

GENEROUS = {
    "LOCALBAZAAR_ACCESS_TOKEN_SECONDS": "86400",
    "LOCALBAZAAR_LOGIN_TRIES_PER_ACCOUNT": "1000/minute",
    "LOCALBAZAAR_LOGIN_TRIES_PER_ADDRESS": "100000/minute",
    "LOCALBAZAAR_SIGN_UPS_PER_ADDRESS": "100000/minute",
    "LOCALBAZAAR_PASSWORD_HASH_MEMORY_KIB": "64",
    "LOCALBAZAAR_PASSWORD_HASH_PASSES": "1",
    "LOCALBAZAAR_SERVICE_REQUESTS_OPEN_PER_CUSTOMER": "100000",
    "LOCALBAZAAR_PAYOUT_PROFILE_CHANGES": "100000/minute",
    "LOCALBAZAAR_PAYMENTS_PER_PAYER": "100000/minute",
    "LOCALBAZAAR_STATEMENT_DOCUMENTS": "100000/minute",
    "LOCALBAZAAR_TEAM_INVITATIONS": "100000/minute",
    "LOCALBAZAAR_MESSAGES_PER_USER": "100000/minute",
    "LOCALBAZAAR_CONVERSATIONS_PER_USER": "100000/minute",
    "LOCALBAZAAR_MESSAGE_REPORTS_PER_USER": "100000/minute",
    "LOCALBAZAAR_API_KEYS_MADE": "100000/minute",
    "LOCALBAZAAR_API_KEY_REQUESTS": "100000/minute",
    "LOCALBAZAAR_WEBHOOK_ENDPOINT_CHANGES": "100000/minute",
    "LOCALBAZAAR_WEBHOOK_REPLAYS": "100000/minute",
    "LOCALBAZAAR_WEBHOOK_LOOPBACK": "true",
    "LOCALBAZAAR_WORK_ORDER_REVIEWERS_NOTIFIED": "100000",
    "LOCALBAZAAR_DATABASE_POOL_SIZE": "10",
}
"""Limits are tested where they are the subject; elsewhere they would make tests depend on each other."""


def pytest_configure() -> None:
    """The loop is the one that serves the product.

    By the policy, for the fixtures of what is no coroutine need it too: by pytest-asyncio's own hook all that belongs
    to the session would be made once for coroutines and once more for the others.
    """
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that the database's own system user can reach."""
    path = Path(tempfile.mkdtemp(prefix="localbazaar-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def configured(folder: Path) -> Iterator[Settings]:
    """Settings of a database that belongs to this pytest worker alone, migrated to the newest schema."""
    with _addresses(folder) as addresses:
        with patch.dict(os.environ, GENEROUS | addresses | {"LOCALBAZAAR_DATA_FOLDER": str(folder)}):
            settings.cache_clear()
            if SHARED not in os.environ:
                migrate(settings())
            yield settings()
        settings.cache_clear()


@contextmanager
def _addresses(folder: Path) -> Iterator[dict[str, str]]:
    """Of servers for this pytest worker alone; or of a database for it on servers that run already (`make mutants`)."""
    if SHARED in os.environ:
        with own_database(os.environ["DATABASE_URL"]) as database_url:
            yield {"DATABASE_URL": database_url}
    else:
        with embedded_servers(folder, durable=False) as servers:
            yield {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}


@pytest.fixture(scope="session")
async def platform(configured: Settings) -> AsyncIterator[Platform]:
    async with open_platform(configured) as opened:
        yield opened


@asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncIterator[str]:
    """The application on this port of the loopback, or on a free one, in this event loop; its address."""
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    config = uvicorn.Config(
        app, ws="websockets-sansio", log_level="warning", timeout_graceful_shutdown=1, timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    with patch.object(server, "capture_signals", nullcontext):
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn tells no other way
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@pytest.fixture(scope="session")
async def address(configured: Settings) -> AsyncIterator[str]:
    async with serving(create_app(configured)) as url:
        yield url


@pytest.fixture(scope="session")
async def http(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=address, timeout=30, limits=httpx.Limits(max_connections=200)) as client:
        yield client


@pytest.fixture(scope="session")
async def world(platform: Platform, http: httpx.AsyncClient) -> World:
    """A region, the catalogue, an admin; and factories for everybody else."""
    return await build_world(platform, http)


_DROP_QUEUED = Statement(text("DELETE FROM pgqueuer WHERE status = 'queued'"))
_IN_HAND = Statement(text("SELECT count(*) FROM pgqueuer WHERE status = 'picked'"))


async def _work_in_hand_is_done(platform: Platform) -> None:
    """Let jobs that have begun end by themselves, and no other begin.

    What is being stored when its job is given up is stored all the same: later, when another test runs and says that
    nothing changes.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while True:
                async with platform.database.write() as session:
                    await session.execute(_DROP_QUEUED)
                    if not await session.scalar(_IN_HAND):
                        return
                await asyncio.sleep(0.02)


@pytest.fixture
async def working(platform: Platform) -> AsyncIterator[None]:
    """A worker runs: codes are sent, deadlines are kept; what earlier tests left to do is none of its work."""
    await relay.skip(platform)
    async with platform.database.write() as session:
        await session.execute(Statement(text("DELETE FROM pgqueuer")))
    task = asyncio.create_task(worker.work(platform))
    try:
        yield
        if not task.done():
            await _work_in_hand_is_done(platform)
    finally:
        await end(task)

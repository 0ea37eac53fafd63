"""One application whose limits are so small that tests can reach them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.core.config import Settings
from tests.support.nursery import Nursery, nursery
from tests.ws.sockets import Served, served

SWEEP_SECONDS = 0.2
FRAMES_A_MINUTE = 30
SOCKETS_PER_USER = 3


@pytest.fixture(scope="package")
async def small(configured: Settings) -> AsyncIterator[Served]:
    limits = {"socket_frames_a_minute": FRAMES_A_MINUTE, "sockets_per_user": SOCKETS_PER_USER}
    async with served(configured, hub_sweep_seconds=SWEEP_SECONDS, **limits) as running:
        yield running


@pytest.fixture(scope="package")
async def children(configured: Settings, folder: Path) -> AsyncIterator[Nursery]:
    """Starts server processes on the same PostgreSQL and Valkey."""
    assert configured.database_url
    async with nursery(folder) as started:
        yield started

"""Four server processes beside the one of the tests, on the same PostgreSQL and Valkey."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.core.config import Settings
from tests.processes.servers import Server, serving_processes


@pytest.fixture(scope="package")
async def servers(configured: Settings, folder: Path) -> AsyncIterator[list[Server]]:
    """With a cap of 200 buyers for each lead that is posted here."""
    assert configured.database_url
    async with serving_processes(folder, 4, LOCALBAZAAR_LEAD_CAP="200") as running:
        yield running

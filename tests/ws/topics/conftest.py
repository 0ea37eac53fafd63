"""Two processes, as far as the application can tell, whose limits are so small that tests can reach them."""

from collections.abc import AsyncIterator

import pytest

from app.core.config import Settings
from tests.support import rides
from tests.ws.sockets import Served, served
from tests.ws.topics.steps import SMALL


@pytest.fixture(scope="package", autouse=True)
async def known_rides(configured: Settings) -> AsyncIterator[None]:
    async with rides.known(configured):
        yield


@pytest.fixture(scope="package")
async def app(configured: Settings, known_rides: None) -> AsyncIterator[Served]:
    async with served(configured, **SMALL) as running:
        yield running


@pytest.fixture(scope="package")
async def elsewhere(configured: Settings, known_rides: None) -> AsyncIterator[Served]:
    """Another process on the same servers, as far as the application can tell."""
    async with served(configured, **SMALL) as running:
        yield running

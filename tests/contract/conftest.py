"""The application in a thread of its own: generated cases are sent by blocking clients."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from app.core.config import Settings
from app.main import create_app
from tests.conftest import serving
from tests.contract.operations import Operation
from tests.contract.stage import Stage, set_stage
from tests.support.world import Person, World


@pytest.fixture(scope="session")
def far_address(configured: Settings) -> Iterator[str]:
    """A second process of the same installation, as far as one can tell from outside."""
    urls: list[str] = []
    started, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(create_app(configured)) as url:
            urls.append(url)
            started.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait(30)
    yield urls[0]
    over.set()
    thread.join()


@pytest.fixture(scope="session")
async def scene(world: World) -> Stage:
    """For tests that change nothing."""
    return await set_stage(world)


@pytest.fixture
async def stage(operation: Operation, world: World, scene: Stage) -> Stage:
    """For one operation; what only reads leaves it to the next as it was."""
    return scene.at_first() if operation.method == "GET" else await set_stage(world)


@pytest.fixture(scope="session")
async def jane(world: World) -> Person:
    """An account like any other."""
    return await world.person()

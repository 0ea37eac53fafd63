"""The application in a thread of its own: generated cases are sent by blocking clients."""

import asyncio
import threading
from collections.abc import Iterator
from random import Random

import pytest

from app.core.config import Settings
from app.main import create_app
from tests.conftest import serving
from tests.contract.operations import Operation
from tests.contract.stage import Stage, set_stage
from tests.support.world import Person, World

OPERATIONS_PER_STAGE = 6
"""To set a stage takes longer than all requests of an operation."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Operations on one kind of thing come far from each other, for they would find their stage played out."""
    places = [place for place, item in enumerate(items) if item.path.name == "test_openapi.py"]
    shuffled = Random(7).sample([items[place] for place in places], len(places))
    for place, item in zip(places, shuffled, strict=True):
        items[place] = item


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


@pytest.fixture(scope="session")
def stages() -> list[Stage]:
    """Those for operations that change what they like, in their order."""
    return []


@pytest.fixture
async def stage(operation: Operation, world: World, scene: Stage, stages: list[Stage]) -> Stage:
    """What only reads leaves it to the next as it was; of the others, a few play on one."""
    if operation.method == "GET":
        return scene.at_first()
    if not stages or stages[-1].is_worn or stages[-1].turn == OPERATIONS_PER_STAGE:
        stages.append(await set_stage(world))
    else:
        stages.append(stages[-1].at_first())
    return stages[-1]


@pytest.fixture(scope="session")
async def jane(world: World) -> Person:
    """An account like any other."""
    return await world.person()

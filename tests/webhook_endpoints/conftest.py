"""Somebody who is sent events, on the loopback."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import serving
from tests.support.receiver import Receiver
from tests.support.world import World
from tests.webhook_endpoints.steps import only_what_comes


@pytest.fixture
async def nothing_before(world: World) -> None:
    await only_what_comes(world)


@pytest.fixture
async def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def url(receiver: Receiver) -> AsyncIterator[str]:
    async with serving(receiver) as address:
        yield f"{address}/hook?of=ours"

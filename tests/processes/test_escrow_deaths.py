"""No death of a process between holding and releasing loses or doubles money, at whichever statement it comes.

`make test` kills at one statement, before and after it; `LOCALBAZAAR_DEATHS=all` at each of them.
"""

import os
import random
import signal
import sys
from uuid import UUID, uuid4

import pytest

from app.core.config import Settings
from tests.processes.escrow_job import AMOUNT
from tests.processes.servers import played
from tests.support.postgres_proxy import Kill, When, proxy
from tests.support.world import Person, World

ALL = os.environ.get("LOCALBAZAAR_DEATHS") == "all"
SELLERS_PART = 900_00

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel whose connection it is"),
    pytest.mark.timeout(1800 if ALL else 180),
]


async def run(database_url: str, subject_id: UUID, payer: Person, seller: Person) -> int:
    """The job's two steps as a process; how it ended."""
    return await played("tests.processes.escrow_job", subject_id, payer.id, seller.id, database_url=database_url)


async def dies(world: World, settings: Settings, number: int, when: When) -> bool:
    """Whether the process died at this statement; either way, run again, everything is there once."""
    subject_id = uuid4()
    payer, seller = await world.provider(funds_minor=AMOUNT), await world.person()
    async with proxy(settings.database_url) as (proxying, url):
        proxying.arm(number, when, Kill())
        ended = await run(url, subject_id, payer, seller)
        struck = proxying.struck.is_set()
        assert ended == (-signal.SIGKILL if struck else 0)
        proxying.disarm()
        assert await run(url, subject_id, payer, seller) == 0
    assert (await world.balance(payer), await world.balance(seller)) == (0, SELLERS_PART)
    [escrow] = await world.rows("accounts", owner_id=subject_id)
    assert escrow["balance"] == 0
    assert sorted(entry["kind"] for entry in await world.rows("entries", subject_id=subject_id)) == ["hold", "release"]
    await world.books_are_clean()
    return struck


@pytest.mark.parametrize("when", list(When))
async def test_what_is_held_is_released_once_whenever_the_process_dies(
    world: World, configured: Settings, when: When
) -> None:
    if not ALL:
        assert await dies(world, configured, random.randint(1, 6), when)
        return
    number = 1
    while await dies(world, configured, number, when):
        number += 1
    print(f"{when}: {number - 1} deaths")
    assert number > 6

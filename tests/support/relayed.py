"""The relay, for tests that look at what it has queued."""

import asyncio

from sqlalchemy import text

from app.core.database import Statement
from app.jobs import relay
from app.kernel.platform import Platform

_LEFT = Statement(
    text(
        "SELECT count(*) FROM events e, relay_cursors c"
        " WHERE c.consumer = :consumer AND (e.xid, e.seq) > (c.xid, c.seq)"
    )
)


async def relay_everything(platform: Platform) -> int:
    """Relay all that has committed; how many events that were.

    A transaction that runs elsewhere may hold some of it up for a moment: the database's own analysis of a table, too.
    """
    relayed = 0
    async with asyncio.timeout(10):
        while True:
            while count := await relay.relay_batch(platform):
                relayed += count
            async with platform.database.read() as session:
                if not await session.scalar(_LEFT, consumer=relay.CONSUMER):
                    return relayed
            await asyncio.sleep(0.01)

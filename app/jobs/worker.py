"""The worker process: relay, clock and job queue together, until told to stop."""

import asyncio
import contextlib
import signal

from app.core.config import Settings, settings
from app.core.database import connect
from app.jobs import clock, queue, relay
from app.kernel.platform import Platform, open_platform


async def work(platform: Platform) -> None:
    """Run all jobs until cancelled. Any number of workers share them."""
    # The queue's own: it listens for new jobs and is never shared.
    connection = await connect(platform.settings)
    try:
        jobs = queue.build(platform, connection)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(relay.run(platform))
            tasks.create_task(clock.run(platform))
            tasks.create_task(jobs.run())
    finally:
        await connection.close()


async def run(settings: Settings) -> None:
    """The process: stops within seconds on SIGTERM or SIGINT; what it had in hand is taken up by another."""
    async with open_platform(settings) as platform:
        task = asyncio.create_task(work(platform))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(run(settings()))

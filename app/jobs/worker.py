"""The worker process: relay, clock and job queue together, until told to stop."""

import asyncio
import contextlib
import signal
from datetime import timedelta

import asyncpg
import structlog

from app import adapters, services
from app.core.config import Settings, settings
from app.core.connections import connect
from app.core.errors import Problem
from app.core.logging import configure_logging
from app.core.tasks import end, run_together
from app.jobs import clock, queue, relay, webhooks
from app.kernel.platform import Platform, open_platform

_log = structlog.get_logger()

_PAUSE_SECONDS = 1
_LOOK_AGAIN = timedelta(seconds=1)

services.load_all()
adapters.load_senders()


async def work(platform: Platform) -> None:
    """Run all jobs until cancelled, or until the queue's connection is lost. Any number of workers share them."""
    # The queue's own: it listens for new jobs and is never shared.
    connection = await connect(platform.settings)
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    try:
        jobs = queue.build(platform, connection)
        await run_together(
            relay.run(platform),
            clock.run(platform),
            webhooks.run_spreading(platform),
            webhooks.run_sending(platform),
            # A job that is to be tried again announces nothing when its time has come: the queue has to look.
            jobs.run(dequeue_timeout=_LOOK_AGAIN),
            _end_when(lost),
        )
    finally:
        await connection.close()


async def _end_when(lost: asyncio.Event) -> None:
    """The queue would not tell a connection that was lost from one that has nothing to say."""
    await lost.wait()
    raise ConnectionError("the queue's connection was lost")


async def keep_working(platform: Platform) -> None:
    """Work until cancelled, and again whenever the database has been away: that is no reason to end.

    A worker that ended would be started again at once and end again, and to a supervisor that looks like one that never
    will work. Any other failure does end it.
    """
    while True:
        # In a task of its own: cancelled just when it fails, it would tell of its failure only.
        working = asyncio.create_task(work(platform))
        try:
            await asyncio.wait({working})
        finally:
            await end(working)
        try:
            working.result()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, Problem) as error:
            _log.warning("worker_starts_over", error=type(error).__name__)
        await asyncio.sleep(_PAUSE_SECONDS)


async def run(settings: Settings) -> None:
    """The process: stops within seconds on SIGTERM or SIGINT; what it had in hand is taken up by another."""
    configure_logging()
    async with open_platform(settings) as platform:
        task = asyncio.create_task(keep_working(platform))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(run(settings()))

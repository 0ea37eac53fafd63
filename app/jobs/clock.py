"""The clock: works off deadlines that are due, by the database's time."""

from functools import partial

import structlog

from app.core.tasks import keep_at, run_together
from app.kernel import deadlines
from app.kernel.platform import Platform

_log = structlog.get_logger()


async def tick(platform: Platform) -> int:
    """Work off everything that is due now, each deadline in a transaction of its own; how many that were."""
    done = 0
    while True:
        try:
            async with platform.database.write() as session:
                worked_off = await deadlines.work_off_one(session)
            if worked_off is None:
                return done
            done += 1
        except deadlines.DeadlineFailed as failed:
            _log.error("deadline_failed", kind=failed.kind, subject_id=str(failed.subject_id), exc_info=failed)
            async with platform.database.write() as session:
                await deadlines.postpone(session, failed)


async def run(platform: Platform) -> None:
    """Tick for as long as the process lives, several side by side: whoever waits for a subject holds up no other."""
    pause = platform.settings.deadline_poll_seconds
    ticking = [
        keep_at(partial(tick, platform), pause=pause, after_failure=pause)
        for _ in range(platform.settings.deadline_concurrency)
    ]
    await run_together(*ticking)

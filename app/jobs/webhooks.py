"""Webhooks out: makes deliveries of events, and keeps as many attempts under way as the settings allow."""

import asyncio
from collections import Counter
from functools import partial
from uuid import UUID

import structlog

from app.core.database import Row
from app.core.errors import Problem
from app.core.tasks import end, keep_at
from app.kernel.platform import Platform
from app.services.webhook_endpoints import sending, spreading

_log = structlog.get_logger()


class Sender:
    """The attempts of one process. A slow endpoint takes up its few places and nobody else's."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._busy: Counter[UUID] = Counter()
        self._attempts: set[asyncio.Task[None]] = set()

    async def start_what_is_due(self) -> int:
        """Begin as many attempts as there is room for; how many that were."""
        free = self._platform.settings.webhook_concurrency - len(self._attempts)
        taken = await sending.take(self._platform, self._busy, free) if free else []
        for delivery in taken:
            self._busy[delivery["endpoint_id"]] += 1
            task = asyncio.create_task(self._attempt(delivery))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)
        return len(taken)

    async def wait(self, seconds: float) -> None:
        """Until there is room again, or so long."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(seconds)

    async def finish(self) -> None:
        """Until every attempt that was begun has ended."""
        while self._attempts:
            await asyncio.wait(self._attempts)

    async def close(self) -> None:
        """Drop the attempts that are under way: they fall due again by themselves."""
        if self._attempts:
            await end(*self._attempts)

    async def _attempt(self, delivery: Row) -> None:
        try:
            await sending.attempt(self._platform, delivery)
        except Problem as problem:
            _log.warning("webhook_outcome_lost", code=problem.code)  # it falls due again
        except Exception:
            _log.exception("webhook_broke", endpoint_id=str(delivery["endpoint_id"]))
        finally:
            self._busy[delivery["endpoint_id"]] -= 1
            if not self._busy[delivery["endpoint_id"]]:
                del self._busy[delivery["endpoint_id"]]


async def send_due(platform: Platform) -> int:
    """Make an attempt for everything that is due now, and wait for the outcomes; how many attempts that were."""
    sender, made = Sender(platform), 0
    try:
        while started := await sender.start_what_is_due():
            made += started
            await sender.finish()
    finally:
        await sender.close()
    return made


async def run_spreading(platform: Platform) -> None:
    """Make deliveries of events for as long as the process lives."""
    await keep_at(partial(_spread, platform), pause=platform.settings.webhook_poll_seconds)


async def _spread(platform: Platform) -> bool:
    return await spreading.spread(platform) >= spreading.BATCH


async def run_sending(platform: Platform) -> None:
    """Send what is due for as long as the process lives."""
    sender, pause = Sender(platform), platform.settings.webhook_poll_seconds
    try:
        await keep_at(partial(_send, sender, pause), pause=0, after_failure=pause)
    finally:
        await sender.close()


async def _send(sender: Sender, pause: float) -> None:
    # What ends at once makes room for what is next; what is not due yet is looked for now and then.
    if not await sender.start_what_is_due():
        await sender.wait(pause)

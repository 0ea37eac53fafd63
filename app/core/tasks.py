"""Tasks that end when they are told to."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog

from app.core.errors import Problem

_log = structlog.get_logger()

_ASK_AGAIN_SECONDS: Final = 0.1
_PAUSE_SECONDS: Final = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait for their end, whatever it is.

    Cancelling once is not enough: Python 3.11's `asyncio.wait_for` forgets a cancellation that arrives in the instant
    in which what it waits for is done, and the clients of Valkey and of sockets send through it. A task that loops
    would then go on, and whoever waits for its end would wait for ever.

    Cancelled itself, it waits all the same and then tells so: whoever ends what ends others asks again, too, and would
    leave those others behind.
    """
    running, cancelled = set(tasks), None
    while running:
        for task in running:
            task.cancel()
        try:
            _, running = await asyncio.wait(running, timeout=_ASK_AGAIN_SECONDS)
        except asyncio.CancelledError as asked:
            running, cancelled = {task for task in running if not task.done()}, asked
    if cancelled is not None:
        raise cancelled


async def run_together(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Run all of them until the first one returns or fails, and end the others; raises what made it fail."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in done:
        task.result()


async def keep_at(step: Callable[[], Awaitable[object]], *, pause: float, after_failure: float = 1) -> None:
    """Take a step again and again until cancelled, whatever becomes of one.

    A step that answers truth has left something for the next one, which follows at once; otherwise it follows after
    `pause` seconds, or, where one failed, after `after_failure` seconds. The log tells of each that failed.
    """
    name = getattr(step, "func", step).__qualname__
    while True:
        try:
            wait = 0 if await step() else pause
        except Problem as problem:
            _log.warning("loop_waits", loop=name, code=problem.code)
            wait = after_failure
        except Exception:
            _log.exception("loop_broke", loop=name)
            wait = after_failure
        await asyncio.sleep(wait)


async def for_ever(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop again whenever it breaks, after a pause: whoever needs it would otherwise wait for good."""
    await keep_at(loop, pause=_PAUSE_SECONDS, after_failure=_PAUSE_SECONDS)

"""Tasks end when they are told to, also those that forget that they were."""

import asyncio
from contextlib import suppress

import pytest

from app.core.errors import Unavailable
from app.core.tasks import end, keep_at, run_together

PATIENCE = 5


async def test_a_task_that_forgets_its_cancellation_still_ends() -> None:
    # Given a loop that loses the first cancellations, as one around `asyncio.wait_for` can
    forgotten = 0

    async def forgetful() -> None:
        nonlocal forgotten
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                forgotten += 1
                if forgotten == 3:
                    raise

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    # When it is told to end
    await asyncio.wait_for(end(task), PATIENCE)
    # Then it has
    assert task.cancelled()
    assert forgotten == 3


async def test_what_a_task_failed_of_is_not_the_business_of_who_ends_it() -> None:
    async def failing() -> None:
        raise ZeroDivisionError

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await end(task)
    assert isinstance(task.exception(), ZeroDivisionError)


async def test_of_those_that_run_together_the_first_failure_ends_all() -> None:
    ended = asyncio.Event()

    async def lasting() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(run_together(lasting(), failing()), PATIENCE)
    assert ended.is_set()


async def test_who_is_cancelled_leaves_nothing_running_together() -> None:
    ended: list[int] = []

    async def lasting(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    together = asyncio.create_task(run_together(lasting(1), lasting(2)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await end(together)
    assert sorted(ended) == [1, 2]


async def test_who_is_asked_to_end_again_and_again_still_waits_for_what_ends_slowly() -> None:
    # Given what needs longer to end than it takes until it is asked again
    ended: list[int] = []

    async def slow(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(15):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.02)
            ended.append(number)

    together = asyncio.create_task(run_together(slow(1), slow(2)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # When whoever runs them is told to end
    await asyncio.wait_for(end(together), PATIENCE)
    # Then nothing of it goes on behind
    assert together.cancelled()
    assert sorted(ended) == [1, 2]


async def test_a_step_is_kept_at_whatever_becomes_of_one_and_ends_when_told_to() -> None:
    outcomes: list[object] = [True, Unavailable("away"), ZeroDivisionError(), False, True]
    enough = asyncio.Event()

    async def step() -> object:
        outcome = outcomes.pop(0)
        if not outcomes:
            enough.set()
            await asyncio.sleep(60)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    # Given steps that succeed, fail as foreseen, fail as not foreseen, and find nothing to do
    task = asyncio.create_task(keep_at(step, pause=0, after_failure=0))
    # Then the next one follows each of them
    await asyncio.wait_for(enough.wait(), PATIENCE)
    # and being cancelled is no failure
    await asyncio.wait_for(end(task), PATIENCE)
    assert task.cancelled()

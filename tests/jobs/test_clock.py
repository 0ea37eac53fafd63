"""The clock keeps every deadline within two seconds, by the database's time, and once."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.core.database import Session, Statement
from app.core.tasks import end
from app.jobs import clock
from app.kernel import deadlines
from app.kernel.platform import Platform
from tests.support.world import World

CROWD = 400
LATEST_SECONDS = 2.0
DEAREST = 5
"""So many times the shortest transaction a deadline may take, where the machine has no two seconds for a crowd."""

_LOOK = Statement(text("SELECT 1 FROM deadlines LIMIT 1"))


class Kept:
    """Which deadlines were kept, how often, and when."""

    def __init__(self) -> None:
        self.times: dict[UUID, list[float]] = {}
        self.broken: set[UUID] = set()
        self.stuck: set[UUID] = set()

    async def keep(self, _: Session, subject_id: UUID) -> None:
        if subject_id in self.broken:
            raise ZeroDivisionError
        if subject_id in self.stuck:
            await asyncio.Event().wait()
        self.times.setdefault(subject_id, []).append(time.monotonic())


@pytest.fixture
async def kept(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    """Deadlines of a kind of the tests' own."""
    await world.execute("DELETE FROM deadlines")
    found = Kept()
    monkeypatch.setitem(deadlines._handlers, ("test", "ring"), found.keep)
    yield found
    await world.execute("DELETE FROM deadlines")


async def due_in(world: World, seconds: float, *subject_ids: UUID) -> None:
    for subject_id in subject_ids:
        await world.execute(
            "INSERT INTO deadlines (subject_type, subject_id, kind, due_at) VALUES "
            "('test', cast(:id AS uuid), 'ring', now() + cast(cast(:age AS text) AS interval))",
            id=str(subject_id),
            age=f"{seconds} seconds",
        )


async def run_for(platform: Platform, seconds: float, clocks: int = 1) -> None:
    tasks = [asyncio.create_task(clock.run(platform)) for _ in range(clocks)]
    await asyncio.sleep(seconds)
    await end(*tasks)


async def bare_seconds(platform: Platform) -> float:
    """How long as many transactions of one statement take, with as many at once, as the machine is just now."""

    async def look() -> None:
        for _ in range(CROWD // 2):
            async with platform.database.write() as session:
                await session.scalar(_LOOK)

    began = time.monotonic()
    await asyncio.gather(look(), look())
    return time.monotonic() - began


async def test_a_deadline_is_kept_within_two_seconds_and_not_before(
    platform: Platform, world: World, kept: Kept
) -> None:
    soon, later = uuid4(), uuid4()
    await due_in(world, 1, soon)
    await due_in(world, 60, later)
    began = time.monotonic()
    await run_for(platform, 1 + LATEST_SECONDS)
    assert set(kept.times) == {soon}
    [at] = kept.times[soon]
    assert 0.9 < at - began < 1 + LATEST_SECONDS
    assert [row["subject_id"] for row in await world.rows("deadlines")] == [later]


async def test_a_crowd_of_deadlines_is_kept_in_time_and_each_of_them_once_by_several_clocks(
    platform: Platform, world: World, kept: Kept
) -> None:
    crowd = [uuid4() for _ in range(CROWD)]
    await world.execute(
        "INSERT INTO deadlines (subject_type, subject_id, kind, due_at) "
        "SELECT 'test', cast(id AS uuid), 'ring', now() FROM unnest(string_to_array(cast(:ids AS text), ',')) AS id",
        ids=",".join(map(str, crowd)),
    )
    bare = await bare_seconds(platform)
    began = time.monotonic()
    tasks = [asyncio.create_task(clock.run(platform)) for _ in range(2)]
    async with asyncio.timeout(20):
        while len(kept.times) < CROWD:  # noqa: ASYNC110 - a poll is simpler here
            await asyncio.sleep(0.02)
    took = time.monotonic() - began
    await end(*tasks)
    bare = max(bare, await bare_seconds(platform))
    print(f"{CROWD} deadlines at once: {took:.2f} s, {took / bare:.1f} times bare transactions")
    assert {len(times) for times in kept.times.values()} == {1}
    assert took < max(LATEST_SECONDS, DEAREST * bare)


async def test_a_deadline_that_breaks_is_tried_again_later_and_holds_up_no_other(
    platform: Platform, world: World, kept: Kept
) -> None:
    # Given one that breaks, which is the longest due
    broken, sound = uuid4(), uuid4()
    kept.broken.add(broken)
    await due_in(world, -10, broken)
    await due_in(world, 0, sound)
    # When
    await clock.tick(platform)
    # Then the other was kept, and the first one is postponed
    assert set(kept.times) == {sound}
    [row] = await world.rows("deadlines")
    assert (row["subject_id"], row["failures"]) == (broken, 1)
    # and is kept once it can be
    kept.broken.clear()
    async with asyncio.timeout(5):
        while broken not in kept.times:
            await clock.tick(platform)
            await asyncio.sleep(0.1)
    assert await world.rows("deadlines") == []


async def test_a_deadline_whose_subject_is_held_by_somebody_holds_up_no_other(
    platform: Platform, world: World, kept: Kept
) -> None:
    # Given one that waits and waits
    stuck, sound = uuid4(), uuid4()
    kept.stuck.add(stuck)
    await due_in(world, -10, stuck)
    # When another one falls due meanwhile
    await due_in(world, 1, sound)
    await run_for(platform, 1 + LATEST_SECONDS)
    # Then that is kept
    assert set(kept.times) == {sound}
    assert [row["subject_id"] for row in await world.rows("deadlines")] == [stuck]


async def test_what_nobody_expected_does_not_end_the_clock(
    platform: Platform, world: World, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject_id = uuid4()
    await due_in(world, 0, subject_id)
    tick, calls = clock.tick, 0

    async def broken_once(platform: Platform) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return await tick(platform)

    monkeypatch.setattr(clock, "tick", broken_once)
    await run_for(platform, 1.5)
    assert set(kept.times) == {subject_id}


async def test_a_request_that_nobody_touched_expires(platform: Platform, world: World) -> None:
    # Given a lead that was bought and not worked on, whose 30 days are over
    _, request_id, [provider] = await world.lead()
    paid = await world.balance(provider)
    await world.execute(
        "UPDATE deadlines SET due_at = now() WHERE subject_id = cast(:id AS uuid) AND kind = 'expire'", id=request_id
    )
    # When
    await clock.tick(platform)
    # Then
    [row] = await world.rows("service_requests", id=UUID(request_id))
    assert row["status"] == "EXPIRED"
    assert await world.balance(provider) == paid + 50_00
    await world.books_are_clean()

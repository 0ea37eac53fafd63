"""Deadlines: each is worked off once, however many clocks there are, and one that fails is in nobody's way."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Uuid, bindparam, func, select

from app.core.database import Session, Statement
from app.core.errors import Conflict, NotFound
from app.core.money import InsufficientFunds
from app.jobs import clock
from app.kernel import deadlines, ledger
from app.kernel.transitions import IllegalTransition
from app.models.ledger import AccountKind
from tests.support.world import World

NOUN = "test_subject"
Handler = Callable[[Session, UUID], Awaitable[None]]


@pytest.fixture
async def handled(monkeypatch: pytest.MonkeyPatch, world: World) -> AsyncIterator[Counter[UUID]]:
    """Handlers of three kinds; how often each subject was handled. Nothing else is due."""
    await clock.tick(world.platform)
    done: Counter[UUID] = Counter()

    async def works(_: Session, subject_id: UUID) -> None:
        done[subject_id] += 1

    async def breaks(_: Session, subject_id: UUID) -> None:
        done[subject_id] += 1
        raise RuntimeError("a bug")

    async def too_late(_: Session, subject_id: UUID) -> None:
        done[subject_id] += 1
        raise IllegalTransition()

    async def gone(_: Session, subject_id: UUID) -> None:
        done[subject_id] += 1
        raise NotFound()

    register(monkeypatch, works=works, breaks=breaks, too_late=too_late, gone=gone)
    yield done
    await world.execute("DELETE FROM deadlines WHERE subject_type = :noun", noun=NOUN)


def register(monkeypatch: pytest.MonkeyPatch, **handlers: Handler) -> None:
    for kind, handler in handlers.items():
        monkeypatch.setitem(deadlines._handlers, (NOUN, kind), handler)


async def due(world: World, kind: str, *, ago: str = "1 second", failures: int = 0) -> UUID:
    """A deadline that fell due this long ago; its subject."""
    subject_id = uuid4()
    await world.execute(
        f"""INSERT INTO deadlines (subject_id, kind, subject_type, due_at, failures)
            VALUES (cast(:id AS uuid), :kind, :noun, now() - interval '{ago}', cast(:failures AS int))""",
        id=str(subject_id), kind=kind, noun=NOUN, failures=failures,
    )  # fmt: skip
    return subject_id


async def left(world: World) -> dict[UUID, tuple[int, float]]:
    """The deadlines that are there: failures, and seconds from now."""
    now = datetime.now(UTC)
    return {
        row["subject_id"]: (row["failures"], (row["due_at"] - now).total_seconds())
        for row in await world.rows("deadlines", subject_type=NOUN)
    }


async def test_what_is_due_is_done_in_order_and_removed(world: World, handled: Counter[UUID]) -> None:
    later, sooner = await due(world, "works", ago="1 second"), await due(world, "works", ago="1 hour")
    not_yet = await due(world, "works", ago="-1 hour")
    assert await clock.tick(world.platform) == 2
    assert list(handled) == [sooner, later]
    assert (await left(world)).keys() == {not_yet}


async def test_many_clocks_do_each_deadline_once(world: World, handled: Counter[UUID]) -> None:
    # Given two hundred due deadlines
    subjects = [await due(world, "works") for _ in range(200)]
    # When eight clocks tick at once
    done = await asyncio.gather(*(clock.tick(world.platform) for _ in range(8)))
    # Then each was done by one of them
    assert sum(done) == 200
    assert handled == Counter(subjects)
    assert await left(world) == {}


async def test_a_clock_passes_over_what_another_has_in_hand(
    world: World, handled: Counter[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a clock that is in the middle of a deadline
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Session, subject_id: UUID) -> None:
        handled[subject_id] += 1
        begun.set()
        await go_on.wait()

    register(monkeypatch, slow=slow)
    held = await due(world, "slow", ago="1 hour")
    first = asyncio.create_task(clock.tick(world.platform))
    await begun.wait()
    # When another ticks, then it does the next one and neither waits for the first nor repeats it
    other = await due(world, "works")
    assert await clock.tick(world.platform) == 1
    assert handled == {held: 1, other: 1}
    go_on.set()
    assert await first == 1
    assert await left(world) == {}


async def test_a_clock_does_not_hold_the_deadlines_row(
    world: World, handled: Counter[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the subject may move its deadline while the clock waits for the subject: no deadlock."""

    async def waits_for_the_subject(session: Session, subject_id: UUID) -> None:
        handled[subject_id] += 1
        moved = await world.execute(
            "UPDATE deadlines SET due_at = now() + interval '1 day' WHERE subject_id = cast(:id AS uuid)",
            id=str(subject_id),
        )
        assert moved == 1

    register(monkeypatch, waits=waits_for_the_subject)
    subject_id = await due(world, "waits")
    async with asyncio.timeout(5):
        assert await clock.tick(world.platform) == 1
    # What somebody moved into the future is not removed by the clock.
    assert (await left(world))[subject_id][1] > 80_000


async def test_a_failing_deadline_is_put_off_and_blocks_no_other(world: World, handled: Counter[UUID]) -> None:
    # Given a broken deadline before a good one
    broken = await due(world, "breaks", ago="1 hour")
    good = await due(world, "works")
    # When the clock ticks
    assert await clock.tick(world.platform) == 1
    # Then the good one is done, and the broken one waits for a second try
    assert handled == {broken: 1, good: 1}
    failures, seconds = (await left(world))[broken]
    assert failures == 1
    assert 0 < seconds <= 1


@pytest.mark.parametrize(("failures", "pause"), [(3, 8), (11, 2048), (12, 3600), (2000, 3600)])
async def test_the_pauses_grow_to_an_hour_and_no_further(
    world: World, handled: Counter[UUID], failures: int, pause: int
) -> None:
    broken, good = await due(world, "breaks", failures=failures), await due(world, "works")
    assert await clock.tick(world.platform) == 1
    assert handled == {broken: 1, good: 1}
    again, seconds = (await left(world))[broken]
    assert again == failures + 1
    assert pause - 5 < seconds <= pause


@pytest.mark.parametrize("kind", ["too_late", "gone"])
async def test_a_subject_that_moved_on_needs_nothing_more(world: World, handled: Counter[UUID], kind: str) -> None:
    await due(world, kind)
    assert await clock.tick(world.platform) == 1
    assert await left(world) == {}


async def test_any_other_refusal_takes_everything_back(
    world: World, handled: Counter[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conflict in the middle of the work must not leave half of it behind, nor the deadline undone."""
    owner = uuid4()

    async def half(session: Session, subject_id: UUID) -> None:
        handled[subject_id] += 1
        clearing = ledger.platform(AccountKind.CLEARING, "INR")
        await ledger.transfer(session, "test", clearing, ledger.wallet(owner, "INR"), 100)
        raise Conflict()

    async def overdrawn(session: Session, subject_id: UUID) -> None:
        handled[subject_id] += 1
        fees = ledger.platform(AccountKind.FEES, "INR")
        with pytest.raises(InsufficientFunds):
            await ledger.transfer(session, "test", ledger.wallet(owner, "INR"), fees, 100)
        raise InsufficientFunds()

    register(monkeypatch, half=half, overdrawn=overdrawn)
    subjects = [await due(world, "half"), await due(world, "overdrawn")]
    async with world.unchanged():
        assert await clock.tick(world.platform) == 0
    assert handled == Counter(subjects)
    assert {failures for failures, _ in (await left(world)).values()} == {1}


async def test_a_deadline_that_nobody_handles_is_kept(world: World, handled: Counter[UUID]) -> None:
    """Such as one of a newer release, while an older process still runs."""
    unknown, good = await due(world, "of_the_future", ago="1 hour"), await due(world, "works")
    assert await clock.tick(world.platform) == 1
    assert handled == {good: 1}
    assert (await left(world)).keys() == {unknown}


async def test_putting_off_does_not_bring_forward_what_somebody_moved(world: World, handled: Counter[UUID]) -> None:
    # Given a deadline that failed, and was then moved by a month
    subject_id = await due(world, "breaks")
    await world.execute(
        "UPDATE deadlines SET due_at = now() + interval '30 days' WHERE subject_id = cast(:id AS uuid)",
        id=str(subject_id),
    )
    # When the clock puts off what failed
    async with world.platform.database.write() as session:
        await deadlines.postpone(session, deadlines.DeadlineFailed(subject_id, "breaks"))
    # Then it stays where it was moved to
    failures, seconds = (await left(world))[subject_id]
    assert failures == 0
    assert seconds > 29 * 86_400


async def test_a_deadline_is_set_to_a_time_moved_and_cleared(world: World, handled: Counter[UUID]) -> None:
    # Given a deadline that failed before
    subject_id = await due(world, "works", failures=3)
    # When it is set to times of the calendar, then it stands at the last one, as if it had never failed
    async with world.platform.database.write() as session:
        for day in (1, 2):
            due_at = datetime.now(UTC) + timedelta(days=day)
            await deadlines.set_at(session, (NOUN, subject_id), "works", due_at)
    failures, seconds = (await left(world))[subject_id]
    assert failures == 0
    assert abs(seconds - 2 * 86_400) < 5
    # When it is cleared, then it and no other is gone
    other = await due(world, "works")
    async with world.platform.database.write() as session:
        await deadlines.clear(session, subject_id, "works")
        await deadlines.clear(session, other, "breaks")
    assert (await left(world)).keys() == {other}


def asked(kind: str) -> Statement:
    """Whether the deadline of a subject is still due, as the guard of a transition asks it."""
    return Statement(select(deadlines.still_due(bindparam("subject_id", type_=Uuid), kind)))


async def test_only_a_deadline_of_this_subject_and_kind_whose_time_has_come_is_due(
    world: World, handled: Counter[UUID]
) -> None:
    come, not_yet = await due(world, "works"), await due(world, "works", ago="-1 hour")
    async with world.platform.database.read() as session:
        assert await session.scalar(asked("works"), subject_id=come) is True
        assert await session.scalar(asked("works"), subject_id=not_yet) is False
        assert await session.scalar(asked("breaks"), subject_id=come) is False
        assert await session.scalar(asked("works"), subject_id=uuid4()) is False


async def test_a_deadline_is_due_at_its_very_moment(world: World, handled: Counter[UUID]) -> None:
    subject_id = uuid4()
    async with world.platform.database.write() as session:
        now = await session.scalar(Statement(select(func.now())))
        await deadlines.set_at(session, (NOUN, subject_id), "works", now)
        assert await session.scalar(asked("works"), subject_id=subject_id) is True


async def test_whether_a_deadline_is_still_due_is_told_when_whoever_moves_it_is_done(
    world: World, handled: Counter[UUID]
) -> None:
    # Given somebody who is just moving a deadline into the future
    subject_id = await due(world, "works")
    later = datetime.now(UTC) + timedelta(hours=1)
    async with world.platform.database.write() as moving:
        await deadlines.set_at(moving, (NOUN, subject_id), "works", later)
        # When it is asked whether it is due
        async with world.platform.database.read() as session:
            answer = asyncio.create_task(session.scalar(asked("works"), subject_id=subject_id))
            await world.waits(1)
            await moving.commit()
            # Then the answer is about where it has been moved to
            assert await answer is False


async def test_what_is_due_is_found_by_its_index(world: World) -> None:
    async with world.platform.database.write() as session:
        await session.first(deadlines._IS_DUE, subject_id=uuid4(), kind="x")
        connection = session.driver_connection
        await connection.execute(
            "INSERT INTO deadlines SELECT gen_random_uuid(), 'x', 'y', now() + interval '1 day', 0"
            " FROM generate_series(1, 20000)"
        )
        await connection.execute("ANALYZE deadlines")
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + deadlines._TAKE.sql))
        await connection.execute("ROLLBACK")
    assert "deadlines_due_at_index" in plan, plan
    assert "Sort" not in plan, plan

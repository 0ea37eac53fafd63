"""Payouts by schedule: on their day, once, and always with a next day (money.md: payout)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import bindparam, select

from app.core.config import settings
from app.core.database import Statement
from app.jobs import clock
from app.models.base import Timestamp
from app.models.payouts import PayoutProfileStatus as ProfileStatus
from app.models.payouts import PayoutStatus
from app.services.payouts import schedule
from tests.payouts.steps import (
    FUNDS,
    PROFILE,
    REASON,
    decide,
    make_due,
    payout_of,
    request,
    succeed,
    with_profile,
)
from tests.support.world import Person, World

KOLKATA = ZoneInfo("Asia/Kolkata")


async def set_schedule(owner: Person, wanted: Any) -> Any:
    return await owner.call("PATCH", f"{PROFILE}/schedule", json={"schedule": wanted})


async def scheduled(world: World, wanted: str = "weekly", **options: Any) -> Person:
    """A verified owner with money and a schedule."""
    owner = await with_profile(world, **options)
    await succeed(await set_schedule(owner, wanted))
    return owner


async def day_comes(world: World, owner: Person) -> None:
    await make_due(world, owner)
    assert await clock.tick(world.platform) >= 1


async def next_payout(owner: Person) -> datetime | None:
    due_at = (await owner.get(PROFILE)).json()["next_payout_at"]
    return None if due_at is None else datetime.fromisoformat(due_at)


def payday(unit: str, zone: str, hour: int, moment: datetime) -> datetime:
    """The next payday, worked out by the calendar: day by day until it fits."""
    local = moment.astimezone(ZoneInfo(zone))
    day = local.replace(hour=hour, minute=0, second=0, microsecond=0)
    while not (day > local and (day.weekday() == 0 if unit == "week" else day.day == 1)):
        day = (day.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone))
    return day.astimezone(UTC)


@pytest.mark.parametrize("unit", ["week", "month"])
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin"])
@pytest.mark.parametrize("hour", [0, 6, 23])
async def test_the_next_payday_is_that_of_the_calendar(world: World, hour: int, zone: str, unit: str) -> None:
    """On any day of half a year, and around the hour itself: the one that has just come leads to the one after."""
    payday_after = Statement(select(schedule.payday_after(bindparam("moment", type_=Timestamp))))
    start = datetime(2025, 12, 20, hour, tzinfo=ZoneInfo(zone))
    async with world.platform.database.read() as session:
        for days in range(120):
            for seconds in (-1, 0, 1):
                moment = start + timedelta(days=days, seconds=seconds)
                found = await session.scalar(payday_after, moment=moment, unit=unit, zone=zone, hour=hour)
                assert found == payday(unit, zone, hour, moment), moment


@pytest.mark.parametrize("status", list(ProfileStatus))
async def test_a_schedule_names_its_next_day_and_changes_no_status(world: World, status: ProfileStatus) -> None:
    owner = await with_profile(world, status, funds_minor=0)
    # When the schedule becomes weekly, monthly, none
    weekly = await succeed(await set_schedule(owner, "weekly"))
    monday = await next_payout(owner)
    monthly = await succeed(await set_schedule(owner, "monthly"))
    first = await next_payout(owner)
    none = await succeed(await set_schedule(owner, "none"))
    # Then the day is a Monday, a first of the month, and none, at six in India
    assert monday is not None
    assert first is not None
    assert (monday.astimezone(KOLKATA).weekday(), monday.astimezone(KOLKATA).hour) == (0, 6)
    assert (first.astimezone(KOLKATA).day, first.astimezone(KOLKATA).hour) == (1, 6)
    assert await next_payout(owner) is None
    assert await world.rows("deadlines", subject_id=owner.id) == []
    assert [profile["schedule"] for profile in (weekly, monthly, none)] == ["weekly", "monthly", "none"]
    assert {profile["status"] for profile in (weekly, monthly, none)} == {status}
    # And the audit trail tells who did so
    assert [row["details"] for row in (await world.trail(str(owner.id)))[-3:]] == [
        {"schedule": "weekly"}, {"schedule": "monthly"}, {"schedule": "none"},
    ]  # fmt: skip


async def test_without_a_bank_account_there_is_nothing_to_schedule(world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await set_schedule(person, "weekly")).status_code == 404


@pytest.mark.parametrize("wanted", ["daily", "", None, 7, "WEEKLY"])
async def test_a_schedule_that_is_none_is_refused(world: World, wanted: Any) -> None:
    owner = await with_profile(world, funds_minor=0)
    async with world.unchanged():
        assert (await set_schedule(owner, wanted)).status_code == 422


@pytest.mark.parametrize("wanted", ["weekly", "monthly"])
async def test_on_its_day_the_whole_balance_is_requested_and_the_next_day_set(world: World, wanted: str) -> None:
    owner = await scheduled(world, wanted)
    planned = await next_payout(owner)
    await day_comes(world, owner)
    (payout,) = await world.rows("payouts", owner_id=owner.id)
    assert (payout["status"], payout["amount_minor"]) == ("REQUESTED", FUNDS)
    assert await world.balance(owner) == 0
    assert await next_payout(owner) == planned
    # And nobody asked: the owner hears of it, and the audit trail names the clock
    ((_, heard),) = await world.told(str(payout["id"]))
    assert owner.id in heard
    assert (await world.trail(str(payout["id"])))[0]["actor_id"] is None
    await world.books_are_clean()


async def test_a_rich_wallet_is_paid_out_in_parts(world: World) -> None:
    most = settings().payout_maximum_minor
    owner = await scheduled(world, funds_minor=most + 500)
    await day_comes(world, owner)
    (payout,) = await world.rows("payouts", owner_id=owner.id)
    assert payout["amount_minor"] == most


@pytest.mark.parametrize("hindrance", ["empty", "too little", "pending", "restricted", "rejected", "open", "suspended"])
async def test_a_day_on_which_nothing_can_be_paid_is_passed_over(world: World, hindrance: str) -> None:
    # Given a schedule, and a reason not to pay
    funds = {"empty": 0, "too little": settings().payout_minimum_minor - 1}.get(hindrance, FUNDS)
    statuses = {"pending", "restricted", "rejected"}
    status = ProfileStatus(hindrance) if hindrance in statuses else ProfileStatus.VERIFIED
    owner = await scheduled(world, status=status, funds_minor=funds)
    planned = await next_payout(owner)
    if hindrance == "open":
        await succeed(await request(owner, 200_00))
    if hindrance == "suspended":
        assert (await world.admin.post(f"/api/v1/admin/users/{owner.id}/suspend", REASON)).is_success
    # When the day comes, then nothing is requested, and the next day is set
    async with world.unchanged():
        await day_comes(world, owner)
    (deadline,) = await world.rows("deadlines", subject_id=owner.id)
    assert (deadline["due_at"], deadline["failures"]) == (planned, 0)


async def test_when_the_hindrance_is_gone_the_next_day_pays(world: World) -> None:
    owner = await scheduled(world)
    await succeed(await decide(world.admin, owner, "restrict"))
    await day_comes(world, owner)
    await succeed(await decide(world.admin, owner, "verify"))
    await day_comes(world, owner)
    (payout,) = await world.rows("payouts", owner_id=owner.id)
    assert payout["status"] == PayoutStatus.REQUESTED


async def test_a_day_that_was_moved_meanwhile_is_not_paid(world: World) -> None:
    """The clock had the deadline in hand when the owner chose another schedule."""
    owner = await scheduled(world)
    async with world.unchanged(), world.platform.database.write() as session:
        await schedule.pay(session, owner.id)


async def test_many_clocks_request_one_payout(world: World) -> None:
    owner = await scheduled(world)
    await make_due(world, owner)
    await asyncio.gather(*(clock.tick(world.platform) for _ in range(8)))
    assert len(await world.rows("payouts", owner_id=owner.id)) == 1
    assert len(await world.rows("deadlines", subject_id=owner.id)) == 1


async def test_clock_and_owner_at_once_make_one_payout(world: World) -> None:
    owner = await scheduled(world)
    await make_due(world, owner)
    answers = await asyncio.gather(
        *(request(owner) for _ in range(10)),
        *(set_schedule(owner, ("weekly", "monthly")[number % 2]) for number in range(10)),
        *(clock.tick(world.platform) for _ in range(4)),
    )
    # Then nobody got into another's way for good, and the money is there once
    statuses = [answer if isinstance(answer, int) else answer.status_code for answer in answers]
    assert set(statuses[:10]) <= {201, 409}
    assert set(statuses[10:20]) == {200}
    assert len(await world.rows("payouts", owner_id=owner.id)) == 1
    await world.books_are_clean()


async def test_a_schedule_outlives_a_review(world: World) -> None:
    owner = await scheduled(world)
    await payout_of(world, owner, PayoutStatus.FAILED)
    await day_comes(world, owner)
    assert [row["status"] for row in await world.rows("payouts", owner_id=owner.id)] == ["FAILED", "REQUESTED"]

"""Payouts by schedule: on Mondays or on the first of the month, at one hour of the time zone that the settings name."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Interval, Text, Uuid, bindparam, cast, func, literal, select

from app.core.actor import CLOCK, Actor
from app.core.config import settings
from app.core.database import Session, Statement
from app.kernel import deadlines
from app.models.base import Timestamp
from app.models.payouts import PayoutSchedule, payout_profiles
from app.schemas.payouts import PayoutProfile
from app.services.payouts import access, profiles, queries, requests
from app.services.payouts.queries import DEADLINE

_UNITS: Final = {PayoutSchedule.WEEKLY: "week", PayoutSchedule.MONTHLY: "month"}
_zone, _unit = bindparam("zone", type_=Text), bindparam("unit", type_=Text)
_hours = func.make_interval(0, 0, 0, 0, bindparam("hour", type_=Integer))


def payday_after(moment: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """The first hour of a payday that lies behind the moment.

    Weeks begin on Monday, as ISO 8601 has it. Local times, so that the hour stays where summer time moves the clocks.
    """
    period = func.date_trunc(_unit, func.timezone(_zone, moment) - _hours)
    return func.timezone(_zone, period + cast(literal("1 ", Text) + _unit, Interval) + _hours, type_=Timestamp)


_NEXT_PAYDAY: Final = Statement(select(payday_after(func.now())))
_LOCK_PROFILE: Final = Statement(
    select(payout_profiles.c.schedule)
    .where(payout_profiles.c.id == bindparam("owner_id"))
    .with_for_update(key_share=True)
)
_STILL_DUE: Final = Statement(select(deadlines.still_due(bindparam("owner_id", type_=Uuid), DEADLINE)))


async def reschedule(session: Session, actor: Actor, schedule: PayoutSchedule) -> PayoutProfile:
    """Have the whole balance paid out weekly or monthly, or on demand only. `NotFound` without a profile."""
    await profiles.LIFECYCLE.advance(session, actor.user_id, profiles.Action.SCHEDULE, actor, schedule=schedule.value)
    await _set_next(session, actor.user_id, schedule)
    return await queries.profile(session, actor.user_id)


async def pay(session: Session, owner_id: UUID) -> None:
    """The clock: request what there is, if it may be requested; in any case set the next day.

    The locks of owner and profile come first and in this order, as everywhere; whoever moved the deadline in the
    meantime held the profile's, and then this comes too late. A wallet that is emptied at this very moment makes it
    fail, and it is tried again.
    """
    is_active = await access.lock_owner(session, owner_id)
    schedule = PayoutSchedule(await session.scalar(_LOCK_PROFILE, owner_id=owner_id))
    if not await session.scalar(_STILL_DUE, owner_id=owner_id):
        return
    if is_active:
        await requests.request_all(session, CLOCK, owner_id)
    await _set_next(session, owner_id, schedule)


async def _set_next(session: Session, owner_id: UUID, schedule: PayoutSchedule) -> None:
    if schedule is PayoutSchedule.NONE:
        await deadlines.clear(session, owner_id, DEADLINE)
        return
    knobs = settings()
    due_at: datetime = await session.scalar(
        _NEXT_PAYDAY, unit=_UNITS[schedule], zone=knobs.payout_time_zone, hour=knobs.payout_hour
    )
    await deadlines.set_at(session, ("payout_profile", owner_id), DEADLINE, due_at)


deadlines.when_due("payout_profile", DEADLINE, pay)

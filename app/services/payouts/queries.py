"""Reading payout profiles and payouts."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, Uuid, and_, bindparam, literal, or_, select

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR
from app.models.deadlines import deadlines
from app.models.payouts import PayoutProfileStatus, PayoutSchedule, payout_profiles, payouts
from app.models.users import users
from app.schemas.base import Page, page_of
from app.schemas.payouts import MyPayouts, Payout, PayoutProfile, ReviewedPayoutProfile, ReviewPayouts
from app.services.payouts import access

DEADLINE: Final = "payout"
"""The kind of deadline that a schedule sets on its profile."""

_before = bindparam("before", type_=Uuid)
_profiles = (
    select(
        payout_profiles.c.id,
        payout_profiles.c.id.label("user_id"),
        users.c.name.label("user_name"),
        payout_profiles.c.status,
        payout_profiles.c.status_reason.label("reason"),
        payout_profiles.c.holder_name,
        payout_profiles.c.ifsc,
        payout_profiles.c.account_last4,
        payout_profiles.c.currency,
        payout_profiles.c.revision,
        payout_profiles.c.schedule,
        deadlines.c.due_at.label("next_payout_at"),
        payout_profiles.c.updated_at,
    )
    .join(users, users.c.id == payout_profiles.c.id)
    .outerjoin(
        deadlines, and_(deadlines.c.subject_id == payout_profiles.c.id, deadlines.c.kind == literal(DEADLINE, Text))
    )
)
_PROFILE = Statement(_profiles.where(payout_profiles.c.id == bindparam("user_id")))
_in_status = _profiles.where(payout_profiles.c.status == bindparam("status"), payout_profiles.c.id < _before)
_PROFILES = Statement(newest(_in_status, payout_profiles.c.id))
_payouts = select(*(payouts.c[name] for name in Payout.model_fields))
_PAYOUT = Statement(
    _payouts.where(payouts.c.id == bindparam("payout_id"), or_(payouts.c.owner_id == ACTOR, access.is_reviewer))
)
_behind = _payouts.where(payouts.c.id < _before)
_status = bindparam("status", type_=Text)
_own = _behind.where(payouts.c.owner_id == ACTOR)
_OWN = Statement(newest(_own, payouts.c.id))
_OWN_IN_STATUS = Statement(newest(_own.where(payouts.c.status == _status), payouts.c.id))
_IN_STATUS = Statement(newest(_behind.where(payouts.c.status == _status), payouts.c.id))


async def profile(session: ReadSession, user_id: UUID) -> PayoutProfile:
    """The own profile; whoever has handed in no bank account is answered the state `none`."""
    row = await session.first(_PROFILE, user_id=user_id)
    if row is not None:
        return PayoutProfile.model_validate(dict(row))
    nothing: dict[str, Any] = dict.fromkeys(PayoutProfile.model_fields)
    return PayoutProfile.model_validate(
        nothing | {"status": "none", "currency": settings().currency, "revision": 0, "schedule": PayoutSchedule.NONE}
    )


async def reviewed_profile(session: ReadSession, user_id: UUID) -> ReviewedPayoutProfile:
    """A profile as its reviewers see it, or `NotFound`."""
    row = await session.first(_PROFILE, user_id=user_id)
    if row is None:
        raise NotFound()
    return ReviewedPayoutProfile.model_validate(dict(row))


async def profiles(
    session: ReadSession, status: PayoutProfileStatus, cursor: str | None, limit: int
) -> Page[ReviewedPayoutProfile]:
    """Profiles in one state, the newest accounts first."""
    rows = await session.all(_PROFILES, status=status.value, before=decode(cursor), rows=limit + 1)
    return page_of(rows, limit, lambda row: ReviewedPayoutProfile.model_validate(dict(row)))


async def payout(session: ReadSession, actor: Actor, payout_id: UUID) -> Payout:
    """One payout, for its owner and for whoever reviews payouts; `NotFound` for everybody else."""
    row = await session.first(_PAYOUT, payout_id=payout_id, actor_id=actor.id, actor_roles=list(actor.roles))
    if row is None:
        raise NotFound()
    return Payout.model_validate(dict(row))


async def own(session: ReadSession, actor: Actor, wanted: MyPayouts) -> Page[Payout]:
    """The actor's payouts, newest first."""
    statement = _OWN_IN_STATUS if wanted.status else _OWN
    status = statement.known(status=wanted.status)
    rows = await session.all(
        statement, **status, actor_id=actor.id, before=decode(wanted.cursor), rows=wanted.limit + 1
    )
    return _paged(rows, wanted.limit)


async def in_status(session: ReadSession, wanted: ReviewPayouts) -> Page[Payout]:
    """Everybody's payouts in one state, newest first."""
    rows = await session.all(
        _IN_STATUS, status=wanted.status.value, before=decode(wanted.cursor), rows=wanted.limit + 1
    )
    return _paged(rows, wanted.limit)


def _paged(rows: list[Row], limit: int) -> Page[Payout]:
    return page_of(rows, limit, lambda row: Payout.model_validate(dict(row)))

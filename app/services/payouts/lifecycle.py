"""Payouts, as a table (money.md: payout): requested, then sent or failed; what the bank returns has failed too."""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select

from app.core.database import refuse_violation
from app.core.errors import Conflict, Forbidden
from app.kernel.lifecycle import ACTOR, Columns, Creation, Emit, Guard, Lifecycle, Transition, constant
from app.models.payouts import PayoutProfileStatus, payout_profiles, payouts
from app.models.payouts import PayoutStatus as Status
from app.models.users import Role
from app.services.payouts import access, events
from app.services.users import roles


class Action(StrEnum):
    SEND = "send"
    FAIL = "fail"
    RETURN = "return"


class PayoutProfileNotVerified(Conflict):
    code, title = "payout_profile_not_verified", "Payouts go to a verified bank account only."


class PayoutDestinationChanged(Conflict):
    """It is never sent elsewhere than was reviewed: fail it, and the owner requests it anew."""

    code, title = "payout_destination_changed", "The owner has handed in another bank account since."


class PayoutOpen(Conflict):
    code, title = "payout_open", "Another payout of yours waits to be sent."


# The wall behind "one at a time".
refuse_violation("payouts_one_requested", PayoutOpen)

_is_owner = payouts.c.owner_id == ACTOR
_reviewer = Guard(access.is_admin & ~_is_owner, Forbidden)


def _profile_is(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Of the owner's profile, locked: a restriction or a change that is being made at this moment is waited for."""
    profile = select(payout_profiles.c.id).where(payout_profiles.c.id == payouts.c.owner_id, condition)
    return profile.correlate_except(payout_profiles).with_for_update(read=True).exists()


def _to_owner(row: Columns) -> ColumnElement[Any]:
    return row.owner_id


def _to_owner_and_admins(row: Columns) -> Select[Any]:
    return select(roles.holding(Role.ADMIN).union(select(row.owner_id)).subquery().c.user_id)


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"payout_id": row.id, "amount_minor": row.amount_minor, "currency": row.currency}


def _with_reason(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _about(row) | {"reason": row.failure_reason}


LIFECYCLE = Lifecycle(
    "payout",
    payouts,
    Status,
    Creation(
        Status.REQUESTED,
        who="a user with a verified profile, or the schedule",
        emits=[Emit(events.PayoutRequested, _to_owner_and_admins, _about)],
    ),
    [
        Transition(
            Action.SEND,
            frozenset({Status.REQUESTED}),
            Status.SENT,
            who="admin, with the bank's reference",
            allowed=_reviewer,
            guards=[
                Guard(
                    _profile_is(payout_profiles.c.status == constant(PayoutProfileStatus.VERIFIED)),
                    PayoutProfileNotVerified,
                ),
                Guard(_profile_is(payout_profiles.c.revision == payouts.c.profile_revision), PayoutDestinationChanged),
            ],
            records=["reference"],
            sets={"sent_at": func.now()},
            emits=[Emit(events.PayoutSent, _to_owner, lambda row: _about(row) | {"reference": row.reference})],
        ),
        Transition(
            Action.FAIL,
            frozenset({Status.REQUESTED}),
            Status.FAILED,
            who="admin, with reason",
            allowed=_reviewer,
            records=["failure_reason"],
            sets={"failed_at": func.now()},
            emits=[Emit(events.PayoutFailed, _to_owner, _with_reason)],
        ),
        # Not the same action as FAIL: of two reviewers at once the later must not return what the other has just sent.
        Transition(
            Action.RETURN,
            frozenset({Status.SENT}),
            Status.FAILED,
            who="admin, when the bank sent it back, with reason",
            allowed=_reviewer,
            records=["failure_reason"],
            sets={"failed_at": func.now()},
            emits=[Emit(events.PayoutReturned, _to_owner, _with_reason)],
        ),
    ],
    visible=or_(_is_owner, access.is_reviewer),
)

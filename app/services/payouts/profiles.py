"""Payout profiles: where somebody's money goes, and who has verified that (money.md: payout)."""

from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, or_, select

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import Row, Session, Statement
from app.core.errors import Conflict, Forbidden
from app.core.security import Unsealable
from app.kernel.lifecycle import ACTOR, Columns, Creation, Emit, Guard, Lifecycle, Transition
from app.kernel.platform import Platform
from app.kernel.sealed_columns import SealedColumns
from app.models.payouts import PayoutProfileStatus as Status
from app.models.payouts import payout_profiles
from app.models.users import Role
from app.schemas.payouts import BankAccount, PayoutProfile, ReviewedPayoutProfile
from app.services.payouts import access, events, queries
from app.services.users import roles


class Action(StrEnum):
    CHANGE = "change"
    SCHEDULE = "schedule"
    VERIFY = "verify"
    REJECT = "reject"
    RESTRICT = "restrict"


class BankAccountChanged(Conflict):
    code, title = "bank_account_changed", "The owner has handed in another bank account since; look at that one."


_is_owner = payout_profiles.c.id == ACTOR
_owner = Guard(_is_owner, Forbidden)
_admin = Guard(access.is_admin & ~_is_owner, Forbidden)  # nobody verifies themselves
_bank_data = ("holder_name", "ifsc", "sealed_account_number")


def _self(row: Columns) -> ColumnElement[Any]:
    return row.id


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"user_id": row.id}


def _with_reason(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _about(row) | {"reason": row.status_reason}


_submitted = Emit(
    events.ProfileSubmitted, lambda _: roles.holding(Role.ADMIN), lambda row: _about(row) | {"revision": row.revision}
)

LIFECYCLE = Lifecycle(
    "payout_profile",
    payout_profiles,
    Status,
    Creation(Status.PENDING, who="a user", emits=[_submitted]),
    [
        Transition(
            Action.CHANGE,
            frozenset(Status),
            Status.PENDING,
            who="the owner, with other bank data",
            allowed=_owner,
            records=["account_last4"],
            # Set rather than recorded: the audit trail is kept for ever, and is no place for bank data.
            sets={name: bindparam(name, type_=payout_profiles.c[name].type) for name in _bank_data}
            | {"revision": payout_profiles.c.revision + 1, "status_reason": None},
            emits=[_submitted, Emit(events.BankAccountChanged, _self, _about)],
        ),
        Transition(
            Action.SCHEDULE,
            frozenset(Status),
            {status: status for status in Status},
            who="the owner",
            allowed=_owner,
            records=["schedule"],
        ),
        Transition(
            Action.VERIFY,
            frozenset({Status.PENDING, Status.RESTRICTED}),
            Status.VERIFIED,
            who="admin",
            allowed=_admin,
            guards=[Guard(payout_profiles.c.revision == bindparam("revision"), BankAccountChanged)],
            sets={"status_reason": None},
            emits=[Emit(events.ProfileVerified, _self, _about)],
        ),
        Transition(
            Action.REJECT,
            frozenset({Status.PENDING, Status.RESTRICTED}),
            Status.REJECTED,
            who="admin, with reason",
            allowed=_admin,
            records=["status_reason"],
            emits=[Emit(events.ProfileRejected, _self, _with_reason)],
        ),
        Transition(
            Action.RESTRICT,
            frozenset({Status.PENDING, Status.VERIFIED}),
            Status.RESTRICTED,
            who="admin, with reason",
            allowed=_admin,
            records=["status_reason"],
            emits=[Emit(events.ProfileRestricted, _self, _with_reason)],
        ),
    ],
    visible=or_(_is_owner, access.is_reviewer),
)

_STORED = Statement(
    select(payout_profiles.c.holder_name, payout_profiles.c.ifsc, payout_profiles.c.sealed_account_number).where(
        payout_profiles.c.id == bindparam("owner_id")
    )
)


async def submit(session: Session, platform: Platform, actor: Actor, wanted: BankAccount) -> PayoutProfile:
    """Hand in a bank account; another one than before has to be verified anew, the same one changes nothing.

    The owner's lock makes two calls at once queue up. Raises `TooManyRequests`, `AccountNotActive`.
    """
    await platform.limits.hit(platform.settings.payout_profile_changes, "payout-profile", str(actor.user_id))
    number = wanted.account_number.get_secret_value()
    given: dict[str, Any] = {
        "holder_name": wanted.holder_name,
        "ifsc": wanted.ifsc,
        "sealed_account_number": platform.seals.seal(number, actor.user_id),
        "account_last4": number[-4:],
    }
    await access.lock_active_owner(session, actor.user_id)
    stored = await session.first(_STORED, owner_id=actor.user_id)
    if stored is None:
        about = {"id": actor.user_id, "currency": settings().currency}
        await LIFECYCLE.create(session, actor, about | given)
    elif not _is_same(platform, actor.user_id, stored, wanted):
        await LIFECYCLE.advance(session, actor.user_id, Action.CHANGE, actor, **given)
    return await queries.profile(session, actor.user_id)


def _is_same(platform: Platform, owner_id: UUID, stored: Row, wanted: BankAccount) -> bool:
    try:
        number = platform.seals.open(stored["sealed_account_number"], owner_id)
    except Unsealable:
        return False  # under a key that is gone: it is sealed anew, and verified anew
    return (stored["holder_name"], stored["ifsc"], number) == (
        wanted.holder_name,
        wanted.ifsc,
        wanted.account_number.get_secret_value(),
    )


async def verify(session: Session, actor: Actor, user_id: UUID, revision: int) -> ReviewedPayoutProfile:
    """The bank account of this revision is the owner's. `BankAccountChanged` if there is a newer one."""
    await LIFECYCLE.advance(session, user_id, Action.VERIFY, actor, revision=revision)
    return await queries.reviewed_profile(session, user_id)


async def decide(session: Session, actor: Actor, user_id: UUID, action: Action, reason: str) -> ReviewedPayoutProfile:
    """Reject or restrict; the reason is kept and shown to the owner."""
    await LIFECYCLE.advance(session, user_id, action, actor, reason=reason, status_reason=reason)
    return await queries.reviewed_profile(session, user_id)


_SEALED: Final = SealedColumns(payout_profiles, "sealed_account_number")


async def reseal(platform: Platform) -> int:
    """Seal every account number under the first of the secret keys; how many there are.

    Run after a new key was put first and before an old one is taken away. Raises `Unsealable`.
    """
    return await _SEALED.renew(platform)

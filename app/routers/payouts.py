"""Payouts: the bank account, requests, and their review (money.md: payout)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import Admin, OnlyOnce, Reading, SignedIn, SupportOrAdmin, ThePlatform, Writing
from app.routers.problems import documented
from app.schemas.base import Page, Reason
from app.schemas.payouts import (
    BankAccount,
    MyPayouts,
    Payout,
    PayoutProfile,
    RequestPayout,
    ReviewedPayoutProfile,
    ReviewPayouts,
    ReviewProfiles,
    SendPayout,
    SetSchedule,
    VerifyProfile,
)
from app.services.payouts import profiles, queries, requests, review, schedule

router = APIRouter(prefix="/api/v1", tags=["payouts"])
_ACTION = documented(401, 403, 404, 409)


@router.get("/me/payout-profile", responses=documented(401))
async def read_profile(session: Reading, actor: SignedIn) -> PayoutProfile:
    """The own bank account and whether it is verified; `none` while there is none."""
    return await queries.profile(session, actor.user_id)


@router.put("/me/payout-profile", responses=documented(401, 403, 429))
async def submit_profile(body: BankAccount, session: Writing, actor: SignedIn, platform: ThePlatform) -> PayoutProfile:
    """Hand in a bank account. Another one than before waits to be verified, and stops payouts until then."""
    return await profiles.submit(session, platform, actor, body)


@router.patch("/me/payout-profile/schedule", responses=documented(401, 404))
async def set_schedule(body: SetSchedule, session: Writing, actor: SignedIn) -> PayoutProfile:
    """Have the whole balance paid out every Monday or on the first of each month, or only on demand."""
    return await schedule.reschedule(session, actor, body.schedule)


@router.post("/payouts", status_code=status.HTTP_201_CREATED, responses=documented(401, 403, 409))
async def request(body: RequestPayout, session: Writing, actor: SignedIn, once: OnlyOnce) -> Payout:
    """Have money paid out to the verified bank account; it leaves the wallet now, and is sent after a review."""
    return await once(lambda: requests.request(session, actor, body.amount_minor))


@router.get("/payouts", responses=documented(401))
async def list_own(session: Reading, actor: SignedIn, page: Annotated[MyPayouts, Query()]) -> Page[Payout]:
    """The own payouts, newest first."""
    return await queries.own(session, actor, page)


@router.get("/payouts/{payout_id}", responses=documented(401, 404))
async def read(payout_id: UUID, session: Reading, actor: SignedIn) -> Payout:
    """One payout, for its owner and for reviewers."""
    return await queries.payout(session, actor, payout_id)


@router.get("/admin/payout-profiles", responses=documented(401, 403), tags=["staff"])
async def list_profiles(
    session: Reading, actor: SupportOrAdmin, page: Annotated[ReviewProfiles, Query()]
) -> Page[ReviewedPayoutProfile]:
    """Payout profiles in one state."""
    return await queries.profiles(session, page.status, page.cursor, page.limit)


@router.post("/admin/payout-profiles/{user_id}/verify", responses=_ACTION, tags=["staff"])
async def verify_profile(user_id: UUID, body: VerifyProfile, session: Writing, actor: Admin) -> ReviewedPayoutProfile:
    """The bank account is its owner's: money may go there."""
    return await profiles.verify(session, actor, user_id, body.revision)


@router.post("/admin/payout-profiles/{user_id}/reject", responses=_ACTION, tags=["staff"])
async def reject_profile(user_id: UUID, body: Reason, session: Writing, actor: Admin) -> ReviewedPayoutProfile:
    """Turn the bank account down; the owner may hand in another one."""
    return await profiles.decide(session, actor, user_id, profiles.Action.REJECT, body.reason)


@router.post("/admin/payout-profiles/{user_id}/restrict", responses=_ACTION, tags=["staff"])
async def restrict_profile(user_id: UUID, body: Reason, session: Writing, actor: Admin) -> ReviewedPayoutProfile:
    """No payouts until the profile is verified again."""
    return await profiles.decide(session, actor, user_id, profiles.Action.RESTRICT, body.reason)


@router.get("/admin/payouts", responses=documented(401, 403), tags=["staff"])
async def list_in_status(
    session: Reading, actor: SupportOrAdmin, page: Annotated[ReviewPayouts, Query()]
) -> Page[Payout]:
    """Everybody's payouts in one state; those that wait to be sent, if none is named."""
    return await queries.in_status(session, page)


@router.post("/admin/payouts/{payout_id}/send", responses=_ACTION, tags=["staff"])
async def send(payout_id: UUID, body: SendPayout, session: Writing, actor: Admin, once: OnlyOnce) -> Payout:
    """The bank has the order."""
    return await once(lambda: review.send(session, actor, payout_id, body.reference), status_code=status.HTTP_200_OK)


@router.post("/admin/payouts/{payout_id}/fail", responses=_ACTION, tags=["staff"])
async def fail(payout_id: UUID, body: Reason, session: Writing, actor: Admin, once: OnlyOnce) -> Payout:
    """Do not send it: the money goes back to the wallet."""
    return await once(lambda: review.fail(session, actor, payout_id, body.reason), status_code=status.HTTP_200_OK)


@router.post("/admin/payouts/{payout_id}/return", responses=_ACTION, tags=["staff"])
async def take_back(payout_id: UUID, body: Reason, session: Writing, actor: Admin, once: OnlyOnce) -> Payout:
    """The bank returned what was sent: the money goes back to the wallet."""
    return await once(lambda: review.take_back(session, actor, payout_id, body.reason), status_code=status.HTTP_200_OK)

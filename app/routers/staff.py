"""What staff do: accounts, regions, wallets, all requests."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import Admin, OnlyOnce, Reading, Staff, Writing
from app.routers.problems import documented
from app.schemas.base import Done, Page, Reason
from app.schemas.regions import AppointManager, CreateRegion, Region
from app.schemas.service_requests import AllRequests, ServiceRequest
from app.schemas.users import UserState
from app.schemas.wallets import TopUp, Wallet
from app.services.regions import administration
from app.services.service_requests import queries as service_requests
from app.services.users import accounts, support
from app.services.users.lifecycle import Action
from app.services.wallets import wallets

router = APIRouter(prefix="/api/v1/admin", tags=["staff"])
_ACTION = documented(401, 403, 404, 409)


@router.get("/service-requests", responses=documented(401, 403))
async def list_service_requests(
    session: Reading, actor: Staff, page: Annotated[AllRequests, Query()]
) -> Page[ServiceRequest]:
    """All requests by state, region, age and provider; a manager sees those of the own regions."""
    return await service_requests.everybodys(session, actor, page)


@router.post("/users/{user_id}/suspend", responses=_ACTION)
async def suspend(user_id: UUID, body: Reason, session: Writing, actor: Admin) -> UserState:
    """Shut the account out at once."""
    return await accounts.decide(session, actor, user_id, Action.SUSPEND, body.reason)


@router.post("/users/{user_id}/reinstate", responses=_ACTION)
async def reinstate(user_id: UUID, session: Writing, actor: Admin) -> UserState:
    return await accounts.decide(session, actor, user_id, Action.REINSTATE)


@router.post("/users/{user_id}/ban", responses=_ACTION)
async def ban(user_id: UUID, body: Reason, session: Writing, actor: Admin) -> UserState:
    """For good."""
    return await accounts.decide(session, actor, user_id, Action.BAN, body.reason)


@router.post("/users/{user_id}/appoint-support", responses=documented(401, 403, 404))
async def appoint_support(user_id: UUID, body: Reason, session: Writing, actor: Admin) -> Done:
    """Make the account support; nobody does so to themselves."""
    await support.appoint(session, actor, user_id, body.reason)
    return Done()


@router.post("/users/{user_id}/dismiss-support", responses=documented(401, 403, 404))
async def dismiss_support(user_id: UUID, body: Reason, session: Writing, actor: Admin) -> Done:
    """Take the role away again, at once; the reason is shown to the account's owner."""
    await support.dismiss(session, actor, user_id, body.reason)
    return Done()


@router.post("/users/{user_id}/top-ups", status_code=status.HTTP_201_CREATED, responses=_ACTION)
async def top_up(user_id: UUID, body: TopUp, session: Writing, actor: Admin, once: OnlyOnce) -> Wallet:
    """Book money into a wallet that arrived outside of any payment provider."""
    return await once(lambda: wallets.top_up(session, actor, user_id, body))


@router.post("/regions", status_code=status.HTTP_201_CREATED, responses=documented(401, 403, 409))
async def create_region(body: CreateRegion, session: Writing, actor: Admin) -> Region:
    return await administration.create(session, body)


@router.post("/regions/{region_id}/managers", responses=_ACTION)
async def appoint_manager(region_id: UUID, body: AppointManager, session: Writing, actor: Admin) -> Done:
    """Bind an account to a region as its manager."""
    await administration.appoint_manager(session, region_id, body.user_id)
    return Done()

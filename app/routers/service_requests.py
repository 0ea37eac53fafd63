"""Service requests and leads: the race (leads.md)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import (
    OnlyOnce,
    Provider,
    Reading,
    SignedIn,
    Staff,
    ThePlatform,
    Writing,
    WritingOnce,
)
from app.routers.problems import documented
from app.schemas.base import Page, Reason
from app.schemas.service_requests import (
    Complete,
    CreateServiceRequest,
    Lead,
    MyRequests,
    OpenLead,
    PageOnly,
    PurchasedLead,
    ReportLead,
    ServiceRequest,
    ServiceRequestState,
)
from app.services.service_requests import closing, completion, creation, leads, purchase, queries

router = APIRouter(prefix="/api/v1", tags=["service requests"])
_ACTION = documented(401, 403, 404, 409)


@router.post("/service-requests", status_code=status.HTTP_201_CREATED, responses=documented(401, 404, 409))
async def create(body: CreateServiceRequest, session: Writing, actor: SignedIn, once: OnlyOnce) -> ServiceRequestState:
    """Post a request; matching providers are told."""
    return await once(lambda: creation.create(session, actor, body))


@router.get("/service-requests", responses=documented(401))
async def list_own(session: Reading, actor: SignedIn, page: Annotated[MyRequests, Query()]) -> Page[ServiceRequest]:
    """The customer's own requests, newest first."""
    return await queries.own(session, actor, page)


@router.get("/service-requests/{request_id}", responses=documented(401, 404))
async def read(request_id: UUID, session: Reading, actor: SignedIn) -> ServiceRequest:
    """One request: whole for the customer, buyers and staff, masked for providers who match."""
    return await queries.read(session, actor, request_id)


@router.post("/service-requests/{request_id}/purchase", status_code=status.HTTP_201_CREATED, responses=_ACTION)
async def buy(request_id: UUID, session: Writing, actor: Provider, once: OnlyOnce) -> Lead:
    """Buy the lead from the wallet; the contacts unlock."""
    return await once(lambda: purchase.purchase(session, actor, request_id))


@router.post("/service-requests/{request_id}/start", responses=_ACTION)
async def start(request_id: UUID, session: WritingOnce, actor: Provider) -> ServiceRequestState:
    """Say that the work has begun."""
    return await completion.start(session, actor, request_id)


@router.post("/service-requests/{request_id}/complete", responses=_ACTION)
async def complete(
    request_id: UUID, body: Complete, session: WritingOnce, actor: Provider, platform: ThePlatform
) -> ServiceRequestState:
    """Hand in the proof. The first purchaser wins; later ones get 409 `already_completed`."""
    return await completion.complete(session, platform, actor, request_id, body.proof_id, body.notes)


@router.post("/service-requests/{request_id}/approve", responses=_ACTION)
async def approve(request_id: UUID, session: WritingOnce, actor: SignedIn) -> ServiceRequestState:
    """Accept the winner's work."""
    return await closing.approve(session, actor, request_id)


@router.post("/service-requests/{request_id}/send-back", responses=_ACTION)
async def send_back(request_id: UUID, body: Reason, session: WritingOnce, actor: SignedIn) -> ServiceRequestState:
    """Do not accept the work: the race is open again."""
    return await closing.send_back(session, actor, request_id, body.reason)


@router.post("/service-requests/{request_id}/cancel", responses=_ACTION)
async def cancel(
    request_id: UUID, body: Reason, session: Writing, actor: SignedIn, once: OnlyOnce
) -> ServiceRequestState:
    """Call it off; buyers who had not begun to work get their fee back."""
    return await once(lambda: closing.cancel(session, actor, request_id, body.reason), status_code=status.HTTP_200_OK)


@router.get("/leads/open", responses=documented(401, 403))
async def list_open(session: Reading, actor: Provider, page: Annotated[PageOnly, Query()]) -> Page[OpenLead]:
    """Open requests near the provider, with distance, fee and number of buyers."""
    return await queries.open_near(session, actor, page)


@router.get("/leads", responses=documented(401, 403))
async def list_bought(session: Reading, actor: Provider, page: Annotated[PageOnly, Query()]) -> Page[PurchasedLead]:
    """The provider's bought leads."""
    return await queries.bought(session, actor, page)


@router.post("/leads/{lead_id}/report", responses=_ACTION)
async def report(lead_id: UUID, body: ReportLead, session: WritingOnce, actor: Provider, platform: ThePlatform) -> Lead:
    """Report a bad lead within 7 days; support decides about the fee."""
    return await leads.report(session, actor, lead_id, body, platform.settings.lead_report_seconds)


@router.get("/leads/reported", responses=documented(401, 403), tags=["staff"])
async def list_reported(session: Reading, actor: Staff, page: Annotated[PageOnly, Query()]) -> Page[PurchasedLead]:
    """Reported leads that wait for a decision."""
    return await queries.reported(session, actor, page)


@router.post("/leads/{lead_id}/accept-report", responses=_ACTION, tags=["staff"])
async def accept_report(lead_id: UUID, body: Reason, session: Writing, actor: Staff, once: OnlyOnce) -> Lead:
    """The lead was bad: the fee goes back, once."""
    return await once(
        lambda: leads.decide(session, actor, lead_id, leads.Action.ACCEPT_REPORT, body.reason),
        status_code=status.HTTP_200_OK,
    )


@router.post("/leads/{lead_id}/refuse-report", responses=_ACTION, tags=["staff"])
async def refuse_report(lead_id: UUID, body: Reason, session: Writing, actor: Staff) -> Lead:
    """The lead was fine."""
    return await leads.decide(session, actor, lead_id, leads.Action.REFUSE_REPORT, body.reason)

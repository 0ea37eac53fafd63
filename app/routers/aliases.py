"""Documented paths of client apps that exist already: thin aliases of the same service functions (spec/README.md)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query, UploadFile

from app.routers.dependencies import Provider, Reading, SignedIn, ThePlatform, Writing, WritingOnce
from app.routers.problems import documented
from app.routers.uploads import UploadRoute
from app.schemas.providers import FindProviders, FoundProvider
from app.schemas.service_requests import Notes, ServiceRequestState, ServiceRequestStatus, StatusAlias
from app.services.providers import queries as providers
from app.services.service_requests import closing, completion

router = APIRouter(tags=["documented aliases"], route_class=UploadRoute)


@router.post("/api/v1/service-request/complete", responses=documented(401, 403, 404, 409, 415))
async def complete(
    requestId: Annotated[UUID, Form()],
    completionProof: UploadFile,
    session: WritingOnce,
    actor: Provider,
    platform: ThePlatform,
    notes: Annotated[Notes | None, Form()] = None,
) -> ServiceRequestState:
    """Upload the proof and complete, in one request. See `/service-requests/{request_id}/complete`."""
    content = completionProof.file
    return await completion.hand_in(session, platform, actor, requestId, content, completionProof.size or 0, notes)


@router.patch("/api/v1/service-request/status", responses=documented(401, 403, 404, 409))
async def set_status(body: StatusAlias, session: Writing, actor: SignedIn) -> ServiceRequestState:
    """Move a request to `APPROVED`, `IN_PROGRESS` (the customer sends back, a purchaser starts) or `CANCELLED`."""
    reason = body.reason or "no reason given"
    match body.status:
        case ServiceRequestStatus.APPROVED:
            return await closing.approve(session, actor, body.requestId)
        case ServiceRequestStatus.IN_PROGRESS:
            return await closing.reopen_or_start(session, actor, body.requestId, reason)
        case ServiceRequestStatus.CANCELLED:
            return await closing.cancel(session, actor, body.requestId, reason)


@router.get("/auth/providers/", responses=documented())
async def find_providers(session: Reading, wanted: Annotated[FindProviders, Query()]) -> list[FoundProvider]:
    """See `/api/v1/providers`."""
    return await providers.reaching(session, wanted)

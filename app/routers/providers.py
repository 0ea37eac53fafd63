"""Finding providers, and reviewing their applications."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.routers.dependencies import Admin, Reading, Reviewer, Writing
from app.routers.problems import documented
from app.schemas.base import Page, Reason
from app.schemas.providers import FindProviders, FoundProvider, ListApplications, ProviderProfile
from app.services.providers import onboarding, queries
from app.services.providers.lifecycle import Action

router = APIRouter(prefix="/api/v1", tags=["providers"])


@router.get("/providers", responses=documented())
async def find_providers(session: Reading, wanted: Annotated[FindProviders, Query()]) -> list[FoundProvider]:
    """Approved providers who reach a position, best rated and nearest first."""
    return await queries.reaching(session, wanted)


@router.get("/applications", responses=documented(401, 403))
async def list_applications(
    session: Reading, actor: Reviewer, page: Annotated[ListApplications, Query()]
) -> Page[ProviderProfile]:
    """Providers of the manager's regions in one state; admins see all regions."""
    return await queries.applications(session, actor, page.status, page.cursor, page.limit)


@router.post("/applications/{provider_id}/approve", responses=documented(401, 403, 404, 409))
async def approve(provider_id: UUID, session: Writing, actor: Reviewer) -> ProviderProfile:
    return await onboarding.decide(session, actor, provider_id, Action.APPROVE)


@router.post("/applications/{provider_id}/reject", responses=documented(401, 403, 404, 409))
async def reject(provider_id: UUID, body: Reason, session: Writing, actor: Reviewer) -> ProviderProfile:
    """Turn the application down; the reason is kept and shown to the applicant."""
    return await onboarding.decide(session, actor, provider_id, Action.REJECT, body.reason)


@router.post("/providers/{provider_id}/suspend", responses=documented(401, 403, 404, 409))
async def suspend(provider_id: UUID, body: Reason, session: Writing, actor: Reviewer) -> ProviderProfile:
    """No new work until reinstated."""
    return await onboarding.decide(session, actor, provider_id, Action.SUSPEND, body.reason)


@router.post("/providers/{provider_id}/reinstate", responses=documented(401, 403, 404, 409))
async def reinstate(provider_id: UUID, session: Writing, actor: Reviewer) -> ProviderProfile:
    return await onboarding.decide(session, actor, provider_id, Action.REINSTATE)


@router.post("/providers/{provider_id}/ban", responses=documented(401, 403, 404, 409))
async def ban(provider_id: UUID, body: Reason, session: Writing, actor: Admin) -> ProviderProfile:
    """For good."""
    return await onboarding.decide(session, actor, provider_id, Action.BAN, body.reason)

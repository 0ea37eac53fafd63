"""Applying for roles, and the review by support and admins."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import Admin, OnlyOnce, Reading, SignedIn, SupportOrAdmin, ThePlatform, Writing
from app.routers.problems import documented
from app.schemas.base import Page, PageQuery, Reason
from app.schemas.providers import ProviderProfile
from app.schemas.role_applications import ListRoleApplications, RoleApplication
from app.services.flows import applications
from app.services.role_applications import onboarding, queries
from app.services.role_applications.lifecycle import Action

router = APIRouter(prefix="/api/v1", tags=["role applications"])
_ACTION = documented(401, 403, 404, 409)


@router.post("/me/applications", status_code=status.HTTP_201_CREATED, responses=documented(401, 409))
async def apply(
    body: applications.Application, session: Writing, actor: SignedIn, platform: ThePlatform, once: OnlyOnce
) -> ProviderProfile | RoleApplication:
    """Apply for a role. The region's manager decides about providers, support and admins about the others."""
    return await once(lambda: applications.apply(session, platform, actor, body))


@router.get("/me/applications", responses=documented(401))
async def list_own(session: Reading, actor: SignedIn, page: Annotated[PageQuery, Query()]) -> Page[RoleApplication]:
    """The own applications but for that as a provider (`/me/provider`), newest first, with the reasons of refusals."""
    return await queries.own(session, actor, page)


@router.get("/role-applications", responses=documented(401, 403), tags=["staff"])
async def list_queue(
    session: Reading, actor: SupportOrAdmin, page: Annotated[ListRoleApplications, Query()]
) -> Page[RoleApplication]:
    """Applications in one state, of one role or of all, newest first."""
    return await queries.queue(session, page)


@router.post("/role-applications/{application_id}/approve", responses=_ACTION, tags=["staff"])
async def approve(application_id: UUID, session: Writing, actor: SupportOrAdmin) -> RoleApplication:
    """Give the applicant the role."""
    return await onboarding.decide(session, actor, application_id, Action.APPROVE)


@router.post("/role-applications/{application_id}/reject", responses=_ACTION, tags=["staff"])
async def reject(application_id: UUID, body: Reason, session: Writing, actor: SupportOrAdmin) -> RoleApplication:
    """Turn the application down; the reason is kept and shown to the applicant."""
    return await onboarding.decide(session, actor, application_id, Action.REJECT, body.reason)


@router.post("/role-applications/{application_id}/revoke", responses=_ACTION, tags=["staff"])
async def revoke(application_id: UUID, body: Reason, session: Writing, actor: Admin) -> RoleApplication:
    """Take the role away again, at once."""
    return await onboarding.decide(session, actor, application_id, Action.REVOKE, body.reason)


@router.post("/role-applications/{application_id}/readmit", responses=_ACTION, tags=["staff"])
async def readmit(application_id: UUID, body: Reason, session: Writing, actor: SupportOrAdmin) -> RoleApplication:
    """Let somebody who was turned down apply for this role anew."""
    return await onboarding.decide(session, actor, application_id, Action.READMIT, body.reason)

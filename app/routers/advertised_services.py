"""Services at a fixed price, which work orders deliver (work-orders.md)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import Advertiser, OnlyOnce, Reading, SignedIn, Writing, WritingOnce
from app.routers.problems import documented
from app.schemas.advertised_services import (
    AdvertisedService,
    AdvertiseService,
    ChangeService,
    FindAdvertisedServices,
    ListOwnServices,
    OwnAdvertisedService,
)
from app.schemas.base import Page
from app.services.advertised_services import publishing, queries
from app.services.advertised_services.lifecycle import Action

router = APIRouter(prefix="/api/v1", tags=["advertised services"])
_ACTION = documented(401, 403, 404, 409)


@router.get("/advertised-services", responses=documented())
async def find(session: Reading, wanted: Annotated[FindAdvertisedServices, Query()]) -> Page[AdvertisedService]:
    """What is on sale, newest first."""
    return await queries.on_sale(session, wanted)


@router.get("/advertised-services/{advertised_service_id}", responses=documented(404))
async def read(advertised_service_id: UUID, session: Reading) -> AdvertisedService:
    """One that is on sale."""
    return await queries.service(session, advertised_service_id)


@router.post("/advertised-services", status_code=status.HTTP_201_CREATED, responses=documented(401, 403, 409))
async def publish(body: AdvertiseService, session: Writing, actor: Advertiser, once: OnlyOnce) -> OwnAdvertisedService:
    """Put a service on sale."""
    return await once(lambda: publishing.publish(session, actor, body))


@router.get("/me/advertised-services", responses=documented(401))
async def list_own(
    session: Reading, actor: SignedIn, page: Annotated[ListOwnServices, Query()]
) -> Page[OwnAdvertisedService]:
    """What one offers or has offered, in one state or in all."""
    return await queries.own(session, actor, page)


@router.get("/me/advertised-services/{advertised_service_id}", responses=documented(401, 404))
async def read_own(advertised_service_id: UUID, session: Reading, actor: SignedIn) -> OwnAdvertisedService:
    """One of one's own, in whatever state."""
    return await queries.own_service(session, actor, advertised_service_id)


@router.put("/advertised-services/{advertised_service_id}", responses=_ACTION)
async def change(
    advertised_service_id: UUID, body: ChangeService, session: Writing, actor: Advertiser
) -> OwnAdvertisedService:
    """Change what is sold from now on. 409 `service_changed` if it is not the revision that one looked at."""
    return await publishing.change(session, actor, advertised_service_id, body)


@router.post("/advertised-services/{advertised_service_id}/pause", responses=_ACTION)
async def pause(advertised_service_id: UUID, session: WritingOnce, actor: Advertiser) -> OwnAdvertisedService:
    """Take it off sale for a while."""
    return await publishing.decide(session, actor, advertised_service_id, Action.PAUSE)


@router.post("/advertised-services/{advertised_service_id}/resume", responses=_ACTION)
async def resume(advertised_service_id: UUID, session: WritingOnce, actor: Advertiser) -> OwnAdvertisedService:
    """Put it on sale again."""
    return await publishing.decide(session, actor, advertised_service_id, Action.RESUME)


@router.post("/advertised-services/{advertised_service_id}/archive", responses=_ACTION)
async def archive(advertised_service_id: UUID, session: WritingOnce, actor: Advertiser) -> OwnAdvertisedService:
    """Take it off sale for good."""
    return await publishing.decide(session, actor, advertised_service_id, Action.ARCHIVE)

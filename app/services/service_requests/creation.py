"""Posting a service request (leads.md)."""

from uuid import UUID

from sqlalchemy import bindparam, func, select

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import Session, Statement
from app.core.errors import Conflict
from app.core.ids import uuid7
from app.kernel import files
from app.kernel.locks import lock_account
from app.models.files import FilePurpose
from app.models.service_requests import service_requests
from app.schemas.service_requests import CreateServiceRequest, ServiceRequestState
from app.services.catalogue import queries as catalogue
from app.services.regions import queries as regions
from app.services.service_requests import access
from app.services.service_requests.lifecycle import LIFECYCLE


class TooManyOpenRequests(Conflict):
    code, title = "too_many_open_requests", "Close some of your open requests first."


_OPEN_COUNT = Statement(
    select(func.count())
    .select_from(service_requests)
    .where(service_requests.c.customer_id == bindparam("customer_id"), access.is_open)
)


async def create(session: Session, actor: Actor, wanted: CreateServiceRequest) -> ServiceRequestState:
    """Post a request and tell the providers who match. The fee and the cap are frozen on it now.

    Raises `NotFound` for an unknown service, `AnswersRefused`, `OutsideOfAllRegions`, `UnknownFile`,
    `TooManyOpenRequests`.
    """
    knobs = settings()
    service = await catalogue.service(session, wanted.service_id)
    catalogue.check_answers(service, wanted.answers)
    position = wanted.position
    region_id = await regions.nearest(session, position.latitude, position.longitude, knobs.region_reach_metres)
    await _leave_room(session, actor.user_id, knobs.service_requests_open_per_customer)
    request_id = uuid7()
    await files.attach(session, actor, wanted.photo_ids, FilePurpose.PHOTO, ("service_request", request_id))
    row = await LIFECYCLE.create(
        session,
        actor,
        {
            "id": request_id,
            "customer_id": actor.user_id,
            "service_id": service.id,
            "region_id": region_id,
            "description": wanted.description,
            "answers": wanted.answers,
            "photo_ids": wanted.photo_ids,
            "address": wanted.address,
            "latitude": position.latitude,
            "longitude": position.longitude,
            "budget_minor": wanted.budget_minor,
            "currency": knobs.currency,
            "preferred_at": wanted.preferred_at,
            "fee_minor": service.lead_fee_minor,
            "lead_cap": knobs.lead_cap,
        },
    )
    return ServiceRequestState.model_validate(dict(row))


async def _leave_room(session: Session, customer_id: UUID, limit: int) -> None:
    await lock_account(session, customer_id)
    if await session.scalar(_OPEN_COUNT, customer_id=customer_id) >= limit:
        raise TooManyOpenRequests(limit=limit)

"""Offering services at a fixed price, and changing the offer (work-orders.md)."""

from uuid import UUID

from sqlalchemy import bindparam, func, select

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import Session, Statement
from app.core.errors import Conflict
from app.core.ids import uuid7
from app.core.money import UnknownCurrency
from app.kernel.lifecycle import constant
from app.kernel.locks import lock_account
from app.models.advertised_services import AdvertisedServiceStatus, advertised_services
from app.schemas.advertised_services import AdvertiseService, ChangeService, OwnAdvertisedService
from app.services.advertised_services.lifecycle import LIFECYCLE, Action
from app.services.teams import locks as teams


class TooManyServices(Conflict):
    code, title = "too_many_advertised_services", "Archive some of your services first."


_LIVING = Statement(
    select(func.count())
    .select_from(advertised_services)
    .where(
        advertised_services.c.advertiser_id == bindparam("advertiser_id"),
        advertised_services.c.status != constant(AdvertisedServiceStatus.ARCHIVED),
    )
)


async def publish(session: Session, actor: Actor, wanted: AdvertiseService) -> OwnAdvertisedService:
    """Put a service on sale. `TooManyServices`, `UnknownCurrency`, `UnknownTeam`."""
    limit = settings().advertised_services_per_advertiser
    await lock_account(session, actor.user_id)
    if await session.scalar(_LIVING, advertiser_id=actor.user_id) >= limit:
        raise TooManyServices(limit=limit)
    await _check(session, actor, wanted)
    about = wanted.model_dump() | {"id": uuid7(), "advertiser_id": actor.user_id}
    return OwnAdvertisedService.model_validate(dict(await LIFECYCLE.create(session, actor, about)))


async def change(session: Session, actor: Actor, service_id: UUID, wanted: ChangeService) -> OwnAdvertisedService:
    """Change what is sold from now on; orders keep what they froze when they were bought.

    The revision that the caller looked at is compared under the row's lock, so that no change is overwritten unseen.
    `NotFound`, `ServiceChanged`, `UnknownCurrency`, `UnknownTeam`.
    """
    await _check(session, actor, wanted)
    values = wanted.model_dump(exclude={"revision"}) | {"looked_at": wanted.revision}
    row = await LIFECYCLE.advance(session, service_id, Action.CHANGE, actor, **values)
    return OwnAdvertisedService.model_validate(dict(row))


async def decide(session: Session, actor: Actor, service_id: UUID, action: Action) -> OwnAdvertisedService:
    """Pause, resume or archive. `NotFound`."""
    return OwnAdvertisedService.model_validate(dict(await LIFECYCLE.advance(session, service_id, action, actor)))


async def _check(session: Session, actor: Actor, wanted: AdvertiseService) -> None:
    if not settings().knows_currency(wanted.currency):
        raise UnknownCurrency()
    if wanted.team_id is not None:
        await teams.stay(session, actor, wanted.team_id)

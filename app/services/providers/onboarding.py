"""Becoming and staying a provider: application, review, profile (identity.md: Roles and onboarding)."""

from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, ColumnElement, Uuid, bindparam, case, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import Session, Statement, refuse_violation
from app.core.errors import NotFound, Unprocessable
from app.core.valkey import SESSIONS
from app.kernel import files
from app.kernel.platform import Platform
from app.models.files import FilePurpose
from app.models.providers import ProviderStatus, provider_services, providers
from app.models.regions import region_managers
from app.schemas.base import Position
from app.schemas.providers import ApplyAsProvider, ProviderProfile, UpdateProvider
from app.services.providers import queries
from app.services.providers.events import ReapplicationRefused
from app.services.providers.lifecycle import LIFECYCLE, Action
from app.services.regions import queries as regions
from app.services.users.applications import AlreadyApplied, PreviouslyRejected, tell_of_reapplication


class UnknownService(Unprocessable):
    code, title = "unknown_service", "One of these services is not in the catalogue."


refuse_violation("providers_pkey", AlreadyApplied)
refuse_violation("provider_services_service_id_fkey", UnknownService)
refuse_violation("provider_services_provider_id_fkey", NotFound)

_STATUS = Statement(select(providers.c.status).where(providers.c.id == bindparam("provider_id")))
_REVIEWERS = Statement(
    select(region_managers.c.user_id)
    .join(providers, providers.c.region_id == region_managers.c.region_id)
    .where(providers.c.id == bindparam("provider_id"))
)
_service_ids = bindparam("service_ids", type_=ARRAY(Uuid))
_service_id = func.unnest(_service_ids).column_valued("service_id")
_offered = upsert(provider_services).from_select(
    ["provider_id", "service_id"],
    select(bindparam("provider_id", type_=Uuid), _service_id).distinct(),
)
# What is not offered any more is switched off rather than removed, so that its history stays.
_OFFER = Statement(
    _offered.on_conflict_do_update(index_elements=["provider_id", "service_id"], set_={"is_active": True}).add_cte(
        update(provider_services)
        .where(
            provider_services.c.provider_id == bindparam("provider_id"),
            provider_services.c.service_id != func.all(_service_ids),
        )
        .values(is_active=False)
        .cte("withdrawn")
    )
)
_changes: dict[str, ColumnElement[Any]] = {
    name: func.coalesce(bindparam(name, type_=providers.c[name].type), providers.c[name])
    for name in ("business_name", "bio", "latitude", "longitude", "region_id", "service_radius_metres")
}
_budget = providers.c.weekly_lead_budget_minor
_changes["weekly_lead_budget_minor"] = case(
    (bindparam("sets_budget", type_=Boolean), bindparam("weekly_lead_budget_minor", type_=_budget.type)), else_=_budget
)
_UPDATE = Statement(
    update(providers).where(providers.c.id == bindparam("provider_id")).values(**_changes, updated_at=func.now())
)


async def apply(session: Session, platform: Platform, actor: Actor, wanted: ApplyAsProvider) -> ProviderProfile:
    """Apply as a provider. `AlreadyApplied`; `PreviouslyRejected` once turned down, which the managers are told."""
    before = await session.scalar(_STATUS, provider_id=actor.user_id)
    if before in {ProviderStatus.REJECTED, ProviderStatus.BANNED}:
        await session.close()  # nobody may hold one connection while waiting for another
        event, reviewed = ReapplicationRefused(provider_id=actor.user_id), ("provider", actor.user_id)
        await tell_of_reapplication(platform, event, reviewed, _REVIEWERS, {"provider_id": actor.user_id})
        raise PreviouslyRejected()
    await LIFECYCLE.create(
        session,
        actor,
        {
            "id": actor.user_id,
            "region_id": await _region(session, wanted.position),
            "business_name": wanted.business_name,
            "bio": wanted.bio,
            "latitude": wanted.position.latitude,
            "longitude": wanted.position.longitude,
            "service_radius_metres": wanted.service_radius_metres,
        },
    )
    await session.execute(_OFFER, provider_id=actor.user_id, service_ids=wanted.service_ids)
    await files.attach(session, actor, wanted.document_ids, FilePurpose.DOCUMENT, ("provider", actor.user_id))
    return await queries.profile(session, actor.user_id)


async def update_profile(session: Session, actor: Actor, wanted: UpdateProvider) -> ProviderProfile:
    """Change what is given; a new position may belong to another region. A budget of null takes the cap away."""
    position = wanted.position
    await session.execute(
        _UPDATE,
        provider_id=actor.user_id,
        latitude=position.latitude if position else None,
        longitude=position.longitude if position else None,
        region_id=await _region(session, position) if position else None,
        sets_budget="weekly_lead_budget_minor" in wanted.model_fields_set,
        **wanted.model_dump(exclude={"position"}),
    )
    return await queries.profile(session, actor.user_id)


async def offer(session: Session, actor: Actor, service_ids: list[UUID]) -> ProviderProfile:
    """Offer exactly these services from now on. `UnknownService`."""
    await session.execute(_OFFER, provider_id=actor.user_id, service_ids=service_ids)
    return await queries.profile(session, actor.user_id)


async def decide(
    session: Session, actor: Actor, provider_id: UUID, action: Action, reason: str | None = None
) -> ProviderProfile:
    """A reviewer's decision. The reason of a rejection, suspension or ban is kept and shown to the provider."""
    recorded: dict[str, str | None] = {}
    if reason is not None:
        recorded = {"rejection_reason" if action is Action.REJECT else "status_reason": reason}
    await LIFECYCLE.advance(session, provider_id, action, actor, reason=reason, **recorded)
    session.tell(SESSIONS, [provider_id])  # the role came or went
    return await queries.profile(session, provider_id)


async def _region(session: Session, position: Position) -> UUID:
    return await regions.nearest(session, position.latitude, position.longitude, settings().region_reach_metres)

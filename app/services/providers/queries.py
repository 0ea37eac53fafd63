"""Reading providers: profiles, the review queue, and who reaches a position."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Double, Text, Uuid, bindparam, exists, func, or_, select

from app.core.actor import Actor
from app.core.database import ReadSession, Statement
from app.core.errors import NotFound
from app.core.geo import contains, distance_metres, point
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR
from app.models.catalogue import categories, services
from app.models.files import FilePurpose, files
from app.models.providers import ProviderStatus, provider_services, providers
from app.models.regions import region_managers
from app.models.users import Role, UserStatus, users
from app.schemas.base import Page, page_of
from app.schemas.providers import FindProviders, FoundProvider, ProviderProfile

_offered = func.array(
    select(services.c.slug)
    .join(provider_services, provider_services.c.service_id == services.c.id)
    .where(provider_services.c.provider_id == providers.c.id, provider_services.c.is_active)
    .order_by(services.c.slug)
    .scalar_subquery()
).label("services")
_documents = func.array(
    select(files.c.id)
    .where(files.c.subject_id == providers.c.id, files.c.purpose == FilePurpose.DOCUMENT.value)
    .scalar_subquery()
).label("document_ids")
_public = (
    providers.c.id,
    providers.c.business_name,
    providers.c.bio,
    providers.c.region_id,
    providers.c.rating_average,
    providers.c.rating_count,
    _offered,
)
_full = (
    *_public,
    users.c.name.label("user_name"),
    providers.c.status,
    providers.c.rejection_reason,
    providers.c.status_reason,
    providers.c.latitude,
    providers.c.longitude,
    providers.c.service_radius_metres,
    providers.c.weekly_lead_budget_minor,
    providers.c.warnings,
    providers.c.approved_at,
    providers.c.created_at,
    _documents,
)
_profiles = select(*_full).join(users, users.c.id == providers.c.id)
_PROFILE = Statement(_profiles.where(providers.c.id == bindparam("provider_id")))
_region_of_actor = exists().where(
    region_managers.c.region_id == providers.c.region_id,
    region_managers.c.user_id == ACTOR,
)
_in_status = _profiles.where(
    or_(bindparam("everywhere"), _region_of_actor),
    providers.c.status == bindparam("status"),
    providers.c.id < bindparam("before", type_=Uuid),
)
_QUEUE = Statement(newest(_in_status, providers.c.id, in_order=False))
_latitude, _longitude = bindparam("latitude", type_=Double), bindparam("longitude", type_=Double)
_category, _service = bindparam("category", type_=Text), bindparam("service", type_=Text)
_distance = distance_metres(providers.c.latitude, providers.c.longitude, _latitude, _longitude)
_FIND = Statement(
    select(*_public, _distance.label("distance_metres"))
    .where(
        contains(providers.c.coverage, point(_latitude, _longitude)),
        _distance <= providers.c.service_radius_metres,
        providers.c.status == ProviderStatus.APPROVED.value,
        providers.c.deleted_at.is_(None),
        exists().where(users.c.id == providers.c.id, users.c.status == UserStatus.ACTIVE.value),
        exists()
        .where(
            provider_services.c.provider_id == providers.c.id,
            provider_services.c.is_active,
            services.c.id == provider_services.c.service_id,
            categories.c.id == services.c.category_id,
            or_(_service.is_(None), services.c.slug == _service),
            or_(_category.is_(None), categories.c.slug == _category),
        )
        .correlate(providers),
    )
    .order_by(providers.c.rating_average.desc(), _distance)
    .limit(bindparam("rows"))
)


async def profile(session: ReadSession, provider_id: UUID) -> ProviderProfile:
    """The whole profile, for its owner and for reviewers, or `NotFound`."""
    row = await session.first(_PROFILE, provider_id=provider_id)
    if row is None:
        raise NotFound()
    return ProviderProfile.model_validate(dict(row))


async def applications(
    session: ReadSession, actor: Actor, status: ProviderStatus, cursor: str | None, limit: int
) -> Page[ProviderProfile]:
    """Providers of the actor's regions in one state, newest first; admins see every region."""
    rows = await session.all(
        _QUEUE,
        actor_id=actor.id,
        everywhere=Role.ADMIN in actor.roles,
        status=status.value,
        before=decode(cursor),
        rows=limit + 1,
    )
    return page_of(rows, limit, lambda row: ProviderProfile.model_validate(dict(row)))


async def reaching(session: ReadSession, wanted: FindProviders) -> list[FoundProvider]:
    """Approved providers whose radius covers the position, best rated and then nearest first."""
    about: Mapping[str, Any] = wanted.model_dump(exclude={"limit"})
    return [FoundProvider.model_validate(dict(row)) for row in await session.all(_FIND, **about, rows=wanted.limit)]

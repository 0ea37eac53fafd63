"""Reading regions, and finding the one that a position belongs to."""

from uuid import UUID

from sqlalchemy import Double, bindparam, exists, select

from app.core.database import ReadSession, Statement
from app.core.errors import Unprocessable
from app.core.geo import distance_metres
from app.kernel.lifecycle import ACTOR
from app.models.regions import region_managers, regions
from app.schemas.regions import Region


class OutsideOfAllRegions(Unprocessable):
    code, title = "outside_of_all_regions", "LocalBazaar does not serve this position yet."


_ALL = Statement(
    select(regions.c.id, regions.c.code, regions.c.name, regions.c.zipcodes, regions.c.latitude, regions.c.longitude)
    .order_by(regions.c.name)
    .limit(1000)
)
_latitude, _longitude = bindparam("latitude", type_=Double), bindparam("longitude", type_=Double)
_distance = distance_metres(regions.c.latitude, regions.c.longitude, _latitude, _longitude)
_NEAREST = Statement(select(regions.c.id).where(_distance <= bindparam("limit_metres")).order_by(_distance).limit(1))

managed_by_actor = exists().where(region_managers.c.user_id == ACTOR)
"""To be narrowed down to a row's region: `managed_by_actor.where(region_managers.c.region_id == …)`."""


async def listed(session: ReadSession) -> list[Region]:
    return [Region.model_validate(dict(row)) for row in await session.all(_ALL)]


async def nearest(session: ReadSession, latitude: float, longitude: float, limit_metres: int) -> UUID:
    """The region whose centre is nearest, or `OutsideOfAllRegions` when none is within the limit."""
    found: UUID | None = await session.scalar(
        _NEAREST, latitude=latitude, longitude=longitude, limit_metres=limit_metres
    )
    if found is None:
        raise OutsideOfAllRegions()
    return found

"""Making regions and appointing their managers (operations.md: Regions and managers)."""

from uuid import UUID

from sqlalchemy import bindparam, insert
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.database import Session, Statement, refuse_violation
from app.core.errors import Conflict, NotFound
from app.core.ids import uuid7
from app.models.regions import region_managers, regions
from app.models.users import Role
from app.schemas.regions import CreateRegion, Region
from app.services.users import accounts


class RegionCodeTaken(Conflict):
    code, title = "region_code_taken", "Another region has this code."


refuse_violation("regions_code_key", RegionCodeTaken)
refuse_violation("region_managers_region_id_fkey", NotFound)
refuse_violation("region_managers_user_id_fkey", NotFound)

_CREATE = Statement(
    insert(regions)
    .values(
        {
            name: bindparam(name, type_=regions.c[name].type)
            for name in ("id", "code", "name", "zipcodes", "latitude", "longitude", "boundary")
        }
    )
    .returning(*regions.c)
)
_APPOINT = Statement(
    upsert(region_managers)
    .values(region_id=bindparam("region_id"), user_id=bindparam("user_id"))
    .on_conflict_do_nothing()
)


async def create(session: Session, wanted: CreateRegion, boundary: list[list[float]] | None = None) -> Region:
    """A new region. Raises `RegionCodeTaken`."""
    row = await session.first(
        _CREATE,
        id=uuid7(),
        code=wanted.code,
        name=wanted.name,
        zipcodes=wanted.zipcodes,
        latitude=wanted.centre.latitude,
        longitude=wanted.centre.longitude,
        boundary=boundary,
    )
    return Region.model_validate(dict(row or {}))


async def appoint_manager(session: Session, region_id: UUID, user_id: UUID) -> None:
    """Bind a user to a region as its manager; they may manage several."""
    await session.execute(_APPOINT, region_id=region_id, user_id=user_id)
    await accounts.grant(session, user_id, Role.MANAGER)

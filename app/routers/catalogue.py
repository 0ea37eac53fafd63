"""The catalogue and the map: public, and nearly constant."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.routers.dependencies import Reading
from app.routers.problems import documented
from app.schemas.catalogue import Category, Service
from app.schemas.regions import Region
from app.services.catalogue import queries as catalogue
from app.services.regions import queries as regions

router = APIRouter(prefix="/api/v1", tags=["catalogue"])

_CACHED = "public, max-age=60"


@router.get("/categories", responses=documented())
async def list_categories(session: Reading, response: Response) -> list[Category]:
    response.headers["Cache-Control"] = _CACHED
    return await catalogue.all_categories(session)


@router.get("/services", responses=documented())
async def list_services(
    session: Reading, response: Response, category: Annotated[str | None, Query(max_length=64)] = None
) -> list[Service]:
    """What can be asked for, in English and Hindi, with the questions that a request answers."""
    response.headers["Cache-Control"] = _CACHED
    return await catalogue.all_services(session, category)


@router.get("/regions", responses=documented())
async def list_regions(session: Reading, response: Response) -> list[Region]:
    response.headers["Cache-Control"] = _CACHED
    return await regions.listed(session)

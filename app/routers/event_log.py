"""The event log for integrators (realtime.md)."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.routers.dependencies import EventReader, Reading
from app.routers.problems import documented
from app.schemas.api_keys import Scope
from app.schemas.event_log import LoggedEvents, LogQuery
from app.services.event_log import log

router = APIRouter(prefix="/api/v1/events", tags=["integrators"])


@router.get("", responses=documented(401, 403, 429))
async def read(session: Reading, key: EventReader, wanted: Annotated[LogQuery, Query()]) -> LoggedEvents:
    """Events of 90 days in the order in which they were committed, for programs that poll; nothing is skipped.

    With `events:read` those that were addressed to the key's owner, with an admin's `events:read_all` all. See
    `docs/integrators.md`.
    """
    return await log.page(session, key.actor, wanted, everything=Scope.EVENTS_READ_ALL in key.scopes)

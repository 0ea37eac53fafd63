"""The states of an advertised service, and who may change them (work-orders.md)."""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam

from app.core.errors import Conflict, Forbidden
from app.kernel.lifecycle import Columns, Creation, Emit, Guard, Lifecycle, Transition
from app.models.advertised_services import AdvertisedServiceStatus as Status
from app.models.advertised_services import advertised_services
from app.services.advertised_services import access, events
from app.services.teams.access import team_mates


class Action(StrEnum):
    CHANGE = "change"
    PAUSE = "pause"
    RESUME = "resume"
    ARCHIVE = "archive"


class ServiceChanged(Conflict):
    """`revision`, where it is told, is that of now."""

    code, title = "service_changed", "The service was changed since; look at it as it is now."


_offered = frozenset({Status.ACTIVE, Status.PAUSED})
_revision = advertised_services.c.revision
_advertiser = Guard(access.is_advertiser, Forbidden)


def _to_team(row: Columns) -> Select[Any]:
    return team_mates(row.team_id, row.advertiser_id)


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"advertised_service_id": row.id, "advertiser_id": row.advertiser_id, "service_title": row.title}


LIFECYCLE = Lifecycle(
    "advertised_service",
    advertised_services,
    Status,
    Creation(Status.ACTIVE, who="an advertiser", emits=[Emit(events.Published, _to_team, _about)]),
    [
        Transition(
            Action.CHANGE, _offered, {status: status for status in _offered},
            who="the advertiser", allowed=_advertiser,
            guards=[Guard(_revision == bindparam("looked_at", type_=_revision.type), ServiceChanged)],
            records=["title", "description", "price_minor", "currency", "team_id"],
            sets={"revision": _revision + 1},
            emits=[Emit(events.Changed, _to_team, lambda row: _about(row) | {"revision": row.revision})],
        ),
        Transition(
            Action.PAUSE, frozenset({Status.ACTIVE}), Status.PAUSED,
            who="the advertiser", allowed=_advertiser, emits=[Emit(events.Paused, _to_team, _about)],
        ),
        Transition(
            Action.RESUME, frozenset({Status.PAUSED}), Status.ACTIVE,
            who="the advertiser", allowed=_advertiser, emits=[Emit(events.Resumed, _to_team, _about)],
        ),
        Transition(
            Action.ARCHIVE, _offered, Status.ARCHIVED,
            who="the advertiser, for good", allowed=_advertiser, emits=[Emit(events.Archived, _to_team, _about)],
        ),
    ],
    visible=access.is_advertiser,
)  # fmt: skip

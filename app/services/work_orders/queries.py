"""Reading work orders, their evidence, and the queues of those who review them."""

from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, Uuid, any_, bindparam, select, union

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.pagination import decode
from app.kernel import evidence
from app.kernel.lifecycle import ACTOR, constants
from app.models.users import users
from app.models.work_orders import WorkOrderStatus, work_orders
from app.schemas.base import Page, PageQuery, page_of
from app.schemas.evidence import EvidenceRound
from app.schemas.work_orders import AllWorkOrders, MyWorkOrders, WorkOrder, WorkOrderState
from app.services.teams.access import is_team_mate, teams_of_actor
from app.services.work_orders import access
from app.services.work_orders.refusals import NotAReviewer

_before = bindparam("before", type_=Uuid)
_rows: ColumnElement[int] = bindparam("rows")
_buyers, _advertisers, _boosters = (users.alias(name) for name in ("buyers", "advertisers", "boosters"))
_seen: Final = (
    select(
        *(work_orders.c[name] for name in WorkOrderState.model_fields),
        _buyers.c.name.label("buyer_name"),
        _advertisers.c.name.label("advertiser_name"),
        _boosters.c.name.label("booster_name"),
    )
    .join(_buyers, _buyers.c.id == work_orders.c.buyer_id)
    .join(_advertisers, _advertisers.c.id == work_orders.c.advertiser_id)
    .outerjoin(_boosters, _boosters.c.id == work_orders.c.booster_id)
)
_by_id = work_orders.c.id == bindparam("order_id", type_=Uuid)
_READ = Statement(_seen.where(_by_id, access.is_visible))
_MAY_SEE_EVIDENCE = Statement(select(access.sees_evidence.label("sees")).where(_by_id, access.is_visible))


async def read(session: ReadSession, actor: Actor, order_id: UUID) -> WorkOrder:
    """One order, for whoever has to do with it; `NotFound` for strangers."""
    row = await session.first(_READ, order_id=order_id, actor_id=actor.id, actor_roles=list(actor.roles))
    if row is None:
        raise NotFound()
    return _order(row)


async def rounds(session: ReadSession, actor: Actor, order_id: UUID) -> list[EvidenceRound]:
    """Every round of evidence, for the booster and the reviewers; `NotAReviewer` for the buyer."""
    row = await session.first(_MAY_SEE_EVIDENCE, order_id=order_id, actor_id=actor.id, actor_roles=list(actor.roles))
    if row is None:
        raise NotFound()
    if not row["sees"]:
        raise NotAReviewer()
    return await evidence.rounds(session, order_id)


def _order(row: Row) -> WorkOrder:
    return WorkOrder.model_validate(dict(row))


def _newest(query: Select[Any]) -> Select[Any]:
    return query.where(work_orders.c.id < _before).order_by(work_orders.c.id.desc()).limit(_rows)


_SIDES: Final[dict[str | None, ColumnElement[bool] | None]] = {
    "buyer": access.is_buyer,
    "booster": work_orders.c.booster_id == ACTOR,
    "advertiser": access.is_advertiser,
    "team": work_orders.c.team_id.in_(teams_of_actor)
    & is_team_mate(work_orders.c.team_id, work_orders.c.advertiser_id)
    & (work_orders.c.advertiser_id != ACTOR),
    None: None,
}


@cache
def _listed(side: str | None, filtered: bool) -> Statement:
    """One statement for each list, with and without a status, so that each is planned for its own index."""
    condition = _SIDES[side]
    query = _seen if condition is None else _seen.where(condition)
    if filtered:
        query = query.where(work_orders.c.status == bindparam("status", type_=Text))
    return Statement(_newest(query))


async def _page(
    session: ReadSession, statement: Statement, actor: Actor, wanted: PageQuery, status: WorkOrderStatus | None = None
) -> Page[WorkOrder]:
    known = statement.known(actor_id=actor.id, actor_roles=list(actor.roles), status=status)
    rows = await session.all(statement, **known, before=decode(wanted.cursor), rows=wanted.limit + 1)
    return page_of(rows, wanted.limit, _order)


async def own(session: ReadSession, actor: Actor, wanted: MyWorkOrders) -> Page[WorkOrder]:
    """What the actor bought, does, sells, or sees as a team mate; newest first."""
    return await _page(session, _listed(wanted.side, wanted.status is not None), actor, wanted, wanted.status)


async def everybodys(session: ReadSession, actor: Actor, wanted: AllWorkOrders) -> Page[WorkOrder]:
    """All orders, for staff; newest first."""
    return await _page(session, _listed(None, wanted.status is not None), actor, wanted, wanted.status)


def _waiting(whose: ColumnElement[bool], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Ids of what waits for a verdict, out of the index on owner and status."""
    statuses = constants({WorkOrderStatus.EVIDENCE_SUBMITTED, WorkOrderStatus.UNDER_REVIEW})
    waiting = select(work_orders.c.id).where(whose, work_orders.c.status == any_(statuses), *conditions)
    return _newest(waiting.where(access.has_no_stake))


_own_waiting = _waiting(access.sells).subquery("own_waiting")
_teams_waiting = _waiting(
    work_orders.c.team_id.in_(teams_of_actor), is_team_mate(work_orders.c.team_id, work_orders.c.advertiser_id)
).subquery("teams_waiting")
_TO_REVIEW = Statement(
    _newest(_seen.where(work_orders.c.id.in_(union(select(_own_waiting.c.id), select(_teams_waiting.c.id)))))
)


async def to_review(session: ReadSession, actor: Actor, wanted: PageQuery) -> Page[WorkOrder]:
    """What waits for a verdict of the actor's as an advertiser or team mate; nothing that they buy or do themselves."""
    return await _page(session, _TO_REVIEW, actor, wanted)

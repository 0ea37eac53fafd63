"""Reading work orders, their evidence, and the queues of those who review them."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, Uuid, bindparam, select, union

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound
from app.core.pagination import decode, newest
from app.kernel import evidence
from app.kernel.lifecycle import ACTOR, constant
from app.models.users import users
from app.models.work_orders import WorkOrderStatus, work_orders
from app.schemas.base import Page, PageQuery, page_of
from app.schemas.evidence import EvidenceRound
from app.schemas.work_orders import AllWorkOrders, MyWorkOrders, WorkOrder, WorkOrderState
from app.services.teams.access import colleagues
from app.services.work_orders import access
from app.services.work_orders.refusals import NotAReviewer

_before = bindparam("before", type_=Uuid)
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
    return newest(query.where(work_orders.c.id < _before), work_orders.c.id)


_SIDES: Final[dict[str | None, ColumnElement[bool] | None]] = {
    "buyer": access.is_buyer,
    "booster": work_orders.c.booster_id == ACTOR,
    "advertiser": access.is_advertiser,
    None: None,
}


def _of_colleagues(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Ids of the newest orders of each colleague in each team, out of the index that begins with both: whoever reads
    the list does not pay for orders of others who are in the team no more, nor for the own ones."""
    ids = select(work_orders.c.id).where(
        work_orders.c.team_id == colleagues.c.team_id, work_orders.c.advertiser_id == colleagues.c.user_id, *conditions
    )
    return select(_newest(ids.correlate(colleagues)).lateral("newest").c.id).select_from(colleagues)


@cache
def _listed(side: str | None, filtered: bool) -> Statement:
    """One statement for each list, with and without a status, so that each is planned for its own index."""
    wanted = [work_orders.c.status == bindparam("status", type_=Text)] if filtered else []
    if side == "team":
        return Statement(_newest(_seen.where(work_orders.c.id.in_(_of_colleagues(*wanted)))))
    condition = _SIDES[side]
    return Statement(_newest((_seen if condition is None else _seen.where(condition)).where(*wanted)))


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


def _waiting() -> Iterator[Select[Any]]:
    """Ids of the newest of what waits for the actor's verdict: status by status, each in the order of its index."""
    for status in (WorkOrderStatus.EVIDENCE_SUBMITTED, WorkOrderStatus.UNDER_REVIEW):
        waits = (work_orders.c.status == constant(status), access.has_no_stake)
        own = _newest(select(work_orders.c.id).where(access.sells, *waits)).subquery(f"own_{status}")
        yield select(own.c.id)
        yield _of_colleagues(*waits)


_TO_REVIEW = Statement(_newest(_seen.where(work_orders.c.id.in_(union(*_waiting())))))


async def to_review(session: ReadSession, actor: Actor, wanted: PageQuery) -> Page[WorkOrder]:
    """What waits for a verdict of the actor's as an advertiser or team mate; nothing that they buy or do themselves."""
    return await _page(session, _TO_REVIEW, actor, wanted)

"""Statistics of work orders (work-orders.md), read from tallies that triggers keep: see docs/adr/0013.

A tally is the sum of its rows. Transitions only add rows, so they never wait for each other; `merge` makes one of many.
"""

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Numeric, Text, Uuid, bindparam, cast, delete, func, insert, literal_column, select

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.money import PLATFORM
from app.models.work_orders import RejectionCategory, Side, WorkOrderStatus, work_order_tallies
from app.schemas.work_orders import AdminStatistics, AdvertiserStatistics, BoosterStatistics, Earning

_tallies = work_order_tallies.c
_READ = Statement(
    select(
        _tallies.measure,
        cast(func.sum(_tallies.number), BigInteger).label("number"),
        cast(func.round(func.sum(_tallies.total)), BigInteger).label("total"),
    )
    .where(_tallies.side == bindparam("side", type_=Text), _tallies.owner_id == bindparam("owner_id", type_=Uuid))
    .group_by(_tallies.measure)
)

_BATCH: Final = 5000
_fresh = (
    select(_tallies.side, _tallies.owner_id, _tallies.measure)
    .where(~_tallies.is_merged)
    .order_by(_tallies.id)
    .limit(literal_column(str(_BATCH)))
    .subquery("fresh")
)
_keys = select(_fresh).distinct().cte("keys")
_gone = (
    delete(work_order_tallies)
    .where(_tallies.side == _keys.c.side, _tallies.owner_id == _keys.c.owner_id, _tallies.measure == _keys.c.measure)
    .returning(_tallies.side, _tallies.owner_id, _tallies.measure, _tallies.number, _tallies.total)
    .cte("gone")
)
_group = (_gone.c.side, _gone.c.owner_id, _gone.c.measure)
_MERGE = Statement(
    insert(work_order_tallies).from_select(
        ["side", "owner_id", "measure", "number", "total", "is_merged"],
        select(
            *_group,
            cast(func.sum(_gone.c.number), BigInteger),
            cast(func.sum(_gone.c.total), Numeric),
            literal_column("true"),
        ).group_by(*_group),
    )
)


class Tally(NamedTuple):
    """How many there were, and the sum of what was measured: seconds, minor units, stars."""

    number: int = 0
    total: int = 0

    @property
    def average(self) -> int | None:
        return round(self.total / self.number) if self.number else None


class _Tallies(dict[str, Tally]):
    """By the name of the measure; what never happened is zero."""

    def __missing__(self, _: str) -> Tally:
        return Tally()

    def those(self, prefix: str) -> dict[str, Tally]:
        return {name.removeprefix(prefix): tally for name, tally in self.items() if name.startswith(prefix)}

    def orders(self) -> dict[WorkOrderStatus, int]:
        return {status: self[f"status:{status}"].number for status in WorkOrderStatus}

    def pending_review(self) -> int:
        orders = self.orders()
        return orders[WorkOrderStatus.EVIDENCE_SUBMITTED] + orders[WorkOrderStatus.UNDER_REVIEW]

    def rejected(self) -> Tally:
        every = self.those("rejected:").values()
        return Tally(sum(tally.number for tally in every), sum(tally.total for tally in every))


async def _tallies_of(session: ReadSession, side: Side, owner_id: UUID) -> _Tallies:
    rows = await session.all(_READ, side=side.value, owner_id=owner_id)
    return _Tallies({row["measure"]: Tally(row["number"], row["total"]) for row in rows})


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


async def of_booster(session: ReadSession, actor: Actor) -> BoosterStatistics:
    """The actor's, as a booster. Earnings are those of the orders, whatever became of the money since."""
    found = await _tallies_of(session, Side.BOOSTER, actor.user_id)
    rejected, approved = found.rejected(), found["approved"]
    return BoosterStatistics(
        completed=found.orders()[WorkOrderStatus.COMPLETED],
        pending_review=found.pending_review(),
        rejection_rate=_share(rejected.number, rejected.number + approved.number),
        average_completion_seconds=found["completed"].average,
        earnings=[
            Earning(currency=currency, amount_minor=tally.total)
            for currency, tally in sorted(found.those("earned:").items())
            if tally.number
        ],
    )


async def of_advertiser(session: ReadSession, actor: Actor) -> AdvertiserStatistics:
    """The actor's, as an advertiser, of orders for the own services."""
    found = await _tallies_of(session, Side.ADVERTISER, actor.user_id)
    orders, rejected, approved, rated = found.orders(), found.rejected(), found["approved"], found["rated"]
    completed = orders[WorkOrderStatus.COMPLETED]
    return AdvertiserStatistics(
        orders=orders,
        completion_rate=_share(completed, completed + orders[WorkOrderStatus.CANCELLED]),
        average_review_seconds=Tally(rejected.number + approved.number, rejected.total + approved.total).average,
        satisfaction=_share(rated.total, rated.number),
        ratings=rated.number,
    )


async def of_platform(session: ReadSession) -> AdminStatistics:
    """Of all orders there are."""
    found = await _tallies_of(session, Side.PLATFORM, PLATFORM)
    orders, reasons = found.orders(), found.those("rejected:")
    return AdminStatistics(
        total=sum(orders.values()),
        orders=orders,
        pending_review=found.pending_review(),
        average_approval_seconds=found["approved"].average,
        rejection_reasons={category: reasons.get(category, Tally()).number for category in RejectionCategory},
    )


async def merge(session: Session) -> int:
    """Make one row of the rows of each tally that has fresh ones; how many tallies that were, 0 if none had.

    One statement: a reader sees all of them or their sum. Of two at once the later deletes what the earlier left, and
    counts only what it deleted itself.
    """
    return await session.execute(_MERGE)

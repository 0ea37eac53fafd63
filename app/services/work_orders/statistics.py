"""Statistics of work orders (work-orders.md), read from tallies that triggers keep: see docs/adr/0013.

A tally is what was added up, and what has changed since. Transitions only add changes, so they never wait for each
other; `merge` adds them up.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Numeric,
    TableValuedAlias,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    delete,
    func,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.money import PLATFORM
from app.core.sql import constant
from app.models.work_orders import (
    RejectionCategory,
    Side,
    WorkOrderStatus,
    work_order_tallies,
    work_order_tally_changes,
)
from app.schemas.work_orders import AdminStatistics, AdvertiserStatistics, BoosterStatistics, Earning

_tallies, _changes = work_order_tallies, work_order_tally_changes


def _lines(changes: FromClause) -> TableValuedAlias:
    """What each of these changes adds: a measure, a number and a total a row."""
    columns = column("measure", Text), column("number", BigInteger), column("total", Numeric)
    arrays = changes.c.measures, changes.c.numbers, changes.c.totals
    return func.unnest(*arrays).table_valued(*columns).render_derived(name="line")


def _owners(changes: FromClause) -> Mapping[Side, ColumnElement[UUID]]:
    """Whose tallies they change; null where an order has no booster yet."""
    platform = literal_column(f"'{PLATFORM}'::uuid", Uuid)
    return {Side.PLATFORM: platform, Side.ADVERTISER: changes.c.advertiser_id, Side.BOOSTER: changes.c.booster_id}


def _read(side: Side) -> Statement:
    owner_id, lines = bindparam("owner_id", type_=Uuid), _lines(_changes)
    merged = select(_tallies.c.measure, _tallies.c.number, _tallies.c.total).where(
        _tallies.c.side == constant(side), _tallies.c.owner_id == owner_id
    )
    fresh = select(lines).select_from(_changes.join(lines, true())).where(_owners(_changes)[side] == owner_id)
    rows = union_all(merged, fresh).subquery("rows")
    return Statement(
        select(
            rows.c.measure,
            cast(func.sum(rows.c.number), BigInteger).label("number"),
            cast(func.round(func.sum(rows.c.total)), BigInteger).label("total"),
        ).group_by(rows.c.measure)
    )


_READ: Final = {side: _read(side) for side in Side}

_BATCH: Final = 5000


def _merge() -> Statement:
    oldest = select(_changes.c.id).order_by(_changes.c.id).limit(literal_column(str(_BATCH)))
    # Two that merge at once take different ones.
    batch = oldest.with_for_update(skip_locked=True).cte("batch")
    gone = delete(_changes).where(_changes.c.id == batch.c.id).returning(*_changes.c).cte("gone")
    lines = _lines(gone)
    of_all = union_all(
        *(
            select(constant(side).label("side"), owner_id.label("owner_id"), lines)
            .select_from(gone.join(lines, true()))
            .where(owner_id.is_not(None))
            for side, owner_id in _owners(gone).items()
        )
    ).subquery("of_all")
    tally: tuple[ColumnElement[Any], ...] = (of_all.c.side, of_all.c.owner_id, of_all.c.measure)
    sums = cast(func.sum(of_all.c.number), BigInteger), cast(func.sum(of_all.c.total), Numeric)
    added = insert(_tallies).from_select(
        ["side", "owner_id", "measure", "number", "total"],
        # In one order, so that two that merge at once wait for each other's tallies instead of deadlocking.
        select(*tally, *sums).group_by(*tally).order_by(*tally),
    )
    return Statement(
        added.on_conflict_do_update(
            index_elements=[_tallies.c.side, _tallies.c.owner_id, _tallies.c.measure],
            set_={
                "number": _tallies.c.number + added.excluded.number,
                "total": _tallies.c.total + added.excluded.total,
            },
        )
    )


_MERGE: Final = _merge()


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
    rows = await session.all(_READ[side], owner_id=owner_id)
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
    """Add up what has changed; how many tallies that moved, 0 if nothing was left to do.

    One statement: a reader sees the changes or the sums that they became. Of two at once each takes other changes
    (`SKIP LOCKED`), and the row lock on a tally makes them add to it one after the other.
    """
    return await session.execute(_MERGE)

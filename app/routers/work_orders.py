"""Work orders: evidence before money (work-orders.md)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import Admin, OnlyOnce, Reading, SignedIn, SupportOrAdmin, Writing, WritingOnce
from app.routers.problems import documented
from app.schemas.base import Page, PageQuery, Reason
from app.schemas.evidence import EvidenceRound, SubmitEvidence
from app.schemas.work_orders import (
    AdminStatistics,
    AdvertiserStatistics,
    AllWorkOrders,
    AssignBooster,
    BoosterStatistics,
    MyWorkOrders,
    OverrideDecision,
    PurchaseWorkOrder,
    RateWork,
    RejectEvidence,
    ResolveDispute,
    WorkOrder,
    WorkOrderState,
)
from app.services.work_orders import progress, purchase, queries, settlement, statistics
from app.services.work_orders.lifecycle import Action

router = APIRouter(prefix="/api/v1", tags=["work orders"])
_ACTION = documented(401, 403, 404, 409)
_ORDER = "/work-orders/{work_order_id}"


@router.post("/work-orders", status_code=status.HTTP_201_CREATED, responses=documented(401, 404, 409))
async def buy(body: PurchaseWorkOrder, session: Writing, actor: SignedIn, once: OnlyOnce) -> WorkOrderState:
    """Buy an advertised service from the wallet; the price is held until evidence is approved."""
    return await once(lambda: purchase.purchase(session, actor, body))


@router.get("/work-orders", responses=documented(401))
async def list_own(session: Reading, actor: SignedIn, page: Annotated[MyWorkOrders, Query()]) -> Page[WorkOrder]:
    """What one bought, does, sells, or may review as a team mate; newest first."""
    return await queries.own(session, actor, page)


@router.get("/work-orders/to-review", responses=documented(401))
async def list_to_review(session: Reading, actor: SignedIn, page: Annotated[PageQuery, Query()]) -> Page[WorkOrder]:
    """Orders of the own services and the teams' that wait for a verdict."""
    return await queries.to_review(session, actor, page)


@router.get("/work-orders/statistics/booster", responses=documented(401))
async def booster_statistics(session: Reading, actor: SignedIn) -> BoosterStatistics:
    """Of the orders that one does."""
    return await statistics.of_booster(session, actor)


@router.get("/work-orders/statistics/advertiser", responses=documented(401))
async def advertiser_statistics(session: Reading, actor: SignedIn) -> AdvertiserStatistics:
    """Of the orders for the own services."""
    return await statistics.of_advertiser(session, actor)


@router.get(_ORDER, responses=documented(401, 404))
async def read(work_order_id: UUID, session: Reading, actor: SignedIn) -> WorkOrder:
    """One order, for its buyer, booster, advertiser, team mates and staff."""
    return await queries.read(session, actor, work_order_id)


@router.get(f"{_ORDER}/evidence", responses=documented(401, 403, 404))
async def list_evidence(work_order_id: UUID, session: Reading, actor: SignedIn) -> list[EvidenceRound]:
    """Every round of evidence with its verdict, for the booster and the reviewers."""
    return await queries.rounds(session, actor, work_order_id)


@router.post(f"{_ORDER}/assign", responses=_ACTION)
async def assign(work_order_id: UUID, body: AssignBooster, session: WritingOnce, actor: SignedIn) -> WorkOrderState:
    """Say who does the work; somebody else until it has begun."""
    return await progress.step(session, actor, work_order_id, Action.ASSIGN, booster_id=body.booster_id)


@router.post(f"{_ORDER}/start", responses=_ACTION)
async def start(work_order_id: UUID, session: WritingOnce, actor: SignedIn) -> WorkOrderState:
    """The booster begins."""
    return await progress.step(session, actor, work_order_id, Action.START)


@router.post(f"{_ORDER}/submit", responses=_ACTION)
async def submit(work_order_id: UUID, body: SubmitEvidence, session: WritingOnce, actor: SignedIn) -> WorkOrderState:
    """Hand in a round of evidence: images and notes, which cannot be changed any more."""
    return await progress.submit(session, actor, work_order_id, body)


@router.post(f"{_ORDER}/open-review", responses=_ACTION)
async def open_review(work_order_id: UUID, session: WritingOnce, actor: SignedIn) -> WorkOrderState:
    """Tell the booster that somebody looks at the evidence."""
    return await progress.step(session, actor, work_order_id, Action.OPEN_REVIEW)


@router.post(f"{_ORDER}/approve", responses=_ACTION)
async def approve(work_order_id: UUID, session: Writing, actor: SignedIn, once: OnlyOnce) -> WorkOrderState:
    """The work is done: the booster is paid."""
    return await once(lambda: settlement.approve(session, actor, work_order_id), status_code=status.HTTP_200_OK)


@router.post(f"{_ORDER}/reject", responses=_ACTION)
async def reject(work_order_id: UUID, body: RejectEvidence, session: WritingOnce, actor: SignedIn) -> WorkOrderState:
    """The evidence does not show it: the booster reads why and may hand in again."""
    return await progress.reject(session, actor, work_order_id, body)


@router.post(f"{_ORDER}/cancel", responses=_ACTION)
async def cancel(
    work_order_id: UUID, body: Reason, session: Writing, actor: SignedIn, once: OnlyOnce
) -> WorkOrderState:
    """Call it off: the buyer before a booster is assigned, support before it is completed. The price goes back."""
    return await once(
        lambda: settlement.cancel(session, actor, work_order_id, body.reason), status_code=status.HTTP_200_OK
    )


@router.post(f"{_ORDER}/dispute", responses=_ACTION)
async def dispute(work_order_id: UUID, body: Reason, session: WritingOnce, actor: SignedIn) -> WorkOrderState:
    """Stop everything, the money too, until support has decided."""
    return await progress.dispute(session, actor, work_order_id, body.reason)


@router.post(f"{_ORDER}/resolve", responses=_ACTION, tags=["staff"])
async def resolve(
    work_order_id: UUID, body: ResolveDispute, session: Writing, actor: SupportOrAdmin, once: OnlyOnce
) -> WorkOrderState:
    """Decide a dispute: divide the price exactly, or let the work go on."""
    return await once(lambda: settlement.resolve(session, actor, work_order_id, body), status_code=status.HTTP_200_OK)


@router.post(f"{_ORDER}/override", responses=_ACTION, tags=["staff"])
async def override(
    work_order_id: UUID, body: OverrideDecision, session: Writing, actor: Admin, once: OnlyOnce
) -> WorkOrderState:
    """Decide otherwise than was decided, once for each order; the money is posted anew."""
    return await once(lambda: settlement.override(session, actor, work_order_id, body), status_code=status.HTTP_200_OK)


@router.post(f"{_ORDER}/rate", responses=_ACTION)
async def rate(work_order_id: UUID, body: RateWork, session: WritingOnce, actor: SignedIn) -> WorkOrderState:
    """How content the buyer is with completed work, once."""
    return await progress.step(session, actor, work_order_id, Action.RATE, rating=body.rating)


@router.get("/admin/work-orders", responses=documented(401, 403), tags=["staff"])
async def list_all(session: Reading, actor: SupportOrAdmin, page: Annotated[AllWorkOrders, Query()]) -> Page[WorkOrder]:
    """All orders, newest first."""
    return await queries.everybodys(session, actor, page)


@router.get("/admin/work-orders/statistics", responses=documented(401, 403), tags=["staff"])
async def platform_statistics(session: Reading, _: Admin) -> AdminStatistics:
    """Of all orders."""
    return await statistics.of_platform(session)

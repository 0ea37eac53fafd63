"""Buying: the price leaves the wallet and is held until evidence is approved (work-orders.md: purchase)."""

from uuid import UUID

from sqlalchemy import Uuid, bindparam, select

from app.core.actor import Actor
from app.core.config import settings
from app.core.database import Session, Statement
from app.core.errors import Conflict, NotFound
from app.core.ids import uuid7
from app.core.money import commission
from app.kernel import escrow
from app.models.advertised_services import advertised_services
from app.schemas.work_orders import PurchaseWorkOrder, WorkOrderState
from app.services.advertised_services import access
from app.services.advertised_services.lifecycle import ServiceChanged
from app.services.work_orders.lifecycle import LIFECYCLE
from app.services.work_orders.refusals import OwnService


class NotOnSale(Conflict):
    code, title = "not_on_sale", "This service cannot be bought now."


# Shared, so that buyers do not wait for each other, while a change that is being made at this moment is waited for.
_SERVICE = Statement(
    select(
        *(
            advertised_services.c[name]
            for name in ("advertiser_id", "team_id", "title", "price_minor", "currency", "revision")
        ),
        access.is_on_sale.label("is_on_sale"),
    )
    .where(advertised_services.c.id == bindparam("service_id", type_=Uuid))
    .with_for_update(read=True, of=advertised_services)
)


async def purchase(session: Session, actor: Actor, wanted: PurchaseWorkOrder) -> WorkOrderState:
    """Buy a service from the wallet, at the price and under the team that it has now; both are frozen on the order.

    Locks the service, then the accounts. Raises `NotFound`, `NotOnSale`, `ServiceChanged`, `OwnService` (also from
    the check `work_orders_bought_from_another`), `InsufficientFunds`.
    """
    service = await session.first(_SERVICE, service_id=wanted.advertised_service_id)
    if service is None:
        raise NotFound()
    if not service["is_on_sale"]:
        raise NotOnSale()
    if service["revision"] != wanted.revision:
        raise ServiceChanged(revision=service["revision"])
    if service["advertiser_id"] == actor.user_id:
        raise OwnService()
    price, currency = service["price_minor"], service["currency"]
    basis_points = commission_basis_points(currency)
    order_id = uuid7()
    row = await LIFECYCLE.create(
        session,
        actor,
        {
            "id": order_id,
            "advertised_service_id": wanted.advertised_service_id,
            "buyer_id": actor.user_id,
            **{name: service[name] for name in ("advertiser_id", "team_id", "title", "price_minor", "currency")},
            "commission_basis_points": basis_points,
            "commission_minor": commission(price, basis_points),
            "instructions": wanted.instructions,
        },
    )
    await escrow.hold(session, subject(order_id), actor.user_id, price, currency, actor_id=actor.id)
    return WorkOrderState.model_validate(dict(row))


def commission_basis_points(currency: str) -> int:
    """The platform's share of what is sold in this currency now."""
    known = settings()
    if currency in known.house_currencies:
        return known.house_currency_commission_basis_points
    return known.work_order_commission_basis_points


def subject(order_id: UUID) -> escrow.Subject:
    """The order, as the ledger knows it."""
    return ("work_order", order_id)

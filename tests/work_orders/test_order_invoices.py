"""The document of an order: an invoice in rupees, a receipt in money of the house, a credit note after an override."""

import asyncio
from typing import Any
from uuid import UUID

from app.models.users import Role
from app.models.work_orders import WorkOrderStatus as Status
from app.services.flows import invoicing
from app.services.work_orders.events import Completed, Overridden, Resolved
from tests.support.world import World
from tests.work_orders import steps
from tests.work_orders.conftest import Cast
from tests.work_orders.steps import PRICE, do


async def document(world: World, event: str, order_id: str) -> Any:
    """As the job does it."""
    async with world.platform.database.write() as session:
        return await invoicing.document(session, event, UUID(order_id))


async def order(cast: Cast, status: Status, currency: str = "INR") -> str:
    world = cast.world
    return await steps.bring(
        world,
        status,
        buyer=await steps.buyer(world, PRICE, currency),
        booster=await world.person(Role.BOOSTER),
        manager=cast.advertiser,
        offered=await steps.service(cast.advertiser, currency=currency),
    )


async def test_what_is_paid_in_rupees_is_invoiced_by_the_advertiser_once(cast: Cast, world: World) -> None:
    order_id = await order(cast, Status.COMPLETED)
    invoice = await document(world, Completed.name, order_id)
    assert (invoice.kind, invoice.seller_id, invoice.total_minor) == ("invoice", cast.advertiser.id, PRICE)
    assert [line.description for line in invoice.lines] == ["Mythic+20 Boost"]
    assert await document(world, Completed.name, order_id) == invoice


async def test_what_is_paid_in_gold_is_acknowledged_by_an_untaxed_receipt(cast: Cast, world: World) -> None:
    receipt = await document(world, Completed.name, await order(cast, Status.COMPLETED, "GOLD"))
    assert (receipt.kind, receipt.currency, receipt.tax_minor) == ("receipt", "GOLD", 0)


async def test_a_resolution_is_invoiced_for_what_the_buyer_paid_in_the_end(cast: Cast, world: World) -> None:
    for part, expected in ((200_00, 200_00), (0, None)):
        order_id = await order(cast, Status.DISPUTED)
        split = {"outcome": "CANCELLED", "booster_minor": part, "buyer_minor": PRICE - part, "resolution_notes": "so"}
        await do(cast.support, order_id, "resolve", split)
        invoice = await document(world, Resolved.name, order_id)
        assert (invoice and invoice.total_minor) == expected


async def test_an_overridden_approval_is_credited_whichever_job_comes_first(cast: Cast, world: World) -> None:
    for early in (True, False):
        order_id = await order(cast, Status.COMPLETED)
        if early:
            await document(world, Completed.name, order_id)
        await do(cast.admin, order_id, "override", {"outcome": "CANCELLED", "reason": "forged"})
        await asyncio.gather(*(document(world, event.name, order_id) for event in (Completed, Overridden)))
        kinds = sorted(row["kind"] for row in await world.rows("invoices", subject_id=UUID(order_id)))
        assert kinds == (["credit_note", "invoice"] if early else [])


async def test_an_overridden_cancellation_is_invoiced(cast: Cast, world: World) -> None:
    order_id = await order(cast, Status.IN_PROGRESS)
    await do(cast.support, order_id, "cancel", {"reason": "gone"})
    await do(cast.admin, order_id, "override", {"outcome": "COMPLETED", "reason": "it was done"})
    assert (await document(world, Overridden.name, order_id)).total_minor == PRICE

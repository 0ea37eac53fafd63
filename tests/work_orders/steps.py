"""Steps of a work order, as its people take them over HTTP."""

from collections.abc import Awaitable
from functools import cache
from typing import Any, Final
from uuid import UUID

import httpx

from app.models.users import Role
from app.models.work_orders import WorkOrderStatus as Status
from tests.support.world import Person, World, picture

PATH: Final = "/api/v1/work-orders"
PRICE: Final = 500_00
NOTES: Final = "Completed +20 Necrotic Wake in time."


async def succeed(answer: Awaitable[httpx.Response]) -> Any:
    answered = await answer
    assert answered.is_success, answered.text
    return answered.json()


@cache
def screenshot() -> bytes:
    return picture(800, 600, "PNG")


async def buyer(world: World, funds_minor: int = 100_000_00, currency: str = "GOLD", **about: Any) -> Person:
    """Somebody with money of the house."""
    person = await world.person(**about)
    await top_up(world, person, funds_minor, currency)
    return person


async def top_up(world: World, person: Person, amount_minor: int, currency: str = "GOLD") -> None:
    wanted = {"amount_minor": amount_minor, "currency": currency, "reason": "for the test"}
    await succeed(world.admin.post(f"/api/v1/admin/users/{person.id}/top-ups", wanted))


async def held_by(world: World, owner_id: UUID, kind: str = "wallet", currency: str = "GOLD") -> int:
    """A balance out of the books, in minor units; 0 for an account that was never opened."""
    found = await world.rows("accounts", owner_id=owner_id, kind=kind, currency=currency)
    return sum(int(account["balance"]) for account in found)


async def service(
    advertiser: Person, *, price_minor: int = PRICE, currency: str = "GOLD", team_id: str | None = None
) -> dict[str, Any]:
    """An advertised service on sale."""
    offer = {
        "title": "Mythic+20 Boost",
        "description": "One run in time.",
        "price_minor": price_minor,
        "currency": currency,
        "team_id": team_id,
    }
    made: dict[str, Any] = await succeed(advertiser.post("/api/v1/advertised-services", offer))
    return made


async def team(owner: Person, *mates: Person) -> tuple[str, dict[UUID, str]]:
    """A team and its mates, who have accepted; its id, and the memberships by user."""
    team_id = (await succeed(owner.post("/api/v1/teams", {"name": "Sahyadri Guild"})))["id"]
    memberships = {}
    for mate in mates:
        await succeed(owner.post(f"/api/v1/teams/{team_id}/invitations", {"user_id": str(mate.id)}))
        membership = (await succeed(mate.get(f"/api/v1/teams/{team_id}")))["membership_id"]
        await succeed(mate.post(f"/api/v1/team-memberships/{membership}/accept"))
        memberships[mate.id] = str(membership)
    return team_id, memberships


def purchase_of(offered: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"advertised_service_id": offered["id"], "revision": offered["revision"]} | more


async def buy(person: Person, offered: dict[str, Any]) -> str:
    """A fresh order; its id."""
    return str((await succeed(person.post(PATH, purchase_of(offered))))["id"])


async def do(person: Person, order_id: str, action: str, body: Any = None, **options: Any) -> Any:
    return await succeed(person.post(f"{PATH}/{order_id}/{action.replace('_', '-')}", body, **options))


async def evidence(person: Person, images: int = 1) -> dict[str, Any]:
    """What a booster hands in."""
    return {"image_ids": [await person.upload("evidence", screenshot()) for _ in range(images)], "notes": NOTES}


async def bring(
    world: World, status: Status, *, buyer: Person, booster: Person, manager: Person, offered: dict[str, Any]
) -> str:
    """An order that came into this status the way it usually does; `manager` assigns and decides. Its id."""
    order_id = await buy(buyer, offered)
    if status is Status.PENDING:
        return order_id
    await do(manager, order_id, "assign", {"booster_id": str(booster.id)})
    if status is Status.ASSIGNED:
        return order_id
    await do(booster, order_id, "start")
    if status in (Status.EVIDENCE_SUBMITTED, Status.UNDER_REVIEW, Status.REJECTED, Status.COMPLETED):
        await do(booster, order_id, "submit", await evidence(booster))
    match status:
        case Status.UNDER_REVIEW:
            await do(manager, order_id, "open_review")
        case Status.REJECTED:
            await do(manager, order_id, "reject", {"reason": "It does not show the timer."})
        case Status.COMPLETED:
            await do(manager, order_id, "approve")
        case Status.DISPUTED:
            await do(buyer, order_id, "dispute", {"reason": "Nothing happens."})
        case Status.CANCELLED:
            await do(world.support, order_id, "cancel", {"reason": "The buyer asked for it."})
    return order_id


async def advertiser(world: World, *roles: Role) -> Person:
    return await world.person(Role.ADVERTISER, *roles, name="Rohan")

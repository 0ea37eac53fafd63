"""Who stands where towards work orders, and orders in every status."""

from dataclasses import dataclass
from typing import Any

import pytest

from app.models.users import Role
from app.models.work_orders import WorkOrderStatus as Status
from tests.support.world import Person, World
from tests.work_orders import steps


@dataclass(frozen=True)
class Cast:
    """One person for each way to stand towards an order for the service."""

    world: World
    service: dict[str, Any]
    team_id: str
    buyer: Person
    booster: Person
    advertiser: Person
    team_mate: Person
    former_mate: Person
    other_advertiser: Person
    other_booster: Person
    stranger: Person
    manager: Person
    support: Person
    admin: Person

    def person(self, role: str) -> Person:
        found: Person = getattr(self, role)
        return found

    async def order(self, status: Status, *, booster: Person | None = None, buyer: Person | None = None) -> str:
        """An order for the team's service in this status; its id."""
        return await steps.bring(
            self.world,
            status,
            buyer=buyer or self.buyer,
            booster=booster or self.booster,
            # Somebody who has no stake, whoever else is on the order.
            manager=self.world.admin,
            offered=self.service,
        )


@pytest.fixture(scope="session")
async def cast(world: World) -> Cast:
    owner, mate, former, other = [await steps.advertiser(world) for _ in range(4)]
    team_id, memberships = await steps.team(owner, mate, former)
    await steps.succeed(former.post(f"/api/v1/team-memberships/{memberships[former.id]}/leave"))
    return Cast(
        world=world,
        service=await steps.service(owner, team_id=team_id),
        team_id=team_id,
        buyer=await steps.buyer(world, name="Asha"),
        booster=await world.person(Role.BOOSTER, name="Mike"),
        advertiser=owner,
        team_mate=mate,
        former_mate=former,
        other_advertiser=other,
        other_booster=await world.person(Role.BOOSTER),
        stranger=await world.person(),
        manager=world.manager,
        support=await world.person(Role.SUPPORT),
        admin=await world.person(Role.ADMIN),
    )

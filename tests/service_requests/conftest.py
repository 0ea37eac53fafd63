"""Who stands where towards service requests, and requests in every status."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

import httpx
import pytest

from app.jobs import clock
from app.models.service_requests import ServiceRequestStatus as Status
from app.models.users import Role
from app.schemas.regions import CreateRegion
from app.services.regions import administration as regions
from tests.support.world import FAR_AWAY, Person, World

PATH = "/api/v1/service-requests"
FUNDS = 100_000_00
OPEN = (Status.PENDING, Status.PURCHASED, Status.IN_PROGRESS)


@dataclass(frozen=True)
class Cast:
    """One person for each way to stand towards a service request."""

    world: World
    customer: Person
    winner: Person
    purchaser: Person
    matching: Person
    not_matching: Person
    stranger: Person
    support: Person
    manager: Person
    other_manager: Person
    admin: Person

    def person(self, role: str) -> Person:
        found: Person = getattr(self, role)
        return found

    async def request(self, status: Status) -> str:
        """A request of the customer that came into this status the way it usually does; its id."""
        request_id = await self.world.request(self.customer)
        if status is Status.PENDING:
            return request_id
        for buyer in (self.winner, self.purchaser):
            await succeed(buyer.post(f"{PATH}/{request_id}/purchase"))
        match status:
            case Status.IN_PROGRESS:
                await succeed(self.winner.post(f"{PATH}/{request_id}/start"))
            case Status.COMPLETED | Status.APPROVED:
                proof = {"proof_id": await self.winner.upload()}
                await succeed(self.winner.post(f"{PATH}/{request_id}/complete", proof))
            case Status.CANCELLED:
                await succeed(self.customer.post(f"{PATH}/{request_id}/cancel", {"reason": "I mended it myself"}))
            case Status.EXPIRED:
                await fall_due(self.world, request_id)
        if status is Status.APPROVED:
            await succeed(self.customer.post(f"{PATH}/{request_id}/approve"))
        return request_id


async def succeed(answer: Awaitable[httpx.Response]) -> httpx.Response:
    answered = await answer
    assert answered.is_success, answered.text
    return answered


async def make_due(world: World, request_id: str) -> None:
    """Thirty days pass for this request."""
    moved = await world.execute(
        "UPDATE deadlines SET due_at = now() - interval '1 second' WHERE subject_id = cast(:id AS uuid)", id=request_id
    )
    assert moved == 1


async def fall_due(world: World, request_id: str) -> None:
    """Thirty days pass for this request, and the clock ticks."""
    await make_due(world, request_id)
    assert await clock.tick(world.platform) >= 1


@pytest.fixture(scope="session")
async def cast(world: World) -> Cast:
    other_manager = await world.person(Role.MANAGER)
    async with world.platform.database.write() as session:
        wanted = CreateRegion(code="far-away", name="Far away", zipcodes=["411001"], centre=FAR_AWAY)
        region = await regions.create(session, wanted)
        await regions.appoint_manager(session, region.id, other_manager.id)
    return Cast(
        world=world,
        customer=await world.person(name="Asha Kulkarni"),
        winner=await world.provider(funds_minor=FUNDS),
        purchaser=await world.provider(funds_minor=FUNDS),
        matching=await world.provider(funds_minor=FUNDS),
        not_matching=await world.provider(at=FAR_AWAY, funds_minor=FUNDS),
        stranger=await world.person(),
        support=world.support,
        manager=world.manager,
        other_manager=other_manager,
        admin=world.admin,
    )


@pytest.fixture(scope="session")
async def crowd(world: World) -> list[Person]:
    """A hundred providers who match every request that is made here."""
    return list(await asyncio.gather(*(world.provider(funds_minor=FUNDS) for _ in range(100))))

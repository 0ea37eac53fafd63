"""Who takes part in a subject (`kernel/subjects.py`)."""

from uuid import UUID, uuid4

from app.kernel import subjects
from app.kernel.platform import Platform
from tests.support.world import World


async def test_the_parties_of_a_request_are_its_customer_and_who_bought_the_lead(
    world: World, platform: Platform
) -> None:
    customer, request_id, buyers = await world.lead(buyers=2)
    await world.lead(buyers=1)
    async with platform.database.read() as session:
        found = await subjects.parties(session, "service_request", UUID(request_id))
    assert found == {customer.id, *(buyer.id for buyer in buyers)}


async def test_nobody_takes_part_in_what_does_not_exist_or_declares_no_parties(
    world: World, platform: Platform
) -> None:
    _, request_id, buyers = await world.lead(buyers=1)
    async with platform.database.read() as session:
        assert await subjects.parties(session, "service_request", uuid4()) == frozenset()
        assert await subjects.parties(session, "provider", buyers[0].id) == frozenset()
        assert await subjects.parties(session, "nothing", UUID(request_id)) == frozenset()

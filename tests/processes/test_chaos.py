"""The verdict finds what it is there to find. That the house keeps its promises is for `make chaos` to show."""

import time
from uuid import UUID

from app.core.ids import uuid7
from app.kernel.platform import Platform
from chaos.clients import Deed, History, Operation, Outcome
from chaos.verdict import faults_of
from tests.support.world import Person, World


async def verdict_on(platform: Platform, subject_id: str | UUID, history: History | None = None) -> list[str]:
    """What the verdict says of one subject; other tests have planted what they like in this database."""
    async with platform.database.read() as session:
        found = await faults_of(session, history or History(), [], [], 0)
    return [fault for fault in found if str(subject_id) in fault]


def told(person: Person, action: str, subject_id: str | None, outcome: Outcome, *, lost: int = 0) -> History:
    deed = Deed("service_request", action, UUID(subject_id) if subject_id else None)
    operation = Operation(deed, person.id, time.time(), False, lost, outcome)
    operation.body = {"id": subject_id or str(uuid7())}
    return History([operation])


async def test_a_lawful_story_is_clean(world: World, platform: Platform) -> None:
    _, request_id, (winner, *_) = await world.completed(buyers=2)
    history = told(winner, "complete", request_id, Outcome.DONE)
    assert await verdict_on(platform, request_id, history) == []


async def test_an_answer_without_a_deed_is_found(world: World, platform: Platform) -> None:
    customer, request_id, _ = await world.completed()
    history = told(customer, "approve", request_id, Outcome.DONE)
    assert "answered as done 1 times" in (await verdict_on(platform, request_id, history))[0]


async def test_a_deed_in_spite_of_a_refusal_is_found(world: World, platform: Platform) -> None:
    _, request_id, (winner,) = await world.completed()
    refused = told(winner, "complete", request_id, Outcome.REFUSED)
    assert "sent 0 times" in (await verdict_on(platform, request_id, refused))[0]
    lost = told(winner, "complete", request_id, Outcome.UNKNOWN, lost=1)
    assert await verdict_on(platform, request_id, lost) == []


async def test_a_creation_that_is_not_there_is_found(world: World, platform: Platform) -> None:
    customer = await world.person()
    history = told(customer, "create", None, Outcome.DONE)
    missing = history.operations[0].body["id"]
    assert await verdict_on(platform, missing, history) == [f"{missing} was answered as created and is not there"]


async def test_a_status_that_no_transition_set_is_found(world: World, platform: Platform) -> None:
    _, request_id, _ = await world.lead()
    await world.execute(
        "UPDATE service_requests SET status = 'IN_PROGRESS' WHERE id = cast(:id AS uuid)", id=request_id
    )
    assert "its trail ends with PURCHASED" in (await verdict_on(platform, request_id))[0]


async def test_a_step_that_is_not_declared_is_found(world: World, platform: Platform) -> None:
    _, request_id, _ = await world.lead()
    await world.execute(
        "INSERT INTO audit_trail (subject_type, subject_id, action, from_status, to_status)"
        " VALUES ('service_request', cast(:id AS uuid), 'approve', 'PURCHASED', 'APPROVED')",
        id=request_id,
    )
    assert any("is not declared" in fault for fault in await verdict_on(platform, request_id))


async def test_a_lost_event_and_one_too_many_are_found(world: World, platform: Platform) -> None:
    _, request_id, _ = await world.completed()
    removed = "DELETE FROM events WHERE subject_id = cast(:id AS uuid) AND name = 'service_request.completed'"
    await world.execute(removed, id=request_id)
    assert "0 events for 1 steps" in (await verdict_on(platform, request_id))[0]
    _, request_id, _ = await world.completed()
    await world.execute(
        "INSERT INTO events (id, name, subject_type, subject_id, payload) SELECT gen_random_uuid(), name,"
        " subject_type, subject_id, payload FROM events WHERE subject_id = cast(:id AS uuid)"
        " AND name = 'service_request.completed'",
        id=request_id,
    )
    assert "2 events for 1 steps" in (await verdict_on(platform, request_id))[0]

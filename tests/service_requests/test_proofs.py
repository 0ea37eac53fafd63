"""Proof of work: one's own, used once, and gone with a lost race (leads.md: Race, Proof)."""

import asyncio
from collections import Counter
from uuid import UUID

from app.core.actor import Actor
from app.kernel import files
from app.models.service_requests import ServiceRequestStatus as Status
from tests.service_requests.conftest import PATH, Cast, succeed
from tests.support.world import Person, World


async def complete(person: Person, request_id: str, proof_id: str) -> int:
    return (await person.post(f"{PATH}/{request_id}/complete", {"proof_id": proof_id})).status_code


async def test_a_proof_that_is_not_ones_own_unused_proof_is_refused(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    used = (await world.trail(await cast.request(Status.COMPLETED)))[-1]["details"]["proof_id"]
    wrong = {
        "of somebody else": await cast.purchaser.upload(),
        "of another purpose": await cast.winner.upload("photo"),
        "used": used,
        "unknown": str(cast.customer.id),
    }
    for what, proof_id in wrong.items():
        async with world.unchanged():
            answer = await cast.winner.post(f"{PATH}/{request_id}/complete", {"proof_id": proof_id})
        assert (answer.status_code, answer.json()["code"]) == (422, "proof_refused"), what
    async with world.unchanged():
        assert (await cast.winner.post(f"{PATH}/{request_id}/complete", {})).status_code == 422


async def test_one_proof_for_twenty_requests_at_once_completes_one(world: World, cast: Cast) -> None:
    # Given a provider with twenty leads and one proof
    requests = [await world.request(cast.customer) for _ in range(20)]
    await asyncio.gather(*(succeed(cast.matching.post(f"{PATH}/{each}/purchase")) for each in requests))
    proof_id = await cast.matching.upload()
    # When they hand it in everywhere at once
    codes = await asyncio.gather(*(complete(cast.matching, each, proof_id) for each in requests))
    # Then it counts once, and belongs to that request
    assert Counter(codes) == {200: 1, 422: 19}
    (file,) = await world.rows("files", id=UUID(proof_id))
    assert str(file["subject_id"]) == requests[codes.index(200)]
    rows = await world.rows("service_requests", proof_id=UUID(proof_id))
    assert [str(row["id"]) for row in rows] == [str(file["subject_id"])]
    await asyncio.gather(*(cast.customer.post(f"{PATH}/{each}/cancel", {"reason": "x"}) for each in requests))


async def test_handing_in_twice_at_once_does_not_lose_the_winners_proof(world: World, cast: Cast) -> None:
    for _ in range(5):
        request_id = await cast.request(Status.PURCHASED)
        proof_id = await cast.winner.upload()
        codes = await asyncio.gather(*(complete(cast.winner, request_id, proof_id) for _ in range(10)))
        assert codes.count(200) == 1
        assert set(codes) <= {200, 409, 422}
        # The very call that lost to itself wanted to discard this proof.
        assert (await cast.customer.get(f"/api/v1/files/{proof_id}")).status_code == 200
        assert proof_id in await world.platform.storage.keys()


async def test_a_proof_that_is_being_discarded_wins_nothing(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    proof_id = await cast.winner.upload()
    # Given a proof that the sweep has in hand
    async with world.platform.database.write() as session:
        connection = await world.hold(session, proof_id, table="files")
        completing = asyncio.create_task(complete(cast.winner, request_id, proof_id))
        await world.waits(1)
        await connection.execute("UPDATE files SET discarded_at = now() WHERE id = $1", UUID(proof_id))
    # When it is completed with at this moment, then it is refused
    assert await completing == 422
    assert (await cast.customer.get(f"{PATH}/{request_id}")).json()["status"] == "PURCHASED"
    await files.sweep(world.platform)


async def test_a_losers_proof_is_removed(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.COMPLETED)
    proof_id = await cast.purchaser.upload()
    async with world.unchanged(but=["files", "objects"]):
        answer = await cast.purchaser.post(f"{PATH}/{request_id}/complete", {"proof_id": proof_id})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_completed")
    assert answer.json()["current_status"] == "COMPLETED"
    assert await world.rows("files", id=UUID(proof_id)) == []
    assert proof_id not in await world.platform.storage.keys()


async def test_losing_does_not_remove_what_belongs_to_others(world: World, cast: Cast) -> None:
    # Given a completed request, and the proof of somebody else for another one
    request_id = await cast.request(Status.COMPLETED)
    others = await cast.matching.upload()
    # When the loser names it
    async with world.unchanged():
        answer = await cast.purchaser.post(f"{PATH}/{request_id}/complete", {"proof_id": others})
    assert answer.status_code == 409
    assert others in await world.platform.storage.keys()
    await files.discard(world.platform, Actor(cast.matching.id), UUID(others))


ROLES = {
    "customer": (True, True), "winner": (True, True), "purchaser": (True, False), "matching": (False, False),
    "not_matching": (False, False), "stranger": (False, False), "support": (True, True), "manager": (True, True),
    "other_manager": (False, False), "admin": (True, True),
}  # fmt: skip


async def test_who_may_open_the_photos_and_the_proof_of_a_completed_request(world: World, cast: Cast) -> None:
    # Given a completed request with a photo and a proof
    photo_id = await cast.customer.upload("photo")
    request_id = await world.request(cast.customer, photo_ids=[photo_id])
    # While it was open, whoever matched saw the photo
    assert (await cast.matching.get(f"/api/v1/files/{photo_id}")).status_code == 200
    for buyer in (cast.winner, cast.purchaser):
        await succeed(buyer.post(f"{PATH}/{request_id}/purchase"))
    proof_id = await cast.winner.upload()
    assert await complete(cast.winner, request_id, proof_id) == 200
    # Now only those whom it concerns see it, and fewer of them the proof
    for role, expected in ROLES.items():
        async with world.unchanged():
            photo = await cast.person(role).get(f"/api/v1/files/{photo_id}")
            proof = await cast.person(role).get(f"/api/v1/files/{proof_id}")
        assert (photo.status_code == 200, proof.status_code == 200) == expected, role
        assert {photo.status_code, proof.status_code} <= {200, 404}

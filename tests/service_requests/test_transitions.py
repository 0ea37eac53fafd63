"""Each transition as it should go: what is recorded, who did it, and who hears of it (leads.md, the table)."""

from uuid import UUID

from app.jobs import clock
from app.models.service_requests import ServiceRequestStatus as Status
from tests.service_requests.conftest import PATH, Cast, fall_due, make_due, succeed
from tests.support.world import ANSWERS, FAR_AWAY, HERE, World


async def last_step(world: World, subject_id: str) -> tuple[str, str | None, str | None, UUID | None, str | None]:
    row = (await world.trail(subject_id))[-1]
    return row["action"], row["from_status"], row["to_status"], row["actor_id"], row["reason"]


async def test_creating_tells_matching_providers_and_nobody_else(world: World, cast: Cast) -> None:
    # Given providers who match, and others: not approved, of another trade, too far away, at their weekly cap
    waiting = await world.provider(approved=False)
    painter = await world.provider(offers=("painting",))
    thrifty = await world.provider()
    await succeed(thrifty.call("PATCH", "/api/v1/me/provider", json={"weekly_lead_budget_minor": 4999}))
    # When a request is posted
    request_id = await world.request(cast.customer)
    # Then it is pending, its making is on record, and exactly the matching ones hear of it
    assert await last_step(world, request_id) == ("create", None, "PENDING", cast.customer.id, None)
    ((name, told),) = await world.told(request_id)
    assert name == "service_request.created"
    assert {cast.winner.id, cast.purchaser.id, cast.matching.id} <= told
    outsiders = (waiting, painter, thrifty, cast.not_matching, cast.customer, cast.stranger, cast.admin, cast.support)
    assert told.isdisjoint({person.id for person in outsiders})


async def test_a_provider_does_not_hear_of_the_own_request(world: World, cast: Cast) -> None:
    request_id = await world.request(cast.matching)
    ((_, told),) = await world.told(request_id)
    assert cast.winner.id in told
    assert cast.matching.id not in told
    async with world.unchanged():
        refused = await cast.matching.post(f"{PATH}/{request_id}/purchase")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_matching")


async def test_purchase_tells_the_customer(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PENDING)
    balance = await world.balance(cast.purchaser)
    answer = await succeed(cast.purchaser.post(f"{PATH}/{request_id}/purchase"))
    assert answer.json()["fee_minor"] == 5000
    assert await world.balance(cast.purchaser) == balance - 5000
    assert await last_step(world, request_id) == ("purchase", "PENDING", "PURCHASED", cast.purchaser.id, None)
    assert (await world.told(request_id))[1:] == [("service_request.purchased", {cast.customer.id})]
    # The fee is one entry between the provider's wallet and the platform's fees, named after the lead.
    (entry,) = await world.rows("entries", idempotency_key=f"lead_fee:{answer.json()['id']}")
    postings = await world.rows("postings", entry_id=entry["id"])
    assert sorted(posting["amount"] for posting in postings) == [-5000, 5000]
    # A second buyer leaves the status as it is.
    await succeed(cast.winner.post(f"{PATH}/{request_id}/purchase"))
    assert await last_step(world, request_id) == ("purchase", "PURCHASED", "PURCHASED", cast.winner.id, None)


async def test_start_tells_the_customer(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    await succeed(cast.purchaser.post(f"{PATH}/{request_id}/start"))
    assert await last_step(world, request_id) == ("start", "PURCHASED", "IN_PROGRESS", cast.purchaser.id, None)
    assert ("service_request.started", {cast.customer.id}) in await world.told(request_id)
    # Once begun, the request cannot expire any more.
    assert await world.rows("deadlines", subject_id=UUID(request_id)) == []


async def test_a_purchase_puts_the_expiry_off(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PENDING)
    (before,) = await world.rows("deadlines", subject_id=UUID(request_id))
    await world.execute(
        "UPDATE deadlines SET due_at = due_at - interval '29 days' WHERE subject_id = cast(:id AS uuid)", id=request_id
    )
    await succeed(cast.purchaser.post(f"{PATH}/{request_id}/purchase"))
    (after,) = await world.rows("deadlines", subject_id=UUID(request_id))
    assert after["due_at"] >= before["due_at"]


async def test_complete_records_the_winner_and_tells_the_losers(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.IN_PROGRESS)
    proof_id = await cast.purchaser.upload()
    body = {"proof_id": proof_id, "notes": "a new washer"}
    answer = await succeed(cast.purchaser.post(f"{PATH}/{request_id}/complete", body))
    assert answer.json()["completed_by"] == str(cast.purchaser.id)
    step = (await world.trail(request_id))[-1]
    assert (step["action"], step["actor_id"]) == ("complete", cast.purchaser.id)
    assert step["details"] == {"proof_id": proof_id, "notes": "a new washer"}
    assert (await world.told(request_id))[-2:] == [
        ("service_request.completed", {cast.customer.id}),
        ("service_request.lost", {cast.winner.id}),
    ]
    (file,) = await world.rows("files", id=UUID(proof_id))
    assert (file["subject_type"], str(file["subject_id"])) == ("service_request", request_id)


async def test_approve_assigns_the_winner(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.COMPLETED)
    before = (await cast.customer.get(f"{PATH}/{request_id}")).json()
    assert before["assigned_provider_id"] is None
    answer = await succeed(cast.customer.post(f"{PATH}/{request_id}/approve"))
    assert answer.json()["assigned_provider_id"] == str(cast.winner.id)
    assert await last_step(world, request_id) == ("approve", "COMPLETED", "APPROVED", cast.customer.id, None)
    assert (await world.told(request_id))[-1] == ("service_request.approved", {cast.winner.id})


async def test_send_back_reopens_the_race(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.COMPLETED)
    answer = await succeed(cast.customer.post(f"{PATH}/{request_id}/send-back", {"reason": "It drips still."}))
    # The winner is no winner any more, the reason is kept and shown, all buyers hear of it
    state = answer.json()
    assert (state["completed_by"], state["proof_id"], state["notes"]) == (None, None, None)
    step = ("send_back", "COMPLETED", "IN_PROGRESS", cast.customer.id, "It drips still.")
    assert await last_step(world, request_id) == step
    both = {cast.winner.id, cast.purchaser.id}
    assert (await world.told(request_id))[-1] == ("service_request.sent_back", both)
    seen = (await cast.purchaser.get(f"{PATH}/{request_id}")).json()
    assert seen["send_back_reason"] == "It drips still."
    # and the other one may win now, with a proof of their own; the old proof is used up
    async with world.unchanged():
        old = (await world.trail(request_id))[-2]["details"]["proof_id"]
        refused = await cast.winner.post(f"{PATH}/{request_id}/complete", {"proof_id": old})
        assert (refused.status_code, refused.json()["code"]) == (422, "proof_refused")
    proof = {"proof_id": await cast.purchaser.upload()}
    await succeed(cast.purchaser.post(f"{PATH}/{request_id}/complete", proof))
    await succeed(cast.customer.post(f"{PATH}/{request_id}/approve"))
    assert (await cast.customer.get(f"{PATH}/{request_id}")).json()["assigned_provider_id"] == str(cast.purchaser.id)


async def test_cancel_keeps_the_reason_and_tells_the_buyers(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    await succeed(cast.customer.post(f"{PATH}/{request_id}/cancel", {"reason": "We moved."}))
    assert await last_step(world, request_id) == ("cancel", "PURCHASED", "CANCELLED", cast.customer.id, "We moved.")
    assert (await world.told(request_id))[-1] == ("service_request.cancelled", {cast.winner.id, cast.purchaser.id})
    assert (await cast.winner.get(f"{PATH}/{request_id}")).json()["cancel_reason"] == "We moved."
    assert await world.rows("deadlines", subject_id=UUID(request_id)) == []


async def test_expire_tells_the_customer_and_the_buyers(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    balance = await world.balance(cast.purchaser)
    await fall_due(world, request_id)
    assert await last_step(world, request_id) == ("expire", "PURCHASED", "EXPIRED", None, None)
    everybody = {cast.customer.id, cast.winner.id, cast.purchaser.id}
    assert (await world.told(request_id))[-1] == ("service_request.expired", everybody)
    assert await world.balance(cast.purchaser) == balance + 5000
    assert await world.rows("deadlines", subject_id=UUID(request_id)) == []
    await world.books_are_clean()


async def test_the_clock_does_not_expire_what_is_not_due(world: World, cast: Cast) -> None:
    await cast.request(Status.PENDING)
    await clock.tick(world.platform)
    async with world.unchanged():
        assert await clock.tick(world.platform) == 0


async def test_a_deadline_of_a_request_that_moved_on_changes_nothing(world: World, cast: Cast) -> None:
    # Given a request in progress with a deadline, which a purchase in that state leaves behind
    request_id = await cast.request(Status.IN_PROGRESS)
    await succeed(cast.matching.post(f"{PATH}/{request_id}/purchase"))
    await make_due(world, request_id)
    # When it falls due, then it goes away and the request stays
    async with world.unchanged(but=["deadlines"]):
        await clock.tick(world.platform)
    assert await world.rows("deadlines", subject_id=UUID(request_id)) == []
    assert (await cast.customer.get(f"{PATH}/{request_id}")).json()["status"] == "IN_PROGRESS"


async def test_a_request_needs_a_region_known_answers_and_own_photos(world: World, cast: Cast) -> None:
    nowhere = {"latitude": -50.0, "longitude": 10.0}
    strangers = await cast.stranger.upload("photo")
    wanted = {
        "service_id": str(world.services["plumbing"]), "description": "Drip", "answers": ANSWERS,
        "address": "1 Road", "position": HERE.model_dump(),
    }  # fmt: skip
    for change, code, name in (
        ({"position": nowhere}, 422, "outside_of_all_regions"),
        ({"answers": {"problem": "dragons", "water_running": True}}, 422, "answers_refused"),
        ({"answers": {}}, 422, "answers_refused"),
        ({"answers": ANSWERS | {"unasked": "x"}}, 422, "answers_refused"),
        ({"photo_ids": [strangers]}, 422, "unknown_file"),
        ({"service_id": str(cast.customer.id)}, 404, "not_found"),
        ({"budget_minor": 0}, 422, "validation_failed"),
        ({"status": "APPROVED"}, 422, "validation_failed"),
        ({"description": "   "}, 422, "validation_failed"),
        ({"address": "nul\x00"}, 422, "validation_failed"),
    ):
        async with world.unchanged():
            answer = await cast.customer.post(PATH, wanted | change)
        assert (answer.status_code, answer.json()["code"]) == (code, name), change


async def test_providers_far_away_hear_of_requests_there(world: World, cast: Cast) -> None:
    request_id = await world.request(cast.customer, at=FAR_AWAY)
    ((_, told),) = await world.told(request_id)
    assert cast.not_matching.id in told
    assert cast.matching.id not in told

"""The paths and field names of client apps that exist already (spec/README.md: Documented paths)."""

import asyncio
from collections import Counter

import httpx
import pytest

from app.models.service_requests import ServiceRequestStatus as Status
from tests.service_requests.conftest import PATH, Cast, succeed
from tests.support.world import Person, World, picture

COMPLETE = "/api/v1/service-request/complete"
STATUS = "/api/v1/service-request/status"


async def hand_in(
    person: Person, request_id: str, content: bytes | None = None, notes: str | None = "a new washer"
) -> httpx.Response:
    return await person.post(
        COMPLETE,
        data={"requestId": request_id} | ({"notes": notes} if notes is not None else {}),
        files={"completionProof": ("proof.jpg", content or picture(), "image/jpeg")},
    )


async def set_status(person: Person, request_id: str, status: str, **more: str) -> httpx.Response:
    return await person.call("PATCH", STATUS, json={"requestId": request_id, "status": status} | more)


async def test_complete_uploads_the_proof_and_wins(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    answer = await succeed(hand_in(cast.winner, request_id))
    state = answer.json()
    assert (state["status"], state["completed_by"], state["notes"]) == (
        "COMPLETED", str(cast.winner.id), "a new washer",
    )  # fmt: skip
    assert state["proof_id"] in await world.platform.storage.keys()
    assert (await cast.customer.get(f"/api/v1/files/{state['proof_id']}")).status_code == 200


async def test_notes_may_be_left_out(cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    assert (await succeed(hand_in(cast.winner, request_id, notes=None))).json()["notes"] is None


async def test_of_five_who_hand_in_at_once_one_wins_and_one_proof_stays(world: World) -> None:
    _, request_id, providers = await world.lead(buyers=5)
    before = set(await world.platform.storage.keys())
    answers = await asyncio.gather(*(hand_in(provider, request_id) for provider in providers))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 4}
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"already_completed"}
    (winner,) = [answer.json() for answer in answers if answer.is_success]
    kept = {winner["proof_id"], f"{winner['proof_id']}.thumbnail"}
    assert set(await world.platform.storage.keys()) - before == kept
    assert [name for name, _ in await world.told(request_id)].count("service_request.completed") == 1


@pytest.mark.parametrize(
    ("role", "status", "code", "name"),
    [
        ("customer", Status.PURCHASED, 403, "role_required"),
        ("stranger", Status.PURCHASED, 403, "role_required"),
        ("not_matching", Status.PURCHASED, 404, "not_found"),
        ("matching", Status.PURCHASED, 403, "not_a_purchaser"),
        ("purchaser", Status.CANCELLED, 409, "illegal_transition"),
        ("purchaser", Status.EXPIRED, 409, "illegal_transition"),
        ("purchaser", Status.COMPLETED, 409, "already_completed"),
        ("winner", Status.COMPLETED, 409, "already_completed"),
        ("purchaser", Status.APPROVED, 409, "already_completed"),
    ],
)
async def test_whoever_may_not_complete_leaves_no_file_behind(
    world: World, cast: Cast, role: str, status: Status, code: int, name: str
) -> None:
    request_id = await cast.request(status)
    async with world.unchanged():
        answer = await hand_in(cast.person(role), request_id)
    assert (answer.status_code, answer.json()["code"]) == (code, name), answer.text


async def test_what_is_no_proof_is_refused(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    async with world.unchanged():
        script = await hand_in(cast.winner, request_id, b"<script>alert(1)</script>")
        nothing = await cast.winner.post(COMPLETE, data={"requestId": request_id})
        no_id = await cast.winner.post(COMPLETE, files={"completionProof": ("a.jpg", picture())})
        long = await hand_in(cast.winner, request_id, notes="x" * 2001)
        nul = await hand_in(cast.winner, request_id, notes="a\x00b")
    assert [answer.status_code for answer in (script, nothing, no_id, long, nul)] == [415, 422, 422, 422, 422]


async def test_approved_approves(cast: Cast) -> None:
    request_id = await cast.request(Status.COMPLETED)
    answer = await succeed(set_status(cast.customer, request_id, "APPROVED"))
    assert answer.json()["assigned_provider_id"] == str(cast.winner.id)


async def test_in_progress_of_a_purchaser_starts(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    assert (await succeed(set_status(cast.winner, request_id, "IN_PROGRESS"))).json()["status"] == "IN_PROGRESS"
    assert (await world.trail(request_id))[-1]["action"] == "start"


async def test_in_progress_of_the_customer_sends_back(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.COMPLETED)
    answer = await succeed(set_status(cast.customer, request_id, "IN_PROGRESS", reason="It drips."))
    assert (answer.json()["status"], answer.json()["send_back_reason"]) == ("IN_PROGRESS", "It drips.")
    assert (await world.trail(request_id))[-1]["action"] == "send_back"


async def test_cancelled_cancels_and_refunds(world: World, cast: Cast) -> None:
    request_id = await cast.request(Status.PURCHASED)
    balance = await world.balance(cast.winner)
    answer = await succeed(set_status(cast.customer, request_id, "CANCELLED"))
    assert answer.json()["status"] == "CANCELLED"
    assert answer.json()["cancel_reason"]
    assert await world.balance(cast.winner) == balance + 5000
    await world.books_are_clean()


@pytest.mark.parametrize(
    ("role", "status", "wanted", "code", "name"),
    [
        ("customer", Status.PENDING, "APPROVED", 409, "nothing_to_approve"),
        ("customer", Status.PURCHASED, "IN_PROGRESS", 409, "illegal_transition"),
        ("customer", Status.COMPLETED, "CANCELLED", 409, "illegal_transition"),
        ("winner", Status.COMPLETED, "APPROVED", 403, "not_the_customer"),
        ("winner", Status.COMPLETED, "IN_PROGRESS", 409, "illegal_transition"),
        ("winner", Status.PURCHASED, "CANCELLED", 403, "not_the_customer"),
        ("matching", Status.PURCHASED, "IN_PROGRESS", 403, "not_the_customer"),
        ("stranger", Status.COMPLETED, "APPROVED", 404, "not_found"),
        ("stranger", Status.PURCHASED, "IN_PROGRESS", 404, "not_found"),
        ("stranger", Status.PURCHASED, "CANCELLED", 404, "not_found"),
        ("admin", Status.COMPLETED, "APPROVED", 403, "not_the_customer"),
        ("customer", Status.PURCHASED, "COMPLETED", 422, "validation_failed"),
        ("customer", Status.PURCHASED, "EXPIRED", 422, "validation_failed"),
        ("customer", Status.PURCHASED, "PENDING", 422, "validation_failed"),
    ],
)
async def test_the_status_path_allows_no_more_than_the_others(
    world: World, cast: Cast, role: str, status: Status, wanted: str, code: int, name: str
) -> None:
    request_id = await cast.request(status)
    async with world.unchanged():
        answer = await set_status(cast.person(role), request_id, wanted)
    assert (answer.status_code, answer.json()["code"]) == (code, name), answer.text
    assert (await cast.customer.get(f"{PATH}/{request_id}")).json()["status"] == status


async def test_an_unknown_request_is_not_found(world: World, cast: Cast) -> None:
    async with world.unchanged():
        for wanted in ("APPROVED", "IN_PROGRESS", "CANCELLED"):
            assert (await set_status(cast.customer, str(cast.admin.id), wanted)).status_code == 404
        assert (await hand_in(cast.winner, str(cast.admin.id))).status_code == 404


async def test_the_documentation_tells_aliases_apart(world: World) -> None:
    paths = (await world.http.get("/openapi.json")).json()["paths"]
    assert paths[COMPLETE]["post"]["tags"] == paths[STATUS]["patch"]["tags"] == ["documented aliases"]

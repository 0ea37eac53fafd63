"""Every status, every action, everybody, over HTTP: drawn from the declared lifecycles, judged by leads.md."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from app.kernel.lifecycle import LIFECYCLES
from app.models.service_requests import LeadStatus
from app.models.service_requests import ServiceRequestStatus as Status
from tests.service_requests.conftest import OPEN, PATH, Cast, succeed
from tests.support.world import Person, World

ROLES = (
    "customer", "winner", "purchaser", "matching", "not_matching", "stranger", "support", "manager", "other_manager",
    "admin",
)  # fmt: skip
STAFF = {"support", "manager", "admin"}
BUYERS = {"winner", "purchaser"}
PROVIDERS = BUYERS | {"matching", "not_matching"}

# leads.md, word for word: who, from, to.
SPECIFIED = {
    "purchase": (BUYERS | {"matching"}, OPEN, {Status.PENDING: Status.PURCHASED}),
    "start": (BUYERS, (Status.PURCHASED,), Status.IN_PROGRESS),
    "complete": (BUYERS, (Status.PURCHASED, Status.IN_PROGRESS), Status.COMPLETED),
    "approve": ({"customer"}, (Status.COMPLETED,), Status.APPROVED),
    "send_back": ({"customer"}, (Status.COMPLETED,), Status.IN_PROGRESS),
    "cancel": ({"customer"}, OPEN, Status.CANCELLED),
    "expire": (set[str](), (Status.PENDING, Status.PURCHASED), Status.EXPIRED),
}
NEEDS_PROVIDER = {"purchase", "start", "complete"}

REQUESTS = LIFECYCLES["service_request"].declared
LEADS = LIFECYCLES["lead"].declared
CASES = [
    (status, action, role)
    for status in REQUESTS.statuses
    for action, transition in REQUESTS.transitions.items()
    if transition.allowed is not None
    for role in ROLES
]


def test_the_declared_table_is_the_specified_one() -> None:
    assert REQUESTS.transitions.keys() == SPECIFIED.keys()
    for action, (_, sources, target) in SPECIFIED.items():
        assert REQUESTS.transitions[action].sources == set(sources)
        assert REQUESTS.transitions[action].target == target


def stands(role: str, status: Status) -> str:
    """Before anybody has bought, those who will buy are providers who match, as others."""
    return "matching" if status is Status.PENDING and role in BUYERS else role


def sees(role: str, status: Status) -> bool:
    return role in STAFF | {"customer"} | BUYERS or (role == "matching" and status in OPEN)


def expected(role: str, action: str, status: Status) -> tuple[int, str | None]:
    """The status code that leads.md gives, and the code of the refusal."""
    who, sources, _ = SPECIFIED[action]
    if action in NEEDS_PROVIDER and role not in PROVIDERS:
        return 403, "role_required"
    if not sees(role, status):
        return 404, "not_found"
    if role not in who:
        return 403, {"purchase": "not_matching", "start": "not_a_purchaser", "complete": "not_a_purchaser"}.get(
            action, "not_the_customer"
        )
    if action == "purchase" and status in OPEN and role in BUYERS:
        return 409, "already_purchased"
    if status in sources:
        return 201 if action == "purchase" else 200, None
    if action == "complete" and status in (Status.COMPLETED, Status.APPROVED):
        return 409, "already_completed"
    if action == "approve" and status in OPEN:
        return 409, "nothing_to_approve"
    return 409, "illegal_transition"


async def attempt(person: Person, request_id: str, action: str, proof_id: str | None) -> httpx.Response:
    body: dict[str, Any] | None = None
    if action in {"send_back", "cancel"}:
        body = {"reason": "because"}
    if action == "complete":
        body = {"proof_id": proof_id, "notes": "a new washer"}
    return await person.post(f"{PATH}/{request_id}/{action.replace('_', '-')}", body)


@pytest.fixture(scope="module")
async def requests(cast: Cast) -> dict[Status, str]:
    """One request in each status, for all refusals: they leave no trace on it."""
    return {status: await cast.request(status) for status in Status}


@pytest.mark.parametrize(("status", "action", "role"), CASES)
async def test_everybody_in_every_status(
    cast: Cast, requests: dict[Status, str], status: Status, action: str, role: str
) -> None:
    # Given somebody and a request in this status
    person, stand = cast.person(role), stands(role, status)
    code, refusal = expected(stand, action, status)
    request_id = await cast.request(status) if refusal is None else requests[status]
    proof_id = await person.upload() if action == "complete" else None
    if refusal is None:
        # When they do what they may, then it is done
        answer = await attempt(person, request_id, action, proof_id)
        assert answer.status_code == code, answer.text
        (row,) = await cast.world.rows("service_requests", id=UUID(request_id))
        assert [row["status"]] == REQUESTS.transitions[action].targets_from(status)
        await cast.world.books_are_clean()
        return
    # When they do what they may not, then nothing appears, and only a loser's proof goes
    gone = ("files", "objects") if refusal == "already_completed" else ()
    before = await cast.world.rows("service_requests", id=UUID(request_id))
    async with cast.world.unchanged(but=gone):
        answer = await attempt(person, request_id, action, proof_id)
    assert (answer.status_code, answer.json()["code"]) == (code, refusal), answer.text
    assert await cast.world.rows("service_requests", id=UUID(request_id)) == before
    if code == 409:
        problem = answer.json()
        assert problem["current_status"] == status
        allowed = {name for name, (who, sources, _) in SPECIFIED.items() if stand in who and status in sources}
        bought = {"purchase"} if stand in BUYERS else set()
        assert set(problem["allowed_actions"]) == allowed - bought
    if proof_id is not None:
        assert (await person.get(f"/api/v1/files/{proof_id}")).is_success == (not gone)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("status", list(Status))
async def test_reading_follows_the_same_line(
    cast: Cast, requests: dict[Status, str], status: Status, role: str
) -> None:
    answer = await cast.person(role).get(f"{PATH}/{requests[status]}")
    assert answer.status_code == (200 if sees(stands(role, status), status) else 404), answer.text


async def test_nobody_without_a_session_gets_anywhere(cast: Cast, requests: dict[Status, str]) -> None:
    async with cast.world.unchanged():
        for action in ("purchase", "start", "complete", "approve", "send-back", "cancel"):
            answer = await cast.world.http.post(f"{PATH}/{requests[Status.PENDING]}/{action}", json={"reason": "x"})
            assert answer.status_code == 401


DECISIONS = {"accept_report", "refuse_report"}
LEAD_CASES = [
    (status, action, role)
    for status in LEADS.statuses
    for action, transition in LEADS.transitions.items()
    if transition.allowed is not None
    for role in ROLES
]
LEAD_SOURCES = {"report": LeadStatus.PAID, "accept_report": LeadStatus.REPORTED, "refuse_report": LeadStatus.REPORTED}


async def bring_lead_to(world: World, cast: Cast, status: LeadStatus) -> str:
    """A lead that `purchaser` bought, in this status; its id."""
    request_id = await world.request(cast.customer)
    for buyer in (cast.winner, cast.purchaser):
        bought = await succeed(buyer.post(f"{PATH}/{request_id}/purchase"))
    lead_id = str(bought.json()["id"])
    if status is not LeadStatus.PAID:
        await succeed(cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", {"reason": "spam", "note": "not a soul"}))
    if status in (LeadStatus.REFUSED, LeadStatus.REFUNDED):
        verb = "accept" if status is LeadStatus.REFUNDED else "refuse"
        await succeed(cast.support.post(f"/api/v1/leads/{lead_id}/{verb}-report", {"reason": "we called"}))
    return lead_id


@pytest.fixture(scope="module")
async def leads(world: World, cast: Cast) -> dict[LeadStatus, str]:
    return {status: await bring_lead_to(world, cast, status) for status in LeadStatus}


def lead_expected(role: str, action: str, status: LeadStatus) -> tuple[int, str | None]:
    if action == "report" and role not in PROVIDERS:
        return 403, "role_required"
    if action in DECISIONS and role not in STAFF | {"other_manager"}:
        return 403, "role_required"
    if role not in STAFF | {"purchaser"}:
        return 404, "not_found"
    return (200, None) if status is LEAD_SOURCES[action] else (409, "illegal_transition")


@pytest.mark.parametrize(("status", "action", "role"), LEAD_CASES)
async def test_everybody_with_a_lead_in_every_status(
    world: World, cast: Cast, leads: dict[LeadStatus, str], status: LeadStatus, action: str, role: str
) -> None:
    code, refusal = lead_expected(role, action, status)
    lead_id = await bring_lead_to(world, cast, status) if refusal is None else leads[status]
    body = {"reason": "spam", "note": "nobody there"} if action == "report" else {"reason": "we called"}
    path = f"/api/v1/leads/{lead_id}/{action.replace('_', '-')}"
    if refusal is None:
        answer = await cast.person(role).post(path, body)
        assert answer.status_code == code, answer.text
        assert answer.json()["status"] == LEADS.transitions[action].target
        await world.books_are_clean()
        return
    before = await world.rows("lead_purchases", id=UUID(lead_id))
    async with world.unchanged():
        answer = await cast.person(role).post(path, body)
    assert (answer.status_code, answer.json()["code"]) == (code, refusal), answer.text
    assert await world.rows("lead_purchases", id=UUID(lead_id)) == before
    if code == 409:
        mine = {"report"} if role == "purchaser" else DECISIONS
        assert answer.json()["current_status"] == status
        assert set(answer.json()["allowed_actions"]) == {name for name in mine if LEAD_SOURCES[name] is status}

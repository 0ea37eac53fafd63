"""The review of providers: who decides what, what is recorded, and who hears of it."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from app.core.config import Settings
from app.models.users import Role
from app.schemas.base import Position
from tests.providers.steps import APPLY, application, decide, is_found, new_region, same_row, somewhere
from tests.support.world import HERE, Person, World
from tests.users.steps import elsewhere, events_of, eventually, instance

# How to get there, as the admin.
PATHS: dict[str, list[str]] = {
    "pending": [], "approved": ["approve"], "rejected": ["reject"], "suspended": ["approve", "suspend"],
    "banned": ["approve", "ban"],
}  # fmt: skip

TARGETS = {
    ("pending", "approve"): "approved", ("pending", "reject"): "rejected", ("approved", "suspend"): "suspended",
    ("suspended", "reinstate"): "approved", ("approved", "ban"): "banned", ("suspended", "ban"): "banned",
}  # fmt: skip


async def in_state(world: World, status: str, at: Position = HERE) -> Person:
    provider = await world.provider(at=at, approved=False, funds_minor=0)
    for action in PATHS[status]:
        assert (await decide(world.admin, provider, action)).status_code == 200
    return provider


async def profile(provider: Person) -> dict[str, Any]:
    answer: dict[str, Any] = (await provider.get("/api/v1/me/provider")).json()
    return answer


async def test_an_approved_provider_may_work_at_once_with_the_tokens_they_have(world: World) -> None:
    # Given an applicant who is signed in
    place = somewhere()
    provider = await in_state(world, "pending", place)
    assert (await provider.call("PATCH", "/api/v1/me/provider", json={"bio": "x"})).status_code == 403
    # When the region's manager approves
    answer = await decide(world.manager, provider, "approve")
    # Then the very next request is a provider's
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")
    assert answer.json()["approved_at"] is not None
    assert (await provider.call("PATCH", "/api/v1/me/provider", json={"bio": "x"})).status_code == 200
    assert (await provider.get("/api/v1/me")).json()["roles"] == ["customer", "provider"]
    assert await is_found(world, provider, at=place)
    assert len(await events_of(world, provider.id, "provider.approved")) == 1


async def test_an_approval_reaches_other_instances_soon(configured: Settings, world: World) -> None:
    provider = await in_state(world, "pending")
    async with instance(configured) as other:
        there = elsewhere(provider, other.http)
        assert (await there.call("PATCH", "/api/v1/me/provider", json={"bio": "x"})).status_code == 403
        await decide(world.manager, provider, "approve")

        async def approved() -> bool:
            return (await there.call("PATCH", "/api/v1/me/provider", json={"bio": "x"})).status_code == 200

        await eventually(approved, within=1.5)


async def test_a_rejection_is_told_with_its_reason_and_kept(world: World) -> None:
    # When the manager rejects
    provider = await in_state(world, "pending")
    answer = await decide(world.manager, provider, "reject", "The licence has expired.")
    assert (answer.status_code, answer.json()["status"]) == (200, "rejected")
    # Then the applicant reads why, in the profile and in the feed
    assert (await profile(provider))["rejection_reason"] == "The licence has expired."
    (event,) = await events_of(world, provider.id, "provider.rejected")
    assert event["payload"] == {"provider_id": str(provider.id), "reason": "The licence has expired."}
    # And the row is kept, as deleted, and the decision is in the audit trail
    (row,) = await world.rows("providers", id=provider.id)
    assert row["deleted_at"] is not None
    assert row["approved_at"] is None
    (decision,) = await world.rows("audit_trail", subject_id=provider.id, action="reject")
    assert (decision["actor_id"], decision["from_status"], decision["to_status"], decision["reason"]) == (
        world.manager.id, "pending", "rejected", "The licence has expired.",
    )  # fmt: skip
    assert (await provider.get("/api/v1/me")).json()["roles"] == ["customer"]


async def test_a_suspended_provider_is_not_found_until_reinstated(world: World) -> None:
    place = somewhere()
    provider = await in_state(world, "approved", place)
    assert await is_found(world, provider, at=place)
    # When the manager suspends
    answer = await decide(world.manager, provider, "suspend", "Three complaints.")
    assert answer.json()["status_reason"] == "Three complaints."
    # Then nobody finds the provider, who knows why
    assert not await is_found(world, provider, at=place)
    assert (await profile(provider))["status_reason"] == "Three complaints."
    (event,) = await events_of(world, provider.id, "provider.suspended")
    assert event["payload"]["reason"] == "Three complaints."
    # And reinstated, they are back without a stain
    answer = await decide(world.manager, provider, "reinstate")
    assert (answer.json()["status"], answer.json()["status_reason"]) == ("approved", None)
    assert await is_found(world, provider, at=place)
    assert len(await events_of(world, provider.id, "provider.reinstated")) == 1


@pytest.mark.parametrize("status", ["approved", "suspended"])
async def test_a_ban_takes_the_role_at_once(world: World, status: str) -> None:
    place = somewhere()
    provider = await in_state(world, status, place)
    assert (await provider.call("PATCH", "/api/v1/me/provider", json={"bio": "x"})).status_code == 200
    # When the admin bans
    assert (await decide(world.admin, provider, "ban", "Fraud.")).json()["status"] == "banned"
    # Then the next request is not a provider's any more; as a customer they go on
    assert (await provider.call("PATCH", "/api/v1/me/provider", json={"bio": "x"})).status_code == 403
    assert (await provider.get("/api/v1/me")).json()["roles"] == ["customer"]
    assert not await is_found(world, provider, at=place)
    assert (await profile(provider))["status_reason"] == "Fraud."
    (event,) = await events_of(world, provider.id, "provider.banned")
    assert event["payload"]["reason"] == "Fraud."


async def test_a_manager_may_not_ban(world: World) -> None:
    provider = await in_state(world, "approved")
    async with world.unchanged(), same_row(world, provider):
        answer = await decide(world.manager, provider, "ban")
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


@pytest.mark.parametrize("action", ["approve", "reject", "suspend", "reinstate"])
async def test_the_manager_of_another_region_finds_nothing_to_decide(world: World, action: str) -> None:
    # Given a provider in the state in which the region's own manager could act
    stranger = (await new_region(world)).manager
    state = {"suspend": "approved", "reinstate": "suspended"}.get(action, "pending")
    provider = await in_state(world, state)
    # When another region's manager tries, then it answers like a provider who does not exist
    async with world.unchanged(), same_row(world, provider):
        answer = await decide(stranger, provider, action)
    unknown = await stranger.post(f"/api/v1/applications/{uuid4()}/approve")
    assert (answer.status_code, answer.json()) == (404, unknown.json())
    # And the region's own manager can
    assert (await decide(world.manager, provider, action)).status_code == 200


async def test_the_role_of_a_manager_without_a_region_decides_nothing(world: World) -> None:
    manager, provider = await world.person(Role.MANAGER), await in_state(world, "pending")
    async with world.unchanged(), same_row(world, provider):
        assert (await decide(manager, provider, "approve")).status_code == 404
    assert (await manager.get("/api/v1/applications")).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_a_manager_does_not_decide_about_their_own_application(world: World, action: str) -> None:
    # Given a manager who applies in the region that they manage
    region = await new_region(world)
    manager = region.manager
    assert (await manager.post(APPLY, application(world, at=region.centre))).status_code == 201
    # When they decide about it themselves, then they may not; the admin may
    async with world.unchanged(), same_row(world, manager):
        answer = await decide(manager, manager, action)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await decide(world.admin, manager, action)).status_code == 200


async def test_an_admin_does_not_reinstate_themselves(world: World) -> None:
    admin = await world.person(Role.ADMIN)
    assert (await admin.post(APPLY, application(world))).status_code == 201
    await decide(world.admin, admin, "approve")
    await decide(world.admin, admin, "suspend")
    async with world.unchanged(), same_row(world, admin):
        assert (await decide(admin, admin, "reinstate")).status_code == 403


@pytest.mark.parametrize("action", ["approve", "reject", "suspend", "reinstate", "ban"])
@pytest.mark.parametrize("status", list(PATHS))
async def test_every_decision_in_every_state(world: World, status: str, action: str) -> None:
    # Given a provider in each state
    provider = await in_state(world, status)
    # When each decision is tried
    if (status, action) in TARGETS:
        # Then it is taken where it makes sense
        answer = await decide(world.admin, provider, action)
        assert (answer.status_code, answer.json()["status"]) == (200, TARGETS[status, action])
        return
    async with world.unchanged(), same_row(world, provider):
        answer = await decide(world.admin, provider, action)
    # And is refused elsewhere, with what is possible instead
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
    possible = sorted(name for source, name in TARGETS if source == status)
    assert (answer.json()["current_status"], answer.json()["allowed_actions"]) == (status, possible)


async def test_what_a_manager_could_do_instead_leaves_out_what_only_admins_can(world: World) -> None:
    provider = await in_state(world, "approved")
    async with world.unchanged():
        answer = await decide(world.manager, provider, "approve")
    assert answer.json()["allowed_actions"] == ["suspend"]


async def test_of_opposite_decisions_at_once_one_is_taken(world: World) -> None:
    # Given five reviewers who approve and reject at the same instant
    provider = await in_state(world, "pending")
    answers = await asyncio.gather(
        *(decide(world.admin, provider, "approve") for _ in range(3)),
        *(decide(world.manager, provider, "reject") for _ in range(2)),
    )
    # Then one decision stands, and one event tells of it
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    told = [len(await events_of(world, provider.id, f"provider.{fate}")) for fate in ("approved", "rejected")]
    assert sum(told) == 1
    status = next(answer for answer in answers if answer.is_success).json()["status"]
    assert told == ([1, 0] if status == "approved" else [0, 1])


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": "x" * 2001}, {"reason": "x", "more": 1}])
async def test_a_rejection_needs_a_reason(world: World, body: object) -> None:
    provider = await in_state(world, "pending")
    async with world.unchanged(), same_row(world, provider):
        assert (await world.manager.post(f"/api/v1/applications/{provider.id}/reject", body)).status_code == 422


async def test_the_queue_shows_one_state_page_by_page_newest_first(world: World) -> None:
    # Given three pending providers and an approved one in a region of their own
    region = await new_region(world)
    manager = region.manager
    pending = [await world.provider(at=region.centre, approved=False, funds_minor=0) for _ in range(3)]
    approved = await world.provider(at=region.centre, funds_minor=0)
    # When the manager leafs through the queue
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = (await manager.get("/api/v1/applications", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    # Then all of them come, once
    assert seen == [str(provider.id) for provider in reversed(pending)]
    assert cursor is None
    others = (await manager.get("/api/v1/applications", params={"status": "approved"})).json()["items"]
    assert [item["id"] for item in others] == [str(approved.id)]


@pytest.mark.parametrize(
    "params", [{"cursor": "nonsense"}, {"limit": 0}, {"limit": 101}, {"status": "new"}, {"page": 2}], ids=str
)
async def test_a_queue_that_is_asked_for_wrongly_is_a_422(world: World, params: dict[str, Any]) -> None:
    assert (await world.manager.get("/api/v1/applications", params=params)).status_code == 422


async def test_the_queue_tells_reviewers_who_applies(world: World) -> None:
    region = await new_region(world)
    manager = region.manager
    provider = await world.provider(at=region.centre, approved=False, funds_minor=0)
    (item,) = (await manager.get("/api/v1/applications")).json()["items"]
    assert item == await profile(provider)
    assert item["user_name"] == "Some Body"

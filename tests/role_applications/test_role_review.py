"""Deciding about applications for roles: one decision each, by somebody else, in force at once."""

import asyncio

import pytest

from app.models.users import Role
from tests.role_applications.steps import QUEUE, WHY, applied, decide, roles_of
from tests.support.world import World
from tests.users.steps import events_of

TEAM = {"name": "Guild"}


@pytest.mark.parametrize("reviewer", ["support", "admin"])
async def test_approval_gives_the_role_and_a_token_that_is_out_knows_it_at_once(world: World, reviewer: str) -> None:
    # Given an applicant whose token was refused a moment ago
    person = await world.person()
    application_id = await applied(person, "advertiser")
    refused = await person.post("/api/v1/teams", TEAM)
    assert (refused.status_code, refused.json()["code"]) == (403, "role_required")
    # When staff approves
    answer = await decide(getattr(world, reviewer), application_id, "approve")
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")
    assert answer.json()["approved_at"] is not None
    # Then the same token works
    assert (await person.post("/api/v1/teams", TEAM)).status_code == 201
    # And it is told and on record
    (event,) = await events_of(world, person.id, "role_application.approved")
    assert event["payload"] == {
        "application_id": application_id, "role": "advertiser", "role_name_hi": "विज्ञापनदाता",
    }  # fmt: skip
    decided = (await world.trail(application_id))[-1]
    assert (decided["action"], decided["actor_id"]) == ("approve", getattr(world, reviewer).id)


async def test_a_rejection_keeps_its_reason_and_gives_nothing(world: World) -> None:
    person = await world.person()
    application_id = await applied(person)
    answer = await decide(world.support, application_id, "reject")
    assert (answer.status_code, answer.json()["rejection_reason"]) == (200, WHY["reason"])
    (row,) = await world.rows("role_applications", user_id=person.id)
    assert (row["status"], row["deleted_at"] is not None, row["decided_by"]) == ("rejected", True, world.support.id)
    (event,) = await events_of(world, person.id, "role_application.rejected")
    assert event["payload"]["reason"] == WHY["reason"]
    assert await roles_of(person) == ["customer"]


async def test_a_role_can_be_taken_away_at_once(world: World) -> None:
    # Given an advertiser
    person = await world.person()
    application_id = await applied(person, "advertiser")
    await decide(world.support, application_id, "approve")
    assert (await person.post("/api/v1/teams", TEAM)).status_code == 201
    # When an admin revokes
    answer = await decide(world.admin, application_id, "revoke")
    assert (answer.status_code, answer.json()["status"], answer.json()["status_reason"]) == (
        200, "revoked", WHY["reason"],
    )  # fmt: skip
    # Then the token that is out may no more, and the person is told why
    assert (await person.post("/api/v1/teams", TEAM)).status_code == 403
    assert await roles_of(person) == ["customer"]
    (event,) = await events_of(world, person.id, "role_application.revoked")
    assert event["payload"]["reason"] == WHY["reason"]


async def test_support_takes_no_role_away(world: World) -> None:
    person = await world.person()
    application_id = await applied(person)
    await decide(world.support, application_id, "approve")
    async with world.unchanged():
        answer = await decide(world.support, application_id, "revoke")
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


@pytest.mark.parametrize("role", [Role.ADMIN, Role.SUPPORT])
@pytest.mark.parametrize("action", ["approve", "reject", "readmit", "revoke"])
async def test_nobody_decides_about_themselves(world: World, role: Role, action: str) -> None:
    # Given a member of staff who applied, as far as the action needs it
    person = await world.person(role)
    application_id = await applied(person)
    if action == "readmit":
        await decide(world.admin, application_id, "reject")
    if action == "revoke":
        await decide(world.admin, application_id, "approve")
    # When they decide themselves, then they may not
    async with world.unchanged():
        assert (await decide(person, application_id, action)).status_code == 403


@pytest.mark.parametrize(
    ("made", "action", "allowed"),
    [
        ([], "readmit", ["approve", "reject"]),
        ([], "revoke", ["approve", "reject"]),
        (["approve"], "approve", ["revoke"]),
        (["approve"], "reject", ["revoke"]),
        (["reject"], "approve", ["readmit"]),
        (["reject"], "revoke", ["readmit"]),
        (["approve", "revoke"], "approve", ["readmit"]),
        (["reject", "readmit"], "approve", []),
        (["reject", "readmit"], "readmit", []),
    ],
)
async def test_what_the_state_does_not_allow_is_refused(
    world: World, made: list[str], action: str, allowed: list[str]
) -> None:
    application_id = await applied(await world.person())
    for before in made:
        assert (await decide(world.admin, application_id, before)).status_code == 200
    async with world.unchanged():
        answer = await decide(world.admin, application_id, action)
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
    assert answer.json()["allowed_actions"] == allowed


async def test_of_two_who_decide_at_once_one_does(world: World) -> None:
    # Given an application and ten reviewers
    person = await world.person()
    application_id = await applied(person)
    reviewers = [await world.person(Role.SUPPORT) for _ in range(10)]
    # When half of them approve and half reject, all at once
    answers = await asyncio.gather(
        *(
            decide(reviewer, application_id, "approve" if number % 2 else "reject")
            for number, reviewer in enumerate(reviewers)
        )
    )
    # Then one has decided, the others are refused, and the role is there or not accordingly
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    (decision,) = [answer.json()["status"] for answer in answers if answer.is_success]
    assert ("booster" in await roles_of(person)) == (decision == "approved")
    events = [name for name, _ in await world.told(application_id)]
    assert events == ["role_application.submitted_for_review", f"role_application.{decision}"]


async def test_an_unknown_application_is_not_found(world: World) -> None:
    async with world.unchanged():
        answer = await world.support.post(f"{QUEUE}/{world.region_id}/approve")
    assert answer.status_code == 404


async def test_the_reason_is_needed(world: World) -> None:
    application_id = await applied(await world.person())
    async with world.unchanged():
        for body in (None, {}, {"reason": " "}):
            assert (await world.admin.post(f"{QUEUE}/{application_id}/reject", body)).status_code == 422

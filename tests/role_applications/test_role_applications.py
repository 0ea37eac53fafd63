"""Applying for a role that staff reviews: once for each role, and not again after a refusal."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.models.users import Role
from tests.role_applications.steps import APPLY, QUEUE, WHY, applied, decide, form, roles_of
from tests.support.world import Person, World
from tests.users.steps import events_of


@pytest.mark.parametrize("role", ["booster", "advertiser", "driver"])
async def test_an_application_waits_for_its_review(world: World, role: str) -> None:
    # When somebody applies
    person = await world.person(name="Mike")
    answer = await person.post(APPLY, form(role))
    # Then the application is pending and among the own ones
    assert answer.status_code == 201, answer.text
    application = answer.json()
    assert (application["role"], application["status"], application["user_name"]) == (role, "pending", "Mike")
    assert (await person.get(APPLY)).json() == {"items": [application], "next_cursor": None}
    # And the role is not there yet
    assert await roles_of(person) == ["customer"]


async def test_support_and_admins_are_told_and_nobody_else(world: World) -> None:
    person = await world.person()
    application_id = await applied(person)
    ((name, told),) = await world.told(application_id)
    assert name == "role_application.submitted_for_review"
    assert {world.support.id, world.admin.id} <= told
    assert not told & {person.id, world.manager.id}


async def test_a_second_application_for_the_role_is_refused_and_one_for_another_role_is_not(world: World) -> None:
    person = await world.person()
    await applied(person)
    async with world.unchanged():
        answer = await person.post(APPLY, form())
    assert (answer.status_code, answer.json()["code"]) == (409, "already_applied")
    await applied(person, "driver")


async def test_of_applications_at_once_one_counts(world: World) -> None:
    person = await world.person()
    answers = await asyncio.gather(*(person.post(APPLY, form()) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"already_applied"}
    assert len(await world.rows("role_applications", user_id=person.id)) == 1


async def test_an_application_that_overtakes_its_rejection_is_none_more(world: World) -> None:
    # Given an application that is rejected while its applicant applies again, many times over
    person = await world.person()
    application_id = await applied(person)
    rejection, *answers = await asyncio.gather(
        decide(world.support, application_id, "reject"), *(person.post(APPLY, form()) for _ in range(10))
    )
    # Then each of the new ones was refused
    assert rejection.status_code == 200
    assert {answer.status_code for answer in answers} == {409}
    assert {answer.json()["code"] for answer in answers} <= {"already_applied", "previously_rejected"}


async def test_an_application_that_is_sent_again_is_answered_again(world: World) -> None:
    person, key = await world.person(), {"Idempotency-Key": f"apply-{uuid4()}"}
    first = await person.post(APPLY, form(), headers=key)
    async with world.unchanged():
        second = await person.post(APPLY, form(), headers=key)
    assert (first.status_code, first.content) == (201, second.content)


@pytest.mark.parametrize("fate", ["rejected", "revoked"])
async def test_who_was_turned_down_is_known_and_the_reviewers_hear_of_the_next_try(world: World, fate: str) -> None:
    # Given somebody who was rejected, or approved and stripped of the role
    person = await world.person()
    application_id = await applied(person)
    if fate == "rejected":
        assert (await decide(world.support, application_id, "reject")).status_code == 200
    else:
        assert (await decide(world.support, application_id, "approve")).status_code == 200
        assert (await decide(world.admin, application_id, "revoke")).status_code == 200
    # When they apply again, and again
    async with world.unchanged(but=["events", "notifications"]):
        answers = [await person.post(APPLY, form()) for _ in range(3)]
    # Then they are refused as known, and support and admins hear of it once
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(409, "previously_rejected")}
    refused = [told for name, told in await world.told(application_id) if name.endswith("reapplication_refused")]
    assert len(refused) == 1
    assert {world.support.id, world.admin.id} <= refused[0]
    # And another role is another matter
    await applied(person, "driver")


async def test_staff_can_allow_a_second_try(world: World) -> None:
    # Given somebody who was rejected
    person = await world.person()
    first = await applied(person)
    await decide(world.support, first, "reject")
    # When support readmits them
    readmitted = await decide(world.support, first, "readmit")
    assert (readmitted.status_code, readmitted.json()["status"]) == (200, "lapsed")
    # Then they hear why, apply anew, and can be approved
    (event,) = await events_of(world, person.id, "role_application.readmitted")
    assert event["payload"]["reason"] == WHY["reason"]
    second = await applied(person)
    assert (await decide(world.support, second, "approve")).status_code == 200
    assert "booster" in await roles_of(person)
    # And what was is still to be seen
    own = (await person.get(APPLY)).json()["items"]
    assert [item["status"] for item in own] == ["approved", "lapsed"]
    assert own[1]["rejection_reason"] == WHY["reason"]


async def test_documents_are_for_the_reviewers_only(world: World) -> None:
    # Given an application with a document
    person, stranger = await world.person(), await world.person(Role.PROVIDER)
    document = await person.upload("document")
    application = (await person.post(APPLY, form(document_ids=[document]))).json()
    assert application["document_ids"] == [document]
    # Then its owner, support and admins may open it; managers and others may not
    for reader in (person, world.support, world.admin):
        assert (await reader.get(f"/api/v1/files/{document}")).status_code == 200
    for reader in (stranger, world.manager):
        assert (await reader.get(f"/api/v1/files/{document}")).status_code == 404


async def test_somebody_elses_document_is_refused_and_leaves_no_half_application(world: World) -> None:
    person, other = await world.person(), await world.person()
    document = await other.upload("document")
    async with world.unchanged():
        answer = await person.post(APPLY, form(document_ids=[document]))
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_file")


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "admin"}, {"role": "support"}, {"role": "customer"}, {"role": None}, {"role": ["booster"]},
        {"role": {}}, {"statement": " "}, {"statement": "s" * 2001}, {"statement": None},
        {"document_ids": [str(UUID(int=1))] * 11}, {"status": "approved"}, {"business_name": "Pipes & Co"},
        {"role": "provider"},
    ],
    ids=str,
)  # fmt: skip
async def test_what_does_not_fit_is_no_application(world: World, changed: dict[str, Any]) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await person.post(APPLY, form(**changed))).status_code == 422


async def test_nobody_sees_the_applications_of_others(world: World) -> None:
    person, other = await world.person(), await world.person()
    await applied(person)
    assert (await other.get(APPLY)).json()["items"] == []


async def test_the_queue_has_filters_and_pages(world: World) -> None:
    # Given applications of two roles, one of them decided
    people = [await world.person() for _ in range(3)]
    waiting = [await applied(person, "driver") for person in people]
    booster, rejected = await applied(people[0]), await applied(people[0], "advertiser")
    await decide(world.support, rejected, "reject")

    async def found(reader: Person, **params: Any) -> list[str]:
        ids: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await reader.get(QUEUE, params={"limit": 2, **params, **cursor})).json()
            ids += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                return ids
            cursor = {"cursor": page["next_cursor"]}

    # Then each is found by its role and state, page by page, the newest first
    drivers = await found(world.support, role="driver")
    assert [one for one in drivers if one in waiting] == waiting[::-1]
    assert {booster, *waiting} <= set(await found(world.admin))
    assert rejected not in await found(world.support)
    assert rejected in await found(world.support, role="advertiser", status="rejected")
    assert booster not in await found(world.support, role="driver")

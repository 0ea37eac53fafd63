"""Applying as a provider: once, to the manager of the region, and not again after a refusal."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from app.schemas.base import Position
from tests.providers.steps import APPLY, application, decide, is_found, new_region, somewhere
from tests.support.world import World
from tests.users.steps import events_of

NOWHERE = Position(latitude=0, longitude=-140)


async def test_an_application_waits_for_its_review(world: World) -> None:
    # When somebody applies
    person = await world.person()
    place = somewhere()
    answer = await person.post(APPLY, application(world, at=place, offers=("plumbing", "electrician")))
    # Then the profile is pending, in the region of its position
    assert answer.status_code == 201, answer.text
    profile = answer.json()
    assert (profile["id"], profile["status"], profile["region_id"]) == (str(person.id), "pending", str(world.region_id))
    assert (profile["services"], profile["approved_at"]) == (["electrician", "plumbing"], None)
    assert (await person.get("/api/v1/me/provider")).json() == profile
    # And its owner is no provider yet, to nobody
    assert (await person.get("/api/v1/me")).json()["roles"] == ["customer"]
    assert (await person.call("PATCH", "/api/v1/me/provider", json={"bio": "x"})).status_code == 403
    assert not await is_found(world, person, at=place)


async def test_the_manager_of_the_region_is_told_and_no_other(world: World) -> None:
    # Given two regions with a manager each
    elsewhere = await new_region(world)
    # When somebody applies in one of them
    person = await world.person()
    answer = await person.post(APPLY, application(world, at=elsewhere.centre))
    assert answer.json()["region_id"] == str(elsewhere.id)
    # Then its manager hears of it and has it in the queue; the other does not
    (event,) = await events_of(world, elsewhere.manager.id, "provider.submitted_for_review")
    assert event["payload"] == {
        "provider_id": str(person.id), "business_name": "Pipes & Co", "region_id": str(elsewhere.id),
    }  # fmt: skip
    assert str(person.id) not in str(await events_of(world, world.manager.id, "provider.submitted_for_review"))
    assert [item["id"] for item in (await elsewhere.manager.get("/api/v1/applications")).json()["items"]] == [
        str(person.id)
    ]
    queue = (await world.manager.get("/api/v1/applications", params={"limit": 100})).json()["items"]
    assert str(person.id) not in {item["id"] for item in queue}
    # And the admin has it too
    queue = (await world.admin.get("/api/v1/applications", params={"limit": 100})).json()["items"]
    assert str(person.id) in {item["id"] for item in queue}


async def test_a_second_application_is_refused(world: World) -> None:
    person = await world.person()
    assert (await person.post(APPLY, application(world))).status_code == 201
    async with world.unchanged():
        answer = await person.post(APPLY, application(world))
    assert (answer.status_code, answer.json()["code"]) == (409, "already_applied")


async def test_of_applications_at_once_one_counts(world: World) -> None:
    person = await world.person()
    answers = await asyncio.gather(*(person.post(APPLY, application(world)) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"already_applied"}
    told = await events_of(world, world.manager.id, "provider.submitted_for_review")
    assert len([event for event in told if event["subject_id"] == person.id]) == 1


async def test_an_application_that_is_sent_again_is_answered_again(world: World) -> None:
    person, key = await world.person(), {"Idempotency-Key": f"apply-{uuid4()}"}
    first = await person.post(APPLY, application(world), headers=key)
    async with world.unchanged():
        second = await person.post(APPLY, application(world), headers=key)
    assert (first.status_code, second.status_code) == (201, 201), first.text
    assert first.content == second.content


@pytest.mark.parametrize("fate", ["rejected", "banned"])
async def test_who_was_turned_down_is_known_and_the_manager_hears_of_the_next_try(world: World, fate: str) -> None:
    # Given somebody who was rejected, or approved and banned
    person = await world.person()
    await person.post(APPLY, application(world))
    if fate == "rejected":
        assert (await decide(world.manager, person, "reject")).status_code == 200
    else:
        assert (await decide(world.manager, person, "approve")).status_code == 200
        assert (await decide(world.admin, person, "ban")).status_code == 200
    before = await world.rows("providers", id=person.id)
    # When they apply again
    async with world.unchanged(but=["events", "notifications"]):
        answer = await person.post(APPLY, application(world))
    # Then they are refused as known, and the manager is told
    assert (answer.status_code, answer.json()["code"]) == (409, "previously_rejected")
    assert await world.rows("providers", id=person.id) == before
    told = await events_of(world, world.manager.id, "provider.reapplication_refused")
    assert [event["payload"] for event in told if event["subject_id"] == person.id] == [{"provider_id": str(person.id)}]


async def test_trying_on_and_on_does_not_flood_the_manager(world: World) -> None:
    # Given somebody who was rejected and has tried once more
    person = await world.person()
    await person.post(APPLY, application(world))
    await decide(world.manager, person, "reject")
    await person.post(APPLY, application(world))
    # When they go on, then they are refused each time and nobody hears of it
    async with world.unchanged():
        answers = await asyncio.gather(*(person.post(APPLY, application(world)) for _ in range(10)))
    assert {answer.json()["code"] for answer in answers} == {"previously_rejected"}


async def test_a_position_that_no_region_serves_is_refused(world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await person.post(APPLY, application(world, at=NOWHERE))
    assert (answer.status_code, answer.json()["code"]) == (422, "outside_of_all_regions")


async def test_an_unknown_service_is_refused_and_leaves_no_half_application(world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await person.post(APPLY, application(world, service_ids=[str(uuid4())]))
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_service")
    assert (await person.get("/api/v1/me/provider")).status_code == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "admin"}, {"role": "driver"}, {"business_name": ""}, {"bio": " "}, {"bio": "b" * 2001},
        {"position": {"latitude": 91, "longitude": 0}}, {"position": {"latitude": 18.5}}, {"position": None},
        {"position": {"latitude": "NaN", "longitude": 0}}, {"service_radius_metres": 0},
        {"service_radius_metres": 50_001}, {"service_radius_metres": -1}, {"service_ids": []},
        {"service_ids": [str(uuid4())] * 46}, {"service_ids": ["plumbing"]}, {"document_ids": [str(uuid4())] * 11},
        {"status": "approved"}, {"rating_average": 5}, {"region_id": str(uuid4())},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
async def test_what_does_not_fit_is_no_application(world: World, changed: dict[str, Any]) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await person.post(APPLY, application(world, **changed))).status_code == 422


async def test_documents_are_attached_to_the_application(world: World) -> None:
    person = await world.person()
    document = await person.upload("document")
    answer = await person.post(APPLY, application(world, document_ids=[document]))
    assert answer.json()["document_ids"] == [document]


async def test_documents_of_others_and_of_other_kinds_are_refused(world: World) -> None:
    # Given a stranger's document, an own photo, and an own document that is in use
    person, stranger = await world.person(), await world.person()
    theirs, photo, used = (
        await stranger.upload("document"),
        await person.upload("photo"),
        await person.upload("document"),
    )
    await world.execute(
        "UPDATE files SET subject_type = 'provider', subject_id = :owner WHERE id = cast(:id AS uuid)",
        owner=stranger.id,
        id=used,
    )
    # When one of them is handed in, beside a good one
    good = await person.upload("document")
    for document in (theirs, photo, used, str(uuid4())):
        async with world.unchanged():
            answer = await person.post(APPLY, application(world, document_ids=[good, document]))
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_file")
    # Then the good one is free still
    assert (await person.post(APPLY, application(world, document_ids=[good]))).status_code == 201


@pytest.mark.parametrize("content", [b"%PDF-1.7 not an image", b" ", b"\x00\x00\x00\x18ftypisom" + b"0" * 100])
async def test_a_document_is_an_image(world: World, content: bytes) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await person.post(
            "/api/v1/files", data={"purpose": "document"}, files={"file": ("licence.jpg", content)}
        )
    assert answer.status_code == 415

"""Documents of providers: proofs of identity that their owner and the reviewers see, and nobody else."""

import pytest

from app.models.users import Role
from app.schemas.base import Position
from tests.providers.steps import APPLY, application, decide, new_region, somewhere
from tests.support.world import HERE, Person, World, picture


async def applicant(world: World, at: Position = HERE) -> tuple[Person, str]:
    """Somebody whose application holds a document; its id."""
    person = await world.person()
    document = await person.upload("document")
    answer = await person.post(APPLY, application(world, at=at, document_ids=[document]))
    assert answer.status_code == 201, answer.text
    return person, document


async def content(world: World, reader: Person, document: str) -> bytes:
    answer = await reader.get(f"/api/v1/files/{document}")
    assert answer.status_code == 200, answer.text
    url = answer.json()["url"].replace(world.platform.settings.public_url, "")
    return (await world.http.get(url)).content


async def test_the_owner_and_the_reviewers_see_a_document(world: World) -> None:
    person, document = await applicant(world)
    for reader in (person, world.manager, world.admin):
        assert await content(world, reader, document) == picture()


@pytest.mark.parametrize("status", ["approve", "reject"])
async def test_reviewers_see_it_after_the_decision_too(world: World, status: str) -> None:
    person, document = await applicant(world)
    await decide(world.manager, person, status)
    assert await content(world, world.manager, document) == picture()


async def test_nobody_else_sees_a_document(world: World) -> None:
    # Given everybody else: customers, other providers, support, managers of other regions
    _, document = await applicant(world)
    elsewhere = await new_region(world)
    others = [await world.person(), await world.provider(funds_minor=0), world.support, elsewhere.manager]
    others.append(await world.person(Role.MANAGER))
    # When they ask for it, then it is as if it did not exist
    async with world.unchanged():
        for other in others:
            answer = await other.get(f"/api/v1/files/{document}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await world.http.get(f"/api/v1/files/{document}")).status_code == 401
        assert (await world.http.get(f"/api/v1/files/{document}/content")).status_code == 422


async def test_a_document_that_was_not_handed_in_is_the_owners_alone(world: World) -> None:
    person = await world.person()
    document = await person.upload("document")
    for reviewer in (world.manager, world.admin):
        assert (await reviewer.get(f"/api/v1/files/{document}")).status_code == 404
    assert await content(world, person, document) == picture()


async def test_a_search_shows_no_documents_and_no_contacts(world: World) -> None:
    place = somewhere()
    person, document = await applicant(world, at=place)
    await decide(world.manager, person, "approve")
    params = place.model_dump() | {"limit": 100}
    text = (await world.http.get("/api/v1/providers", params=params)).text
    assert str(person.id) in text
    for private in (document, person.email, person.phone, "latitude", "weekly_lead_budget_minor", "status_reason"):
        assert private not in text


async def test_a_provider_who_moves_takes_the_documents_to_the_new_reviewers(world: World) -> None:
    # Given an approved provider with a document, and another region
    person, document = await applicant(world)
    await decide(world.manager, person, "approve")
    elsewhere = await new_region(world)
    # When the provider moves there
    moved = await person.call("PATCH", "/api/v1/me/provider", json={"position": elsewhere.centre.model_dump()})
    assert moved.status_code == 200
    # Then the new manager sees the document and the old one does not any more
    assert (await elsewhere.manager.get(f"/api/v1/files/{document}")).status_code == 200
    assert (await world.manager.get(f"/api/v1/files/{document}")).status_code == 404

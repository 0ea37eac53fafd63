"""A provider's own profile: what may be changed, and what follows from it."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.schemas.base import Position
from tests.providers.steps import decide, found, is_found, new_region, same_row, somewhere
from tests.support.world import FAR_AWAY, HERE, Person, World

PROFILE = "/api/v1/me/provider"
OFFERS = "/api/v1/me/provider/services"
NOWHERE = Position(latitude=0, longitude=-140)
NEARBY = Position(latitude=18.5100, longitude=73.8100)


async def change(provider: Person, **changed: Any) -> dict[str, Any]:
    answer = await provider.call("PATCH", PROFILE, json=changed)
    assert answer.status_code == 200, answer.text
    profile: dict[str, Any] = answer.json()
    assert (await provider.get(PROFILE)).json() == profile
    return profile


async def test_what_is_left_out_stays_as_it_is(world: World) -> None:
    provider = await world.provider(funds_minor=0)
    before = (await provider.get(PROFILE)).json()
    for changed in (
        {"business_name": "Pipes & Sons"}, {"bio": "Three generations."}, {"service_radius_metres": 7000},
        {"weekly_lead_budget_minor": 50_00},
    ):  # fmt: skip
        before |= changed
        assert await change(provider, **changed) == before
    assert await change(provider) == before


async def test_the_weekly_cap_is_set_emptied_and_taken_away(world: World) -> None:
    provider = await world.provider(funds_minor=0)
    assert (await provider.get(PROFILE)).json()["weekly_lead_budget_minor"] is None
    assert (await change(provider, weekly_lead_budget_minor=100_00))["weekly_lead_budget_minor"] == 100_00
    assert (await change(provider, bio="Unrelated."))["weekly_lead_budget_minor"] == 100_00
    assert (await change(provider, weekly_lead_budget_minor=0))["weekly_lead_budget_minor"] == 0
    assert (await change(provider, weekly_lead_budget_minor=None))["weekly_lead_budget_minor"] is None


async def test_at_the_weekly_cap_no_lead_is_sold(world: World) -> None:
    # Given a provider whose cap is one lead's fee, and two leads
    provider, customer = await world.provider(), await world.person()
    first, second = await world.request(customer), await world.request(customer)
    catalogue = (await world.http.get("/api/v1/services")).json()
    fee = {service["slug"]: service["lead_fee_minor"] for service in catalogue}["plumbing"]
    await change(provider, weekly_lead_budget_minor=fee)
    # When both are bought, then the second is one too many
    assert (await provider.post(f"/api/v1/service-requests/{first}/purchase")).status_code == 201
    async with world.unchanged():
        refused = await provider.post(f"/api/v1/service-requests/{second}/purchase")
    assert refused.status_code == 409
    # And without the cap it is sold
    await change(provider, weekly_lead_budget_minor=None)
    assert (await provider.post(f"/api/v1/service-requests/{second}/purchase")).status_code == 201


async def test_moving_changes_the_region_and_who_reviews(world: World) -> None:
    # Given an approved provider, and another region
    place, elsewhere = somewhere(), await new_region(world)
    provider = await world.provider(at=place, funds_minor=0)
    assert await is_found(world, provider, at=place)
    # When the provider moves there
    profile = await change(provider, position=elsewhere.centre.model_dump())
    # Then the region is another, and so are the manager who decides and the customers who find them
    assert profile["region_id"] == str(elsewhere.id)
    assert (profile["latitude"], profile["longitude"]) == (elsewhere.centre.latitude, elsewhere.centre.longitude)
    assert not await is_found(world, provider, at=place)
    assert await is_found(world, provider, at=elsewhere.centre)
    async with world.unchanged():
        assert (await decide(world.manager, provider, "suspend")).status_code == 404
    assert (await decide(elsewhere.manager, provider, "suspend")).status_code == 200


async def test_a_step_within_the_region_changes_no_region(world: World) -> None:
    provider = await world.provider(funds_minor=0)
    assert (await change(provider, position=NEARBY.model_dump()))["region_id"] == str(world.region_id)


async def test_moving_to_where_no_region_is_changes_nothing(world: World) -> None:
    provider = await world.provider(funds_minor=0)
    async with world.unchanged(), same_row(world, provider):
        answer = await provider.call("PATCH", PROFILE, json={"bio": "New.", "position": NOWHERE.model_dump()})
    assert (answer.status_code, answer.json()["code"]) == (422, "outside_of_all_regions")


async def test_a_wider_radius_reaches_further(world: World) -> None:
    # Given a provider 44 km from a customer
    provider = await world.provider(radius=5000, funds_minor=0)
    assert not await is_found(world, provider, at=FAR_AWAY)
    # When the radius covers that
    await change(provider, service_radius_metres=45_000)
    # Then the provider is found there
    assert await is_found(world, provider, at=FAR_AWAY)
    await change(provider, service_radius_metres=43_000)
    assert not await is_found(world, provider, at=FAR_AWAY)


@pytest.mark.parametrize(
    "changed",
    [
        {"business_name": ""}, {"bio": "  "}, {"bio": "b" * 2001}, {"service_radius_metres": 0},
        {"service_radius_metres": 50_001}, {"weekly_lead_budget_minor": -1}, {"weekly_lead_budget_minor": 10**12 + 1},
        {"weekly_lead_budget_minor": 1.5}, {"position": {"latitude": 91, "longitude": 0}}, {"position": {}},
        {"position": {"latitude": 18.5, "longitude": float("inf")}}, {"status": "approved"}, {"warnings": 0},
        {"rating_average": 5}, {"region_id": str(UUID(int=1))},
    ],
    ids=str,
)  # fmt: skip
async def test_what_does_not_fit_changes_nothing(world: World, changed: dict[str, Any]) -> None:
    provider = await world.provider(funds_minor=0)
    body = str(changed).replace("'", '"').replace("inf", "1e999")
    async with world.unchanged(), same_row(world, provider):
        answer = await provider.call("PATCH", PROFILE, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_exactly_the_services_that_were_named_are_offered(world: World) -> None:
    # Given a provider of two services
    place = somewhere()
    provider = await world.provider(at=place, offers=("plumbing", "electrician"), funds_minor=0)
    # When others are named, one of them twice
    ids = [str(world.services[slug]) for slug in ("electrician", "carpentry", "carpentry")]
    answer = await provider.call("PUT", OFFERS, json={"service_ids": ids})
    # Then those are offered and found, and what is not offered any more is kept, switched off
    assert (answer.status_code, answer.json()["services"]) == (200, ["carpentry", "electrician"])
    rows = await world.rows("provider_services", provider_id=provider.id)
    assert {row["service_id"]: row["is_active"] for row in rows} == {
        world.services["plumbing"]: False, world.services["electrician"]: True, world.services["carpentry"]: True,
    }  # fmt: skip
    assert str(provider.id) in {result["id"] for result in await found(world, at=place, service="carpentry")}
    assert str(provider.id) not in {result["id"] for result in await found(world, at=place, service="plumbing")}
    # And it can be offered again
    answer = await provider.call("PUT", OFFERS, json={"service_ids": [str(world.services["plumbing"])]})
    assert answer.json()["services"] == ["plumbing"]


async def test_an_unknown_service_changes_nothing(world: World) -> None:
    provider = await world.provider(funds_minor=0)
    async with world.unchanged():
        answer = await provider.call(
            "PUT", OFFERS, json={"service_ids": [str(world.services["carpentry"]), str(uuid4())]}
        )
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_service")
    assert (await provider.get(PROFILE)).json()["services"] == ["plumbing"]


@pytest.mark.parametrize(
    "service_ids", [[], ["plumbing"], None, [str(uuid4())] * 46], ids=["none", "slug", "null", "many"]
)
async def test_a_list_of_services_that_does_not_fit_is_refused(world: World, service_ids: Any) -> None:
    provider = await world.provider(funds_minor=0)
    async with world.unchanged():
        assert (await provider.call("PUT", OFFERS, json={"service_ids": service_ids})).status_code == 422


async def test_changes_at_once_do_not_undo_each_other(world: World) -> None:
    provider = await world.provider(funds_minor=0)
    await asyncio.gather(
        change_only(provider, bio="New words."), change_only(provider, service_radius_metres=9000),
        change_only(provider, weekly_lead_budget_minor=7), change_only(provider, business_name="New name"),
    )  # fmt: skip
    profile = (await provider.get(PROFILE)).json()
    assert profile["bio"] == "New words."
    assert (profile["service_radius_metres"], profile["weekly_lead_budget_minor"]) == (9000, 7)
    assert profile["business_name"] == "New name"


async def change_only(provider: Person, **changed: Any) -> None:
    assert (await provider.call("PATCH", PROFILE, json=changed)).status_code == 200


async def test_who_never_applied_has_no_profile(world: World) -> None:
    person = await world.person()
    answer = await person.get(PROFILE)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_profile_is_nobody_elses_to_see(world: World) -> None:
    place = somewhere()
    provider = await world.provider(at=place, funds_minor=0)
    shown = next(result for result in await found(world, at=place) if result["id"] == str(provider.id))
    assert set(shown) == {
        "id", "business_name", "bio", "region_id", "rating_average", "rating_count", "services", "distance_metres",
    }  # fmt: skip
    assert HERE.latitude not in shown.values()

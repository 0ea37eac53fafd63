"""Services at a fixed price: put on sale, changed, paused, archived, by their advertiser and nobody else."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.core.config import settings
from app.core.money import AMOUNT_LIMIT
from app.models.users import Role
from app.services.advertised_services import publishing
from tests.advertised_services.steps import OWN, SERVICES, described, offer
from tests.role_applications.steps import applied, decide
from tests.support.world import Person, World
from tests.teams.steps import make_team, team_of

ACTIONS = ("pause", "resume", "archive")


async def changed(advertiser: Person, service: dict[str, Any], **given: Any) -> Any:
    body = described(revision=service["revision"]) | given
    return await advertiser.call("PUT", f"{SERVICES}/{service['id']}", json=body)


async def act(person: Person, service: dict[str, Any], action: str) -> Any:
    return await person.post(f"{SERVICES}/{service['id']}/{action}")


@pytest.mark.parametrize("currency", ["INR", "GOLD"])
async def test_a_service_is_on_sale_for_everybody(world: World, currency: str) -> None:
    # When an advertiser puts a service on sale
    advertiser = await world.person(Role.ADVERTISER, name="Rohan")
    service = await offer(advertiser, currency=currency)
    assert (service["status"], service["revision"], service["team_id"]) == ("ACTIVE", 1, None)
    # Then anybody can look at it, without signing in
    seen = (await world.http.get(f"{SERVICES}/{service['id']}")).json()
    assert (seen["advertiser_name"], seen["price_minor"], seen["currency"]) == ("Rohan", 500_00, currency)
    assert (await advertiser.get(f"{OWN}/{service['id']}")).json() == service


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.BOOSTER, Role.SUPPORT, Role.ADMIN])
async def test_only_advertisers_sell(world: World, role: Role) -> None:
    person = await world.person(role)
    async with world.unchanged():
        answer = await person.post(SERVICES, described())
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


@pytest.mark.parametrize(
    "given",
    [
        {"title": " "}, {"title": "t" * 121}, {"description": ""}, {"description": "d" * 2001}, {"price_minor": 0},
        {"price_minor": -1}, {"price_minor": 1.5}, {"price_minor": "500"}, {"price_minor": AMOUNT_LIMIT + 1},
        {"currency": "gold"}, {"currency": "G"}, {"status": "ACTIVE"}, {"revision": 1}, {"team_id": "mine"},
        {"title": "a\x00b"}, {"advertiser_id": str(UUID(int=1))},
    ],
    ids=lambda given: next(iter(given)),
)  # fmt: skip
async def test_what_does_not_fit_is_not_sold(world: World, given: dict[str, Any]) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    async with world.unchanged():
        assert (await advertiser.post(SERVICES, described(**given))).status_code == 422


async def test_a_price_is_in_a_currency_that_wallets_know(world: World) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    service = await offer(advertiser)
    async with world.unchanged():
        published = await advertiser.post(SERVICES, described(currency="EUR"))
        repriced = await changed(advertiser, service, currency="EUR")
        topped_up = await world.admin.post(
            f"/api/v1/admin/users/{advertiser.id}/top-ups", {"amount_minor": 5, "currency": "EUR", "reason": "test"}
        )
    for answer in (published, repriced, topped_up):
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_currency")


async def test_a_change_counts_and_is_on_record(world: World) -> None:
    # Given a service
    advertiser = await world.person(Role.ADVERTISER)
    service = await offer(advertiser)
    # When price and text are changed
    answer = await changed(advertiser, service, price_minor=700_00, title="Mythic+21 dungeon run")
    # Then it is the next revision, for everybody, and the trail has what was changed
    assert (answer.status_code, answer.json()["revision"]) == (200, 2)
    seen = (await world.http.get(f"{SERVICES}/{service['id']}")).json()
    assert (seen["revision"], seen["price_minor"], seen["title"]) == (2, 700_00, "Mythic+21 dungeon run")
    details = (await world.trail(service["id"]))[-1]["details"]
    assert (details["price_minor"], details["currency"]) == (700_00, "GOLD")
    # And what was looked at before cannot be changed any more
    async with world.unchanged():
        late = await changed(advertiser, service, price_minor=1)
    assert (late.status_code, late.json()["code"]) == (409, "service_changed")


async def test_of_changes_at_once_one_counts(world: World) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    service = await offer(advertiser)
    answers = await asyncio.gather(*(changed(advertiser, service, price_minor=100 + n) for n in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    (winner,) = [answer.json() for answer in answers if answer.is_success]
    assert (await advertiser.get(f"{OWN}/{service['id']}")).json() == winner


async def test_what_is_paused_is_not_on_sale_and_what_is_resumed_is(world: World) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    service = await offer(advertiser)
    assert (await act(advertiser, service, "pause")).json()["status"] == "PAUSED"
    assert (await world.http.get(f"{SERVICES}/{service['id']}")).status_code == 404
    assert (await advertiser.get(f"{OWN}/{service['id']}")).json()["status"] == "PAUSED"
    # A change leaves it paused
    assert (await changed(advertiser, service)).json()["status"] == "PAUSED"
    assert (await act(advertiser, service, "resume")).json()["status"] == "ACTIVE"
    assert (await world.http.get(f"{SERVICES}/{service['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("before", "action", "allowed"),
    [
        ([], "resume", ["archive", "change", "pause"]),
        (["pause"], "pause", ["archive", "change", "resume"]),
        (["archive"], "pause", []),
        (["archive"], "resume", []),
        (["pause", "archive"], "archive", []),
    ],
)
async def test_what_the_state_does_not_allow_is_refused(
    world: World, before: list[str], action: str, allowed: list[str]
) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    service = await offer(advertiser)
    for earlier in before:
        assert (await act(advertiser, service, earlier)).status_code == 200
    async with world.unchanged():
        answer = await act(advertiser, service, action)
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
    assert answer.json()["allowed_actions"] == allowed


async def test_what_is_archived_is_not_changed(world: World) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    service = await offer(advertiser)
    await act(advertiser, service, "archive")
    async with world.unchanged():
        answer = await changed(advertiser, service)
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")


async def test_the_services_of_others_are_not_ones_own(world: World) -> None:
    # Given a service under a team, and a team mate, another advertiser, an admin
    team, (owner, mate), _ = await team_of(world)
    service = await offer(owner, team_id=team["id"])
    others = [mate, await world.person(Role.ADVERTISER), await world.person(Role.ADMIN, Role.ADVERTISER)]
    # Then none of them can change anything about it
    for person in others:
        async with world.unchanged():
            answers = [await changed(person, service), *[await act(person, service, action) for action in ACTIONS]]
        assert {answer.status_code for answer in answers} == {404}
        assert (await person.get(f"{OWN}/{service['id']}")).status_code == 404
    # And the team mate was told that it is there
    assert await world.told(service["id"]) == [("advertised_service.published", {mate.id})]


async def test_one_publishes_under_ones_own_teams_only(world: World) -> None:
    advertiser, other = await world.person(Role.ADVERTISER), await world.person(Role.ADVERTISER)
    service, strange = await offer(advertiser), await make_team(other)
    for team_id in (strange["id"], str(uuid4())):
        async with world.unchanged():
            answers = [
                await advertiser.post(SERVICES, described(team_id=team_id)),
                await changed(advertiser, service, team_id=team_id),
            ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(422, "unknown_team")}
    own = await make_team(advertiser)
    assert (await changed(advertiser, service, team_id=own["id"])).json()["team_id"] == own["id"]


@pytest.mark.parametrize("fate", ["revoked", "suspended"])
async def test_who_is_no_advertiser_any_more_sells_nothing(world: World, fate: str) -> None:
    # Given an advertiser with a service
    advertiser = await world.person()
    application_id = await applied(advertiser, "advertiser")
    await decide(world.support, application_id, "approve")
    service = await offer(advertiser)
    # When the role is taken away, or the account suspended
    if fate == "revoked":
        await decide(world.admin, application_id, "revoke")
    else:
        await world.admin.post(f"/api/v1/admin/users/{advertiser.id}/suspend", {"reason": "for the test"})
    # Then it is not on sale
    assert (await world.http.get(f"{SERVICES}/{service['id']}")).status_code == 404
    listed = await world.http.get(SERVICES, params={"advertiser_id": str(advertiser.id)})
    assert listed.json()["items"] == []
    # But still the own one, of whoever may sign in
    if fate == "revoked":
        assert (await advertiser.get(f"{OWN}/{service['id']}")).json()["status"] == "ACTIVE"
        async with world.unchanged():
            assert (await act(advertiser, service, "pause")).status_code == 403


async def test_one_advertiser_has_so_many_services_and_no_more_at_once_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given room for three, one of which was archived
    advertiser = await world.person(Role.ADVERTISER)
    smaller = settings().model_copy(update={"advertised_services_per_advertiser": 3})
    monkeypatch.setattr(publishing, "settings", lambda: smaller)
    await act(advertiser, await offer(advertiser), "archive")
    # When ten are published at once, then three are
    answers = await asyncio.gather(*(advertiser.post(SERVICES, described()) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 7
    refused = next(answer.json() for answer in answers if answer.is_error)
    assert (refused["code"], refused["limit"]) == ("too_many_advertised_services", 3)


async def test_what_is_sent_again_is_published_once(world: World) -> None:
    advertiser, key = await world.person(Role.ADVERTISER), {"Idempotency-Key": f"offer-{uuid4()}"}
    first = await advertiser.post(SERVICES, described(), headers=key)
    async with world.unchanged():
        second = await advertiser.post(SERVICES, described(), headers=key)
    assert (first.status_code, first.content) == (201, second.content)

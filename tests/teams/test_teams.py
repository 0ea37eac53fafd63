"""Teams and their owners: made, renamed, handed over, deleted; seen by their members only."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.core.actor import Actor
from app.core.config import settings
from app.models.users import Role
from app.services.teams import membership
from app.services.teams.lifecycle import TeamFull
from tests.advertised_services.steps import offer
from tests.support.world import Person, World
from tests.teams.steps import TEAMS, act, invitation, invite, join, make_team, names_in, team_of
from tests.users.steps import events_of


async def test_who_makes_a_team_is_its_owner_and_first_member(world: World) -> None:
    owner = await world.person(Role.ADVERTISER, name="Rohan")
    team = await make_team(owner, "Sahyadri Guild")
    assert (team["name"], team["owner_name"], team["members_count"]) == ("Sahyadri Guild", "Rohan", 1)
    assert team["membership_status"] == "ACTIVE"
    assert (await owner.get(TEAMS)).json() == {"items": [team], "next_cursor": None}
    assert (await owner.get(f"{TEAMS}/{team['id']}")).json() == team
    assert await names_in(owner, team["id"]) == {"Rohan"}
    # And nobody is told of an invitation
    assert await events_of(world, owner.id, "team.member_invited") == []


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.BOOSTER, Role.SUPPORT, Role.ADMIN])
async def test_only_advertisers_make_teams(world: World, role: Role) -> None:
    person = await world.person(role)
    async with world.unchanged():
        answer = await person.post(TEAMS, {"name": "Guild"})
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


@pytest.mark.parametrize("name", ["", " ", "n" * 101, None, 5, "a\x00b", ["x"]])
async def test_a_name_has_a_length(world: World, name: Any) -> None:
    owner = await world.person(Role.ADVERTISER)
    async with world.unchanged():
        assert (await owner.post(TEAMS, {"name": name})).status_code == 422


async def test_one_owner_has_so_many_teams_and_no_more_at_once_either(world: World) -> None:
    owner, limit = await world.person(Role.ADVERTISER), settings().teams_per_owner
    answers = await asyncio.gather(*(owner.post(TEAMS, {"name": "Guild"}) for _ in range(limit + 5)))
    assert sorted(answer.status_code for answer in answers) == [201] * limit + [409] * 5
    refused = next(answer.json() for answer in answers if answer.is_error)
    assert (refused["code"], refused["limit"]) == ("too_many_teams", limit)
    # And none can be handed to somebody who has as many
    team, people, _ = await team_of(world)
    await join(people[0], team["id"], owner)
    async with world.unchanged():
        answer = await people[0].post(f"{TEAMS}/{team['id']}/transfer", {"user_id": str(owner.id)})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_teams")


async def test_the_owner_renames_and_the_members_hear_of_it(world: World) -> None:
    team, people, _ = await team_of(world)
    answer = await people[0].call("PATCH", f"{TEAMS}/{team['id']}", json={"name": "Deccan Guild"})
    assert (answer.status_code, answer.json()["name"]) == (200, "Deccan Guild")
    (event,) = await events_of(world, people[1].id, "team.renamed")
    assert event["payload"] == {"team_id": team["id"], "team_name": "Deccan Guild"}


async def test_the_owner_hands_the_team_over_and_may_then_leave(world: World) -> None:
    # Given a team whose owner cannot leave
    team, (owner, mate), (own_membership, _) = await team_of(world)
    async with world.unchanged():
        answer = await act(owner, own_membership, "leave")
    assert (answer.status_code, answer.json()["code"]) == (409, "owner_stays")
    # When it is handed over
    answer = await owner.post(f"{TEAMS}/{team['id']}/transfer", {"user_id": str(mate.id)})
    assert (answer.status_code, answer.json()["owner_id"]) == (200, str(mate.id))
    (event,) = await events_of(world, mate.id, "team.ownership_transferred")
    assert event["payload"]["user_id"] == str(mate.id)
    # Then the one who had it may leave, and the other may not
    assert (await act(owner, own_membership, "leave")).status_code == 200
    assert await names_in(mate, team["id"]) == {"Advertiser 1"}


async def test_a_team_is_handed_to_active_members_only(world: World) -> None:
    team, (owner, mate), (_, membership_id) = await team_of(world)
    await act(mate, membership_id, "leave")
    invited = await world.person(Role.ADVERTISER)
    await invite(owner, team["id"], user_id=str(invited.id))
    for nobody in (mate.id, invited.id, UUID(int=7)):
        async with world.unchanged():
            answer = await owner.post(f"{TEAMS}/{team['id']}/transfer", {"user_id": str(nobody)})
        assert (answer.status_code, answer.json()["code"]) == (422, "not_a_member")


async def test_a_deleted_team_is_gone_for_everybody_and_services_go_on_without_it(world: World) -> None:
    # Given a team with a service, and somebody who is invited
    team, (owner, mate), _ = await team_of(world)
    service = await offer(mate, team_id=team["id"])
    invited = await world.person(Role.ADVERTISER)
    await invite(owner, team["id"], user_id=str(invited.id))
    waiting = await invitation(invited, team["id"])
    # When the owner deletes it
    assert (await owner.call("DELETE", f"{TEAMS}/{team['id']}")).status_code == 200
    # Then nobody is in it, is invited to it, or sees it, and each was told
    for person in (owner, mate, invited):
        assert (await person.get(f"{TEAMS}/{team['id']}")).status_code == 404
        assert len(await events_of(world, person.id, "team.disbanded")) == 1
    assert waiting is not None
    assert (await act(invited, waiting, "accept")).status_code == 409
    # And the service is on sale still, without a team
    now = (await mate.get(f"/api/v1/me/advertised-services/{service['id']}")).json()
    assert (now["status"], now["team_id"]) == ("ACTIVE", None)
    # And there is nothing left to do with it
    async with world.unchanged():
        assert (await owner.call("DELETE", f"{TEAMS}/{team['id']}")).status_code == 404


DEEDS: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"name": "Mine now"}),
    ("DELETE", "", None),
    ("POST", "/transfer", {"user_id": "{self}"}),
    ("POST", "/invitations", {"user_id": "{self}"}),
    ("POST", "/invitations/withdraw", {"user_id": "{self}"}),
]


@pytest.mark.parametrize(("method", "path", "body"), DEEDS)
@pytest.mark.parametrize("who", ["a mate", "an invited advertiser", "an advertiser", "an admin"])
async def test_what_only_the_owner_may(world: World, who: str, method: str, path: str, body: Any) -> None:
    # Given a team, and somebody who is not its owner
    team, (owner, mate), _ = await team_of(world)
    person = mate if who == "a mate" else await world.person(Role.ADVERTISER)
    if who == "an invited advertiser":
        await invite(owner, team["id"], user_id=str(person.id))
    if who == "an admin":
        person = await world.person(Role.ADMIN, Role.ADVERTISER)
    body = {"user_id": str(person.id)} if body == {"user_id": "{self}"} else body
    # When they try the owner's deeds, then nothing happens; only who is in the team may know of it
    async with world.unchanged():
        answer = await person.call(method, f"{TEAMS}/{team['id']}{path}", json=body)
    expected = (403, "not_the_owner") if who == "a mate" else (404, "not_found")
    assert (answer.status_code, answer.json()["code"]) == expected


@pytest.mark.parametrize("path", ["", "/members"])
async def test_strangers_see_no_team(world: World, path: str) -> None:
    team, _, _ = await team_of(world)
    for person in (await world.person(Role.ADVERTISER), world.admin, world.support):
        assert (await person.get(f"{TEAMS}/{team['id']}{path}")).status_code == 404


async def test_who_is_invited_sees_the_team_but_not_its_members(world: World) -> None:
    team, (owner, _), _ = await team_of(world)
    invited = await world.person(Role.ADVERTISER)
    await invite(owner, team["id"], user_id=str(invited.id))
    seen = (await invited.get(f"{TEAMS}/{team['id']}")).json()
    assert (seen["name"], seen["membership_status"]) == ("Guild", "INVITED")
    assert (await invited.get(f"{TEAMS}/{team['id']}/members")).status_code == 404
    assert (await invited.get(TEAMS)).json()["items"] == []


async def test_teams_and_members_come_in_pages(world: World) -> None:
    team, people, _ = await team_of(world, 3)
    others = [await make_team(people[0], f"Guild {number}") for number in range(2)]
    for path, expected in ((TEAMS, 3), (f"{TEAMS}/{team['id']}/members", 3)):
        first = (await people[0].get(path, params={"limit": 2})).json()
        rest = (await people[0].get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        ids = [item["id"] for item in first["items"] + rest["items"]]
        assert (len(set(ids)), rest["next_cursor"]) == (expected, None)
        assert ids == sorted(ids, reverse=True)
    assert len(others) == 2


async def test_a_team_has_so_many_members_however_many_accept_at_once(world: World) -> None:
    # Given a team of its owner, with room for two more, and ten who are invited
    owner = await world.person(Role.ADVERTISER)
    team = await make_team(owner)
    people = [await world.person(Role.ADVERTISER, name=f"Invited {number}") for number in range(10)]
    await asyncio.gather(*(invite(owner, team["id"], user_id=str(person.id)) for person in people))
    memberships = [await invitation(person, team["id"]) for person in people]
    smaller = replace(world.platform, settings=settings().model_copy(update={"members_per_team": 3}))

    async def accept(person: Person, membership_id: str | None) -> str:
        actor = Actor(person.id, frozenset({Role.ADVERTISER}))
        try:
            async with world.platform.database.write() as session:
                return (await membership.accept(session, smaller, actor, UUID(membership_id))).status
        except TeamFull:
            return "full"

    # When all accept at once
    answers = await asyncio.gather(*map(accept, people, memberships))
    # Then two are in, and the others are told that it is full
    assert sorted(answers) == ["ACTIVE"] * 2 + ["full"] * 8
    assert len(await names_in(owner, team["id"])) == 3

"""Steps that tests of teams, and of what teams do together, share."""

from typing import Any

import httpx

from app.models.users import Role
from tests.support.world import Person, World

TEAMS = "/api/v1/teams"


async def make_team(owner: Person, name: str = "Guild") -> dict[str, Any]:
    answer = await owner.post(TEAMS, {"name": name})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def invite(owner: Person, team_id: str, **whom: Any) -> httpx.Response:
    return await owner.post(f"{TEAMS}/{team_id}/invitations", whom)


async def invitation(person: Person, team_id: str) -> str | None:
    """The id of the membership that one is invited to."""
    teams = (await person.get(TEAMS, params={"invited": True})).json()["items"]
    return next((str(team["membership_id"]) for team in teams if team["id"] == team_id), None)


async def act(person: Person, membership_id: str, action: str) -> httpx.Response:
    return await person.post(f"/api/v1/team-memberships/{membership_id}/{action}")


async def join(owner: Person, team_id: str, person: Person) -> str:
    """Is invited and has accepted; the membership's id."""
    assert (await invite(owner, team_id, user_id=str(person.id))).status_code == 202
    membership_id = await invitation(person, team_id)
    assert membership_id is not None
    joined = await act(person, membership_id, "accept")
    assert joined.status_code == 200, joined.text
    return membership_id


async def team_of(world: World, members: int = 2) -> tuple[dict[str, Any], list[Person], list[str]]:
    """A team, its members, of whom the first is the owner, and their memberships."""
    people = [await world.person(Role.ADVERTISER, name=f"Advertiser {number}") for number in range(members)]
    team = await make_team(people[0])
    joined = [await join(people[0], team["id"], person) for person in people[1:]]
    return team, people, [team["membership_id"], *joined]


async def names_in(reader: Person, team_id: str) -> set[str]:
    """Who is in the team, as one of its members sees it."""
    answer = await reader.get(f"{TEAMS}/{team_id}/members", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    return {member["user_name"] for member in answer.json()["items"]}

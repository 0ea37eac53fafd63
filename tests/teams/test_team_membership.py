"""Invitations that tell nothing, joining, leaving; who leaves takes the own services along and reviews no more."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Boolean, Uuid, bindparam, literal_column, select

from app.core.database import Statement
from app.models.users import Role
from app.services.teams.access import is_team_mate, team_mates
from tests.advertised_services.steps import offer
from tests.role_applications.steps import applied, decide
from tests.support.world import Person, World
from tests.teams.steps import TEAMS, act, invitation, invite, join, make_team, names_in, team_of
from tests.users.steps import events_of

_TEAM, _ADVERTISER = bindparam("team_id", type_=Uuid), bindparam("advertiser_id", type_=Uuid)
_MAY = Statement(select(is_team_mate(_TEAM, _ADVERTISER).label("may")))
_MATES = Statement(team_mates(_TEAM, _ADVERTISER))
BOTH = frozenset({Role.CUSTOMER, Role.ADVERTISER})


async def may_review(
    world: World, actor: Person, team: dict[str, Any], advertiser: Person, roles: frozenset[Role] = BOTH
) -> bool:
    """Whether the actor may review what the advertiser published under the team."""
    async with world.platform.database.read() as session:
        given: bool = await session.scalar(
            _MAY, team_id=UUID(team["id"]), advertiser_id=advertiser.id, actor_id=actor.id, actor_roles=list(roles)
        )
        return given


async def mates(world: World, team: dict[str, Any], advertiser: Person) -> set[UUID]:
    async with world.platform.database.read() as session:
        rows = await session.all(_MATES, team_id=UUID(team["id"]), advertiser_id=advertiser.id)
    return {row["user_id"] for row in rows}


@pytest.mark.parametrize("by", ["user_id", "email"])
async def test_an_invited_advertiser_hears_of_it_and_joins(world: World, by: str) -> None:
    # Given a team of two
    team, (owner, mate), _ = await team_of(world)
    person = await world.person(Role.ADVERTISER, name="Priya")
    # When somebody is invited
    whom = {"user_id": str(person.id)} if by == "user_id" else {"email": person.email.upper()}
    answer = await invite(owner, team["id"], **whom)
    assert (answer.status_code, answer.json()) == (202, {"done": True})
    (event,) = await events_of(world, person.id, "team.member_invited")
    assert event["payload"] == {"team_id": team["id"], "team_name": "Guild", "invited_by_name": "Advertiser 0"}
    # Then nobody else sees the invitation
    assert "Priya" not in await names_in(owner, team["id"])
    # And when the invitation is accepted, the new member is there, and the others hear of it
    membership_id = await invitation(person, team["id"])
    assert membership_id is not None
    joined = await act(person, membership_id, "accept")
    assert (joined.status_code, joined.json()["status"]) == (200, "ACTIVE")
    assert await names_in(person, team["id"]) == {"Advertiser 0", "Advertiser 1", "Priya"}
    for member in (owner, mate):
        told = await events_of(world, member.id, "team.member_joined")
        assert [event["payload"]["user_name"] for event in told][-1] == "Priya"
    assert await events_of(world, person.id, "team.member_joined") == []


async def test_an_invitation_tells_nothing_about_anybody(world: World) -> None:
    # Given people of every kind, and nobody at all
    team, (owner, mate), _ = await team_of(world)
    advertiser, customer, suspended = [
        await world.person(Role.ADVERTISER), await world.person(), await world.person(Role.ADVERTISER),
    ]  # fmt: skip
    await world.admin.post(f"/api/v1/admin/users/{suspended.id}/suspend", {"reason": "for the test"})
    whom: list[dict[str, str]] = [
        {"email": advertiser.email}, {"email": advertiser.email}, {"email": customer.email}, {"email": suspended.email},
        {"email": mate.email}, {"email": "nobody@mail.localbazaar.in"}, {"user_id": str(uuid4())},
        {"user_id": str(customer.id)}, {"user_id": str(owner.id)},
    ]  # fmt: skip
    # When each is invited, and then the invitation is taken back
    for path in ("invitations", "invitations/withdraw"):
        answers = [await owner.post(f"{TEAMS}/{team['id']}/{path}", who) for who in whom]
        # Then the answers are the same, byte by byte, and so is what the owner can see
        assert {(answer.status_code, answer.content) for answer in answers} == {(202, b'{"done":true}')}
        assert await names_in(owner, team["id"]) == {"Advertiser 0", "Advertiser 1"}
        assert (await owner.get(f"{TEAMS}/{team['id']}")).json()["members_count"] == 2
    # And one invitation was made and taken back
    rows = await world.rows("team_memberships", team_id=UUID(team["id"]))
    assert [row["status"] for row in rows] == ["ACTIVE", "ACTIVE", "REMOVED"]
    assert len(await events_of(world, advertiser.id, "team.member_invited")) == 1
    assert len(await events_of(world, advertiser.id, "team.invitation_withdrawn")) == 1
    assert await events_of(world, customer.id, "team.member_invited") == []


@pytest.mark.parametrize("body", [{}, {"user_id": str(UUID(int=1)), "email": "a@mail.localbazaar.in"}, {"email": "x"}])
async def test_exactly_one_way_to_name_the_invited(world: World, body: dict[str, str]) -> None:
    owner = await world.person(Role.ADVERTISER)
    team = await make_team(owner)
    async with world.unchanged():
        assert (await invite(owner, team["id"], **body)).status_code == 422


async def test_of_invitations_at_once_one_counts(world: World) -> None:
    owner, person = await world.person(Role.ADVERTISER), await world.person(Role.ADVERTISER)
    team = await make_team(owner)
    answers = await asyncio.gather(*(invite(owner, team["id"], user_id=str(person.id)) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(await events_of(world, person.id, "team.member_invited")) == 1
    # And of acceptances at once, too
    membership_id = await invitation(person, team["id"])
    assert membership_id is not None
    answers = await asyncio.gather(*(act(person, membership_id, "accept") for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
    assert len(await events_of(world, owner.id, "team.member_joined")) == 1


async def test_an_invitation_that_was_declined_is_over_and_the_owner_hears_nothing(world: World) -> None:
    owner, person = await world.person(Role.ADVERTISER), await world.person(Role.ADVERTISER)
    team = await make_team(owner)
    await invite(owner, team["id"], user_id=str(person.id))
    membership_id = await invitation(person, team["id"])
    assert membership_id is not None
    assert (await act(person, membership_id, "decline")).status_code == 200
    assert [name for name, told in await world.told(membership_id) if owner.id in told] == []
    async with world.unchanged():
        assert (await act(person, membership_id, "accept")).status_code == 409
    # But they may be asked again
    await join(owner, team["id"], person)


async def test_who_lost_the_role_does_not_join(world: World) -> None:
    # Given an advertiser who is invited, and whose role an admin takes away
    owner, person = await world.person(Role.ADVERTISER), await world.person()
    application_id = await applied(person, "advertiser")
    await decide(world.support, application_id, "approve")
    team = await make_team(owner)
    await invite(owner, team["id"], user_id=str(person.id))
    membership_id = await invitation(person, team["id"])
    assert membership_id is not None
    await decide(world.admin, application_id, "revoke")
    # Then they may not join
    async with world.unchanged():
        answer = await act(person, membership_id, "accept")
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


@pytest.mark.parametrize("action", ["accept", "decline", "leave", "remove"])
async def test_strangers_know_of_no_membership(world: World, action: str) -> None:
    # Given a member, and somebody who is invited
    team, (owner, _), (_, membership_id) = await team_of(world)
    invited, stranger = await world.person(Role.ADVERTISER), await world.person(Role.ADVERTISER, Role.ADMIN)
    await invite(owner, team["id"], user_id=str(invited.id))
    waiting = await invitation(invited, team["id"])
    assert waiting is not None
    # Then strangers may nothing with either, and the owner not know of the invitation
    async with world.unchanged():
        assert (await act(stranger, membership_id, action)).status_code == 404
        assert (await act(stranger, waiting, action)).status_code == 404
        assert (await act(owner, waiting, action)).status_code == 404
        assert (await act(owner, str(uuid4()), action)).status_code == 404


async def test_members_remove_nobody_and_the_owner_cannot_be_removed(world: World) -> None:
    _, (owner, mate, _), memberships = await team_of(world, 3)
    async with world.unchanged():
        answers = [await act(mate, memberships[place], "remove") for place in (0, 2)]
        own = await act(owner, memberships[0], "remove")
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "not_the_owner")] * 2
    assert (own.status_code, own.json()["code"]) == (409, "owner_stays")


@pytest.mark.parametrize("action", ["leave", "remove"])
async def test_who_leaves_takes_the_own_services_along_and_reviews_no_more(world: World, action: str) -> None:
    # Given a team of three, who review for each other
    team, (owner, mate, third), memberships = await team_of(world, 3)
    services = [await offer(person, team_id=team["id"]) for person in (mate, third)]
    assert await may_review(world, owner, team, mate)
    assert await may_review(world, mate, team, third)
    assert await mates(world, team, mate) == {owner.id, third.id}
    # When one leaves, or is removed
    ended = await act(mate if action == "leave" else owner, memberships[1], action)
    assert (ended.status_code, ended.json()["left_at"] is not None) == (200, True)
    # Then the one does not review for the others, nor they for the one: orders under the frozen team included
    assert not await may_review(world, mate, team, third)
    assert not await may_review(world, owner, team, mate)
    assert not await may_review(world, mate, team, mate)
    assert await may_review(world, owner, team, third)
    assert await mates(world, team, mate) == set()
    assert await mates(world, team, third) == {owner.id}
    # And the one's service goes along, that of the others stays
    own = (await mate.get(f"/api/v1/me/advertised-services/{services[0]['id']}")).json()
    assert (own["team_id"], own["status"]) == (None, "ACTIVE")
    assert (await third.get(f"/api/v1/me/advertised-services/{services[1]['id']}")).json()["team_id"] == team["id"]
    # And the others hear of it, and the one, if it was not the own decision
    name = "team.member_left" if action == "leave" else "team.member_removed"
    expected = {owner.id, third.id} | ({mate.id} if action == "remove" else set())
    assert (await world.told(memberships[1]))[-1] == (name, expected)
    # And the team is none of the one's business any more
    assert (await mate.get(f"{TEAMS}/{team['id']}")).status_code == 404
    async with world.unchanged():
        assert (await act(mate, memberships[1], "leave")).status_code == 409


async def test_a_team_mate_is_an_advertiser_now(world: World) -> None:
    team, (owner, mate), _ = await team_of(world)
    assert not await may_review(world, mate, team, owner, roles=frozenset({Role.CUSTOMER}))
    await world.execute("DELETE FROM user_roles WHERE user_id = :id AND role = 'advertiser'", id=mate.id)
    assert await mates(world, team, owner) == set()


async def test_who_is_invited_does_not_review_yet(world: World) -> None:
    team, (owner, _), _ = await team_of(world)
    invited = await world.person(Role.ADVERTISER)
    await invite(owner, team["id"], user_id=str(invited.id))
    assert not await may_review(world, invited, team, owner)
    assert invited.id not in await mates(world, team, owner)


async def test_no_team_has_no_mates(world: World) -> None:
    _, (owner, mate), _ = await team_of(world)
    none = literal_column("NULL::uuid", Uuid)
    statement = Statement(select(is_team_mate(none, _ADVERTISER).label("may")).where(literal_column("true", Boolean)))
    async with world.platform.database.read() as session:
        assert not await session.scalar(
            statement, advertiser_id=owner.id, actor_id=mate.id, actor_roles=[Role.ADVERTISER.value]
        )


async def test_a_service_does_not_stay_behind_whoever_leaves_while_publishing(world: World) -> None:
    # Given a member who publishes again and again under the team, and leaves at the same time
    team, (_, mate), (_, membership_id) = await team_of(world)
    body = {"title": "Run", "description": "A run.", "price_minor": 500, "currency": "GOLD", "team_id": team["id"]}
    answers = await asyncio.gather(
        *(mate.post("/api/v1/advertised-services", body) for _ in range(10)),
        act(mate, membership_id, "leave"),
        *(mate.post("/api/v1/advertised-services", body) for _ in range(10)),
    )
    # Then each was published under the team before, or refused after, and none is left under it
    assert {answer.status_code for answer in answers} <= {200, 201, 422}
    assert answers[10].status_code == 200
    rows = await world.rows("advertised_services", advertiser_id=mate.id)
    assert {row["team_id"] for row in rows} <= {None}


async def test_a_team_is_not_handed_to_whoever_leaves_at_the_same_time(world: World) -> None:
    for _ in range(5):
        # Given a team that is handed to a member who leaves
        team, (owner, mate), (_, membership_id) = await team_of(world)
        handed, left = await asyncio.gather(
            owner.post(f"{TEAMS}/{team['id']}/transfer", {"user_id": str(mate.id)}), act(mate, membership_id, "leave")
        )
        # Then one of the two came first, and the owner is a member
        assert (handed.status_code, left.status_code) in {(200, 409), (422, 200)}
        holder = mate if handed.is_success else owner
        assert (await holder.get(f"{TEAMS}/{team['id']}")).json()["owner_id"] == str(holder.id)

"""Every status, every action, everybody: drawn from the declared lifecycles, judged by money.md and the ADR."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from app.core.actor import Actor
from app.core.errors import Forbidden, NotFound
from app.kernel.lifecycle import LIFECYCLES
from app.models.payouts import PayoutProfileStatus as ProfileStatus
from app.models.payouts import PayoutStatus
from app.models.users import Role
from tests.payouts.steps import PAYOUTS, REASON, decide, payout_of, review, with_profile
from tests.support.world import Person, World

PROFILES, PAYOUT = LIFECYCLES["payout_profile"], LIFECYCLES["payout"]
ROLES = ("owner", "stranger", "support", "manager", "admin", "owning_admin")
REVIEWERS = {"support", "admin", "owning_admin"}

PROFILE_TABLE: dict[str, tuple[set[ProfileStatus], Any]] = {
    "change": (set(ProfileStatus), ProfileStatus.PENDING),
    "schedule": (set(ProfileStatus), {status: status for status in ProfileStatus}),
    "verify": ({ProfileStatus.PENDING, ProfileStatus.RESTRICTED}, ProfileStatus.VERIFIED),
    "reject": ({ProfileStatus.PENDING, ProfileStatus.RESTRICTED}, ProfileStatus.REJECTED),
    "restrict": ({ProfileStatus.PENDING, ProfileStatus.VERIFIED}, ProfileStatus.RESTRICTED),
}
PAYOUT_TABLE = {
    "send": (PayoutStatus.REQUESTED, PayoutStatus.SENT),
    "fail": (PayoutStatus.REQUESTED, PayoutStatus.FAILED),
    "return": (PayoutStatus.SENT, PayoutStatus.FAILED),
}
OWN_ACTIONS = {"change", "schedule"}


@dataclass(frozen=True)
class Cast:
    """One person for each way to stand towards a profile or payout of `owner`; `owning_admin` has the own ones."""

    world: World
    owner: Person
    stranger: Person
    support: Person
    manager: Person
    admin: Person
    owning_admin: Person

    def person(self, role: str) -> Person:
        found: Person = getattr(self, role)
        return found


async def cast_for(world: World, owner: Person, owning_admin: Person) -> Cast:
    return Cast(world, owner, await world.person(), world.support, world.manager, world.admin, owning_admin)


@pytest.fixture(scope="module")
async def profiles(world: World) -> dict[ProfileStatus, Cast]:
    """A profile in each status, for all refusals: they leave no trace on it."""
    return {
        status: await cast_for(
            world,
            await with_profile(world, status, funds_minor=0),
            await with_profile(world, status, Role.ADMIN, funds_minor=0),
        )
        for status in ProfileStatus
    }


@pytest.fixture(scope="module")
async def payouts(world: World) -> dict[PayoutStatus, tuple[Cast, str, str]]:
    """In each status a payout of `owner`, and one of `owning_admin`."""
    made = {}
    for status in PayoutStatus:
        cast = await cast_for(
            world, await with_profile(world), await with_profile(world, ProfileStatus.VERIFIED, Role.ADMIN)
        )
        made[status] = (
            cast, await payout_of(world, cast.owner, status), await payout_of(world, cast.owning_admin, status),
        )  # fmt: skip
    return made


def test_the_declared_tables_are_the_specified_ones() -> None:
    declared = PROFILES.declared.transitions
    assert {name: (set(row.sources), row.target) for name, row in declared.items()} == PROFILE_TABLE
    assert {name: (*row.sources, row.target) for name, row in PAYOUT.declared.transitions.items()} == PAYOUT_TABLE


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", [name for name in PROFILES.declared.transitions if name not in OWN_ACTIONS])
@pytest.mark.parametrize("status", list(ProfileStatus))
async def test_everybody_decides_about_a_profile_in_every_status(
    world: World, profiles: dict[ProfileStatus, Cast], status: ProfileStatus, action: str, role: str
) -> None:
    cast = profiles[status]
    person = cast.person(role)
    owner = person if role == "owning_admin" else cast.owner
    sources, target = PROFILE_TABLE[action]
    if role == "admin" and status in sources:
        # When an admin decides where a decision makes sense, then it is taken
        fresh = await with_profile(world, status, funds_minor=0)
        answer = await decide(person, fresh, action)
        assert (answer.status_code, answer.json()["status"]) == (200, target)
        (row,) = await world.rows("payout_profiles", id=fresh.id)
        assert (row["status"], row["status_reason"]) == (target, None if action == "verify" else REASON["reason"])
        return
    # When anybody else tries, or an admin where it makes none, then nothing happens
    before = await world.rows("payout_profiles", id=owner.id)
    async with world.unchanged():
        answer = await decide(person, owner, action)
    expected = {"admin": (409, "illegal_transition"), "owning_admin": (403, "forbidden")}
    assert (answer.status_code, answer.json()["code"]) == expected.get(role, (403, "role_required"))
    assert await world.rows("payout_profiles", id=owner.id) == before
    if role == "admin":
        problem = answer.json()
        possible = {name for name, (from_, _) in PROFILE_TABLE.items() if status in from_} - OWN_ACTIONS
        assert (problem["current_status"], set(problem["allowed_actions"])) == (status, possible)


@pytest.mark.parametrize("role", [role for role in ROLES if role not in {"owner", "owning_admin"}])
@pytest.mark.parametrize("action", sorted(OWN_ACTIONS))
@pytest.mark.parametrize("status", list(ProfileStatus))
async def test_only_the_owner_changes_a_bank_account_or_a_schedule(
    world: World, profiles: dict[ProfileStatus, Cast], status: ProfileStatus, action: str, role: str
) -> None:
    """The paths reach nobody else's profile; the lifecycle would refuse it all the same."""
    cast = profiles[status]
    actor = Actor(cast.person(role).id, frozenset({role} if role != "stranger" else ()))
    given: dict[str, Any] = {"schedule": "weekly"}
    if action == "change":
        given = {"holder_name": "X", "ifsc": "X", "sealed_account_number": b"X", "account_last4": "0000"}
    refusal = Forbidden if role in REVIEWERS else NotFound
    async with world.unchanged():
        with pytest.raises(refusal) as refused:
            async with world.platform.database.write() as session:
                await PROFILES.advance(
                    session, cast.owner.id, PROFILES.declared.transitions[action].action, actor, **given
                )
    assert type(refused.value) is refusal


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", list(PAYOUT.declared.transitions))
@pytest.mark.parametrize("status", list(PayoutStatus))
async def test_everybody_reviews_a_payout_in_every_status(
    world: World, payouts: dict[PayoutStatus, tuple[Cast, str, str]], status: PayoutStatus, action: str, role: str
) -> None:
    cast, of_owner, of_owning_admin = payouts[status]
    payout_id = of_owning_admin if role == "owning_admin" else of_owner
    source, target = PAYOUT_TABLE[action]
    if role == "admin" and status is source:
        payout_id = await payout_of(world, await with_profile(world), status)
        answer = await review(cast.admin, payout_id, action)
        assert (answer.status_code, answer.json()["status"]) == (200, target)
        await world.books_are_clean()
        return
    before = await world.rows("payouts", id=UUID(payout_id))
    async with world.unchanged():
        answer = await review(cast.person(role), payout_id, action)
    expected = {"admin": (409, "illegal_transition"), "owning_admin": (403, "forbidden")}
    assert (answer.status_code, answer.json()["code"]) == expected.get(role, (403, "role_required"))
    assert await world.rows("payouts", id=UUID(payout_id)) == before
    if role == "admin":
        possible = {name for name, (from_, _) in PAYOUT_TABLE.items() if status is from_}
        assert answer.json()["current_status"] == status
        assert set(answer.json()["allowed_actions"]) == possible


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("status", list(PayoutStatus))
async def test_a_payout_is_shown_to_its_owner_and_to_reviewers(
    payouts: dict[PayoutStatus, tuple[Cast, str, str]], status: PayoutStatus, role: str
) -> None:
    cast, payout_id, _ = payouts[status]
    answer = await cast.person(role).get(f"{PAYOUTS}/{payout_id}")
    assert answer.status_code == (200 if role in REVIEWERS | {"owner"} else 404)


@pytest.mark.parametrize("path", ["/api/v1/admin/payouts", "/api/v1/admin/payout-profiles"])
@pytest.mark.parametrize("role", ROLES)
async def test_support_and_admins_see_the_queues(profiles: dict[ProfileStatus, Cast], role: str, path: str) -> None:
    answer = await profiles[ProfileStatus.PENDING].person(role).get(path)
    assert answer.status_code == (200 if role in REVIEWERS else 403)


async def test_nobody_without_a_session_gets_anywhere(
    world: World, payouts: dict[PayoutStatus, tuple[Cast, str, str]]
) -> None:
    _, payout_id, _ = payouts[PayoutStatus.REQUESTED]
    async with world.unchanged():
        for action in PAYOUT_TABLE:
            assert (await world.http.post(f"/api/v1/admin/payouts/{payout_id}/{action}", json=REASON)).is_error
        for method, path in (("GET", PAYOUTS), ("POST", PAYOUTS), ("GET", f"{PAYOUTS}/{payout_id}")):
            assert (await world.http.request(method, path, json={})).status_code == 401
        assert (await world.http.get("/api/v1/wallet/entries.csv", params={"from": "2026-01-01T00:00:00Z"})).is_error


@pytest.mark.parametrize("action", ["verify", "reject", "restrict"])
async def test_a_profile_that_there_is_not_is_a_404(world: World, action: str) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await decide(world.admin, person, action)).status_code == 404

"""Every status, every action, everybody, over HTTP: drawn from the declared lifecycle, judged by work-orders.md."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.kernel.lifecycle import LIFECYCLES
from app.models.users import Role
from app.models.work_orders import WorkOrderStatus as Status
from tests.support.world import Person, World
from tests.work_orders import steps
from tests.work_orders.conftest import Cast
from tests.work_orders.steps import PATH, PRICE

ROLES = (
    "buyer", "booster", "advertiser", "team_mate", "former_mate", "other_advertiser", "other_booster", "stranger",
    "manager", "support", "admin",
)  # fmt: skip
STAFF = {"support", "admin"}
IN_CHARGE = {"advertiser", "team_mate"} | STAFF
WAITING = (Status.EVIDENCE_SUBMITTED, Status.UNDER_REVIEW)
WORKED_ON = (Status.ASSIGNED, Status.IN_PROGRESS, Status.REJECTED, *WAITING)

# work-orders.md, word for word: who, from, to.
SPECIFIED: Mapping[str, tuple[set[str], tuple[Status, ...], set[Status]]] = {
    "assign": (IN_CHARGE, (Status.PENDING, Status.ASSIGNED), {Status.ASSIGNED}),
    "start": ({"booster"}, (Status.ASSIGNED,), {Status.IN_PROGRESS}),
    "submit": ({"booster"}, (Status.IN_PROGRESS, Status.REJECTED), {Status.EVIDENCE_SUBMITTED}),
    "open_review": (IN_CHARGE, (Status.EVIDENCE_SUBMITTED,), {Status.UNDER_REVIEW}),
    "approve": (IN_CHARGE, WAITING, {Status.COMPLETED}),
    "reject": (IN_CHARGE, WAITING, {Status.REJECTED}),
    "cancel": ({"buyer"} | STAFF, (Status.PENDING, *WORKED_ON), {Status.CANCELLED}),
    "dispute": ({"buyer", "booster"}, WORKED_ON, {Status.DISPUTED}),
    "resolve": (STAFF, (Status.DISPUTED,), {Status.COMPLETED, Status.CANCELLED}),
    "resume": (STAFF, (Status.DISPUTED,), set(WORKED_ON)),
    "override_complete": ({"admin"}, (Status.REJECTED, Status.CANCELLED), {Status.COMPLETED}),
    "override_cancel": ({"admin"}, (Status.COMPLETED,), {Status.CANCELLED}),
    "rate": ({"buyer"}, (Status.COMPLETED,), {Status.COMPLETED}),
}
NEEDS = {"resolve": STAFF, "resume": STAFF, "override_complete": {"admin"}, "override_cancel": {"admin"}}
REFUSALS = {
    "assign": "not_in_charge",
    "start": "not_the_booster",
    "submit": "not_the_booster",
    "dispute": "not_a_party",
    "cancel": "not_the_buyer",
    "rate": "not_the_buyer",
}
DECISIONS = ("open_review", "approve", "reject", "cancel", "resolve", "override_complete", "override_cancel")
DECIDED_ABOUT = (
    Status.EVIDENCE_SUBMITTED,
    Status.UNDER_REVIEW,
    Status.REJECTED,
    Status.DISPUTED,
    Status.COMPLETED,
)
ORDERS = LIFECYCLES["work_order"].declared
ALLOWED = [
    (status, action, role)
    for action, (who, sources, _) in SPECIFIED.items()
    for role in ROLES
    if role in who
    for status in sources
    if not (action == "cancel" and role == "buyer" and status is not Status.PENDING)
]


def test_the_declared_table_is_the_specified_one() -> None:
    assert ORDERS.transitions.keys() == SPECIFIED.keys()
    for action, (_, sources, targets) in SPECIFIED.items():
        declared = ORDERS.transitions[action]
        assert declared.sources == set(sources)
        assert {target for source in sources for target in declared.targets_from(source)} == targets


def sees(role: str, status: Status) -> bool:
    return role in IN_CHARGE | {"buyer"} or (role == "booster" and status is not Status.PENDING)


def decisions(role: str) -> list[str]:
    """What somebody of this role would decide about the order of another."""
    return [action for action in DECISIONS if role in NEEDS.get(action, ROLES)]


def expected(role: str, action: str, status: Status) -> tuple[int, str | None]:
    """The status code that work-orders.md gives, and the code of the refusal."""
    who, sources, _ = SPECIFIED[action]
    if role not in NEEDS.get(action, ROLES):
        return 403, "role_required"
    if not sees(role, status):
        return 404, "not_found"
    if role not in who:
        return 403, REFUSALS.get(action, "not_a_reviewer")
    if status not in sources:
        return 409, "illegal_transition"
    if action == "cancel" and role == "buyer" and status is not Status.PENDING:
        return 409, "too_late_to_cancel"
    return 200, None


def may(role: str, status: Status) -> set[str]:
    """The actions that a refusal names as allowed."""
    return {action for action in SPECIFIED if expected(role, action, status)[1] is None}


def request_of(cast: Cast, action: str, image_id: str) -> tuple[str, Any]:
    """The path and the body of an action."""
    reason = {"reason": "because"}
    split = {"outcome": "CANCELLED", "booster_minor": 100_00, "buyer_minor": PRICE - 100_00}
    bodies: dict[str, tuple[str, Any]] = {
        "assign": ("assign", {"booster_id": str(cast.other_booster.id)}),
        "submit": ("submit", {"image_ids": [image_id], "notes": "done"}),
        "reject": ("reject", reason),
        "cancel": ("cancel", reason),
        "dispute": ("dispute", reason),
        "resolve": ("resolve", split | {"resolution_notes": "half done"}),
        "resume": ("resolve", {"outcome": "RESUMED", "resolution_notes": "go on"}),
        "override_complete": ("override", reason | {"outcome": "COMPLETED"}),
        "override_cancel": ("override", reason | {"outcome": "CANCELLED"}),
        "rate": ("rate", {"rating": 5}),
    }
    return bodies.get(action, (action.replace("_", "-"), None))


async def attempt(cast: Cast, person: Person, order_id: str, action: str, image_id: str) -> httpx.Response:
    path, body = request_of(cast, action, image_id)
    return await person.post(f"{PATH}/{order_id}/{path}", body)


@pytest.fixture(scope="module")
async def orders(cast: Cast) -> dict[Status, str]:
    """One order in each status, for all refusals: they leave no trace on it."""
    return {status: await cast.order(status) for status in Status}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("status", list(Status))
async def test_nobody_does_what_they_may_not(cast: Cast, orders: dict[Status, str], status: Status, role: str) -> None:
    # Given somebody and an order in this status
    person, order_id = cast.person(role), orders[status]
    image_id = await person.upload("evidence", steps.screenshot())
    before = await cast.world.rows("work_orders", id=UUID(order_id))
    refused = {action: expected(role, action, status) for action in SPECIFIED}
    # When they try everything that they may not do
    async with cast.world.unchanged():
        for action, (code, refusal) in refused.items():
            if refusal is None:
                continue
            answer = await attempt(cast, person, order_id, action, image_id)
            # Then each is refused as it should be, and nothing appeared
            assert (answer.status_code, answer.json()["code"]) == (code, refusal), (action, answer.text)
            if code == 409:
                assert answer.json()["current_status"] == status
                assert set(answer.json()["allowed_actions"]) == may(role, status), action
    assert await cast.world.rows("work_orders", id=UUID(order_id)) == before
    await steps.succeed(person.get(f"/api/v1/files/{image_id}"))
    await cast.world.execute("DELETE FROM files WHERE id = cast(:id AS uuid)", id=image_id)


@pytest.mark.parametrize(("status", "action", "role"), ALLOWED)
async def test_everybody_does_what_they_may(cast: Cast, status: Status, action: str, role: str) -> None:
    order_id, person = await cast.order(status), cast.person(role)
    image_id = await person.upload("evidence", steps.screenshot()) if action == "submit" else ""
    answer = await attempt(cast, person, order_id, action, image_id)
    assert answer.status_code == 200, answer.text
    if action == "resume":
        assert answer.json()["status"] == Status.IN_PROGRESS
    else:
        assert answer.json()["status"] in SPECIFIED[action][2]
    step = (await cast.world.trail(order_id))[-1]
    assert (step["action"], step["from_status"], step["actor_id"]) == (action, status, person.id)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("status", list(Status))
async def test_reading_follows_the_same_line(cast: Cast, orders: dict[Status, str], status: Status, role: str) -> None:
    person, order_id = cast.person(role), orders[status]
    answer = await person.get(f"{PATH}/{order_id}")
    assert answer.status_code == (200 if sees(role, status) else 404), answer.text
    # The evidence is for the booster and the reviewers, and so are its images
    rounds = await person.get(f"{PATH}/{order_id}/evidence")
    assert rounds.status_code == (404 if not sees(role, status) else 403 if role == "buyer" else 200)
    images = [
        image
        for row in await cast.world.rows("evidence_rounds", subject_id=UUID(order_id))
        for image in row["image_ids"]
    ]
    for image_id in images:
        link = await person.get(f"/api/v1/files/{image_id}")
        assert link.status_code == (200 if rounds.is_success else 404)


async def test_nobody_without_a_session_gets_anywhere(cast: Cast, orders: dict[Status, str]) -> None:
    async with cast.world.unchanged():
        for action in SPECIFIED:
            path, body = request_of(cast, action, str(UUID(int=1)))
            answer = await cast.world.http.post(f"{PATH}/{orders[Status.UNDER_REVIEW]}/{path}", json=body)
            assert answer.status_code == 401


async def somebody_else_too(cast: Cast, world: World, other: str, *roles: Role) -> Person:
    """A person who is the order's advertiser, a team mate, support or admin, with these roles besides."""
    match other:
        case "team_mate":
            mate = await world.person(Role.ADVERTISER, *roles)
            invited = f"/api/v1/teams/{cast.team_id}"
            await steps.succeed(cast.advertiser.post(f"{invited}/invitations", {"user_id": str(mate.id)}))
            membership = (await steps.succeed(mate.get(invited)))["membership_id"]
            await steps.succeed(mate.post(f"/api/v1/team-memberships/{membership}/accept"))
            return mate
        case "support" | "admin":
            return await world.person(Role(other), *roles)
    return await steps.advertiser(world, *roles)


@pytest.mark.parametrize("other", ["advertiser", "team_mate", "support", "admin"])
async def test_a_booster_never_decides_about_the_own_order_whatever_else_they_are_on_it(
    cast: Cast, world: World, other: str
) -> None:
    # Given a booster who holds another role on the order too
    double = await somebody_else_too(cast, world, other, Role.BOOSTER)
    offered = await steps.service(double) if other == "advertiser" else cast.service
    for status in DECIDED_ABOUT:
        order_id = await steps.bring(
            world, status, buyer=cast.buyer, booster=double, manager=world.admin, offered=offered
        )
        # When they try to decide about it, then nothing moves
        async with world.unchanged():
            for action in decisions(other):
                answer = await attempt(cast, double, order_id, action, "")
                assert answer.status_code == 403, (status, action, answer.text)
                assert answer.json()["code"] in {"not_a_reviewer", "not_the_buyer"}
        # and it is not in their queue
        queue = await steps.succeed(double.get(f"{PATH}/to-review", params={"limit": 100}))
        assert order_id not in {order["id"] for order in queue["items"]}


@pytest.mark.parametrize("other", ["team_mate", "support", "admin"])
async def test_a_buyer_never_decides_about_the_own_order_whatever_else_they_are_on_it(
    cast: Cast, world: World, other: str
) -> None:
    double = await somebody_else_too(cast, world, other)
    await steps.top_up(world, double, 10 * PRICE)
    for status in DECIDED_ABOUT:
        order_id = await cast.order(status, buyer=double)
        async with world.unchanged():
            for action in decisions(other):
                answer = await attempt(cast, double, order_id, action, "")
                refused = (409, "too_late_to_cancel") if action == "cancel" else (403, "not_a_reviewer")
                if action == "cancel" and status in (Status.DISPUTED, Status.COMPLETED):
                    refused = (409, "illegal_transition")
                assert (answer.status_code, answer.json()["code"]) == refused, (status, action, answer.text)
        assert (await double.get(f"{PATH}/{order_id}/evidence")).status_code == 403


async def test_a_team_mate_who_leaves_stops_deciding_at_once(cast: Cast, world: World) -> None:
    # Given a team mate, and an order that waits for a verdict
    mate = await somebody_else_too(cast, world, "team_mate")
    order_id = await cast.order(Status.UNDER_REVIEW)
    assert (await mate.get(f"{PATH}/{order_id}")).is_success
    membership = (await steps.succeed(mate.get(f"/api/v1/teams/{cast.team_id}")))["membership_id"]
    # When they leave
    await steps.succeed(mate.post(f"/api/v1/team-memberships/{membership}/leave"))
    # Then the order is none of theirs
    async with world.unchanged():
        for action in ("approve", "reject"):
            assert (await attempt(cast, mate, order_id, action, "")).status_code == 404


async def appointed(world: World, role: Role) -> tuple[Person, str]:
    """Somebody who holds the role by an application; the person and the application's id."""
    person = await world.person()
    wanted = {"role": role, "statement": "I know how.", "document_ids": [await person.upload("document")]}
    applied = await steps.succeed(person.post("/api/v1/me/applications", wanted))
    await steps.succeed(world.admin.post(f"/api/v1/role-applications/{applied['id']}/approve"))
    return person, str(applied["id"])


async def revoke(world: World, application_id: str) -> None:
    await steps.succeed(
        world.admin.post(f"/api/v1/role-applications/{application_id}/revoke", {"reason": "for the test"})
    )


async def test_who_is_no_advertiser_any_more_sees_the_own_orders_and_decides_nothing_about_them(
    cast: Cast, world: World
) -> None:
    # Given an advertiser with orders in all hands, and a team mate
    seller, application_id = await appointed(world, Role.ADVERTISER)
    mate = await steps.advertiser(world)
    team_id, _ = await steps.team(seller, mate)
    offered = await steps.service(seller, team_id=team_id)
    orders = {
        status: await steps.bring(
            world, status, buyer=cast.buyer, booster=cast.booster, manager=seller, offered=offered
        )
        for status in (Status.PENDING, Status.EVIDENCE_SUBMITTED, Status.UNDER_REVIEW)
    }
    # When the role is taken away
    await revoke(world, application_id)
    # Then nothing that they try moves anything
    async with world.unchanged():
        for status, order_id in orders.items():
            assert (await seller.get(f"{PATH}/{order_id}")).is_success
            for action, refusal in (
                ("assign", "not_in_charge"), ("open_review", "not_a_reviewer"),
                ("approve", "not_a_reviewer"), ("reject", "not_a_reviewer"),
            ):  # fmt: skip
                answer = await attempt(cast, seller, order_id, action, "")
                assert (answer.status_code, answer.json()["code"]) == (403, refusal), (status, action)
            assert (await seller.get(f"{PATH}/{order_id}/evidence")).status_code == 403
    assert (await steps.succeed(seller.get(f"{PATH}/to-review")))["items"] == []
    # and the team mate goes on, with whom alone the next evidence waits
    await steps.do(mate, orders[Status.UNDER_REVIEW], "reject", {"reason": "No timer."})
    await steps.do(cast.booster, orders[Status.UNDER_REVIEW], "submit", await steps.evidence(cast.booster))
    name, told = (await world.told(orders[Status.UNDER_REVIEW]))[-1]
    assert (name, mate.id in told, seller.id in told) == ("work_order.evidence_submitted", True, False)
    await steps.do(mate, orders[Status.UNDER_REVIEW], "approve")


async def test_who_is_no_booster_any_more_begins_nothing_and_may_finish_what_was_begun(
    cast: Cast, world: World
) -> None:
    # Given a booster with an order that is assigned and one that has begun
    booster, application_id = await appointed(world, Role.BOOSTER)
    assigned, begun = [
        await cast.order(status, booster=booster) for status in (Status.ASSIGNED, Status.IN_PROGRESS)
    ]  # fmt: skip
    # When the role is taken away
    await revoke(world, application_id)
    # Then the one cannot be begun, but be given to another
    async with world.unchanged():
        answer = await booster.post(f"{PATH}/{assigned}/start")
        assert (answer.status_code, answer.json()["code"]) == (403, "role_required")
    await steps.do(cast.advertiser, assigned, "assign", {"booster_id": str(cast.other_booster.id)})
    # and the other is handed in, and paid for if it is good
    await steps.do(booster, begun, "submit", await steps.evidence(booster))
    await steps.do(cast.advertiser, begun, "approve")
    assert await steps.held_by(world, booster.id) == PRICE


async def test_only_active_boosters_other_than_the_buyer_are_assigned(cast: Cast, world: World) -> None:
    double = await steps.buyer(world)
    await world.execute(
        "INSERT INTO user_roles (user_id, role) VALUES (cast(:id AS uuid), 'booster')", id=str(double.id)
    )
    suspended = await world.person(Role.BOOSTER)
    await steps.succeed(world.admin.post(f"/api/v1/admin/users/{suspended.id}/suspend", {"reason": "for the test"}))
    order_id = await cast.order(Status.PENDING, buyer=double)
    async with world.unchanged():
        for wanted in (cast.stranger.id, double.id, suspended.id, UUID(int=7)):
            answer = await cast.advertiser.post(f"{PATH}/{order_id}/assign", {"booster_id": str(wanted)})
            assert (answer.status_code, answer.json()["code"]) == (422, "not_a_booster")


async def test_the_walls_behind_the_guards_hold_whatever_the_code_does(cast: Cast) -> None:
    order_id = await cast.order(Status.UNDER_REVIEW)
    for column, person in (("reviewed_by", cast.booster), ("reviewed_by", cast.buyer), ("overridden_by", cast.booster)):
        with pytest.raises(Exception, match="Only a reviewer"):
            await cast.world.execute(
                f"UPDATE work_orders SET {column} = cast(:person AS uuid) WHERE id = cast(:id AS uuid)",
                person=str(person.id),
                id=order_id,
            )

"""Every step of payments and refunds, tried from every status by everybody (money.md: Payment providers)."""

import asyncio
import random
import secrets
from typing import Any
from uuid import UUID

import pytest

from app.adapters.payments.sandbox_webhooks import EventType
from app.core.actor import CLOCK, Actor
from app.core.errors import Problem
from app.core.money import AMOUNT_LIMIT
from app.kernel.lifecycle import Lifecycle
from app.models.payments import PaymentStatus as Status
from app.models.payments import RefundStatus
from app.models.users import Role
from app.services.payments.lifecycle import LIFECYCLE, REFUNDS, Action, RefundAction
from tests.payments.steps import (
    AMOUNT,
    PAYMENTS,
    escrow_of,
    expire,
    in_status,
    paid,
    read,
    refund,
    refund_notice,
    refunds_of,
    row_of,
    top_up,
)
from tests.support.world import Person, World

ADMIN = "/api/v1/admin/payments"
REASON = {"reason": "because"}
OPEN = {Status.CREATED, Status.PENDING}
REFUNDABLE = {Status.SUCCEEDED, Status.UNDER_REVIEW, Status.PARTIALLY_REFUNDED}

# The paths of a payment: who may call it, its body, from which statuses, and the status after it.
CALLS: dict[str, tuple[str, Any, set[Status], Status]] = {
    f"{PAYMENTS}/{{}}/checkout": ("payer", None, OPEN, Status.PENDING),
    f"{PAYMENTS}/{{}}/cancel": ("payer", None, OPEN | {Status.FAILED}, Status.EXPIRED),
    f"{ADMIN}/{{}}/accept": ("admin", REASON, {Status.UNDER_REVIEW}, Status.SUCCEEDED),
    f"{ADMIN}/{{}}/refunds": ("admin", REASON, REFUNDABLE, Status.REFUNDED),
}


@pytest.fixture(scope="module")
async def roles(world: World) -> dict[str, Person]:
    return {
        "payer": await world.person(),
        "stranger": await world.person(),
        "provider": await world.provider(funds_minor=0),
        "support": world.support,
        "manager": world.manager,
        "admin": world.admin,
    }


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("status", Status)
async def test_each_action_leads_on_from_its_statuses_and_changes_nothing_in_any_other(
    world: World, roles: dict[str, Person], status: Status, path: str
) -> None:
    role, body, sources, target = CALLS[path]
    payment = await in_status(world, roles["payer"], status)
    if status in sources:
        answer = await roles[role].post(path.format(payment["id"]), body)
        assert answer.is_success, answer.text
        assert (await row_of(world, payment))["status"] == target
        [*_, last] = await world.trail(payment["id"])
        # An open checkout is shown again as it is.
        came_from = status if status is not target else Status.CREATED
        assert (last["from_status"], last["to_status"], last["actor_id"]) == (came_from, target, roles[role].id)
        await world.books_are_clean()
        return
    before = await row_of(world, payment)
    async with world.unchanged():
        answer = await roles[role].post(path.format(payment["id"]), body)
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
    assert answer.json()["current_status"] == status
    assert await row_of(world, payment) == before


@pytest.mark.parametrize("status", Status)
async def test_nobody_else_can_do_or_see_anything(world: World, roles: dict[str, Person], status: Status) -> None:
    payment = await in_status(world, roles["payer"], status)
    before = await row_of(world, payment)
    denied: dict[tuple[str, str], tuple[int, str]] = {}
    async with world.unchanged():
        for path, (may, body, _, _) in CALLS.items():
            answer = await world.http.post(path.format(payment["id"]), json=body)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), path
            for role in roles.keys() - {may}:
                answer = await roles[role].post(path.format(payment["id"]), body)
                denied[path, role] = answer.status_code, answer.json()["code"]
        for role in roles.keys() - {"payer"}:
            assert (await roles[role].get(f"{PAYMENTS}/{payment['id']}")).status_code == 404
        for role in roles.keys() - {"admin"}:
            assert (await roles[role].get(ADMIN)).status_code == 403
        assert (await world.http.get(f"{PAYMENTS}/{payment['id']}")).status_code == 401
    staff_only = {(path, role) for path, role in denied if path.startswith(ADMIN)}
    # An admin knows of every payment, and may still not give up somebody else's.
    knows = {(f"{PAYMENTS}/{{}}/cancel", "admin")}
    assert {denied[one] for one in staff_only} == {(403, "role_required")}
    assert {denied[one] for one in knows} == {(403, "not_the_payer")}
    assert {denied[one] for one in denied.keys() - staff_only - knows} == {(404, "not_found")}
    assert await row_of(world, payment) == before
    listed = (await roles["stranger"].get(PAYMENTS)).json()["items"]
    assert payment["id"] not in {item["id"] for item in listed}


async def after(world: World, lifecycle: Lifecycle, subject_id: UUID, action: Any, actor: Actor, **values: Any) -> str:
    """The status to which an action would lead now, or the code of its refusal. Nothing is kept of it."""

    class Undone(Exception):
        pass

    found = ""
    try:
        async with world.platform.database.write() as session:
            try:
                found = (await lifecycle.advance(session, subject_id, action, actor, **values))["status"]
            except Problem as problem:
                found = problem.code
            raise Undone
    except Undone:
        return found


TAKEN = {"reference": "r", "captured_minor": AMOUNT, "captured_currency": "INR"}
NONE = {"illegal_transition", "not_found"}
OWN_STEPS: dict[Action, tuple[dict[str, Any], dict[Status, Status]]] = {
    Action.SUCCEED: (TAKEN, dict.fromkeys(OPEN | {Status.FAILED}, Status.SUCCEEDED)),
    Action.FAIL: ({"failure": "x"}, dict.fromkeys(OPEN, Status.FAILED)),
    Action.HOLD: (
        TAKEN | {"failure": "x"}, dict.fromkeys(OPEN | {Status.FAILED, Status.EXPIRED}, Status.UNDER_REVIEW)
    ),
    Action.EXPIRE: ({}, {}),  # its deadline is not due; see below
    Action.REFUND: ({"refund_minor": 1}, dict.fromkeys(REFUNDABLE, Status.PARTIALLY_REFUNDED)),
    Action.TAKE_BACK_REFUND: (
        {"refund_minor": 1}, dict.fromkeys({Status.PARTIALLY_REFUNDED, Status.REFUNDED}, Status.PARTIALLY_REFUNDED)
    ),
}  # fmt: skip


@pytest.mark.parametrize("status", Status)
async def test_the_platforms_own_steps_lead_on_from_their_statuses_only(
    world: World, roles: dict[str, Person], status: Status
) -> None:
    payment = await in_status(world, roles["payer"], status)
    async with world.unchanged():
        for action, (values, targets) in OWN_STEPS.items():
            found = await after(world, LIFECYCLE, UUID(payment["id"]), action, CLOCK, **values)
            assert found == targets[status] if status in targets else found in NONE, action
        # and what belongs to a person is not the clock's
        for mine in (Action.OPEN, Action.CANCEL, Action.ACCEPT):
            values = {"checkout_url": "x", "checkout_reference": "x"} if mine is Action.OPEN else {}
            assert await after(world, LIFECYCLE, UUID(payment["id"]), mine, CLOCK, **values) in NONE
    # nor is a refund the payer's
    payer = Actor(roles["payer"].id, frozenset({Role.CUSTOMER, Role.SUPPORT}))
    assert await after(world, LIFECYCLE, UUID(payment["id"]), Action.REFUND, payer, refund_minor=1) == "forbidden"


@pytest.mark.parametrize("status", [Status.CREATED, Status.PENDING])
async def test_what_is_left_unpaid_expires(world: World, roles: dict[str, Person], status: Status) -> None:
    payment = await in_status(world, roles["payer"], status)
    await expire(world, payment)
    assert (await read(roles["payer"], payment))["status"] == Status.EXPIRED
    assert (await world.told(payment["id"]))[-1] == ("payment.expired", {roles["payer"].id})


@pytest.mark.parametrize("status", sorted(set(Status) - OPEN))
async def test_only_what_is_open_has_a_deadline(world: World, roles: dict[str, Person], status: Status) -> None:
    payment = await in_status(world, roles["payer"], status)
    assert await world.rows("deadlines", subject_id=UUID(payment["id"])) == []


REFUND_STEPS: dict[RefundAction, tuple[dict[str, Any], set[RefundStatus], RefundStatus]] = {
    RefundAction.SEND: ({"provider_reference": "r"}, {RefundStatus.REQUESTED}, RefundStatus.SENT),
    RefundAction.REFUSE: ({"failure": "x"}, {RefundStatus.REQUESTED}, RefundStatus.FAILED),
    RefundAction.SUCCEED: ({}, {RefundStatus.REQUESTED, RefundStatus.SENT}, RefundStatus.SUCCEEDED),
    RefundAction.FAIL: ({"failure": "x"}, set(RefundStatus) - {RefundStatus.FAILED}, RefundStatus.FAILED),
}


@pytest.mark.parametrize("status", RefundStatus)
async def test_the_steps_of_a_refund_lead_on_from_their_statuses_only(
    world: World, roles: dict[str, Person], status: RefundStatus
) -> None:
    payment = await in_status(world, roles["payer"], Status.REFUNDED)
    [made] = await refunds_of(world, payment)
    if status is RefundStatus.SENT:
        async with world.platform.database.write() as session:
            await REFUNDS.advance(session, made["id"], RefundAction.SEND, CLOCK, provider_reference="r")
    elif status is not RefundStatus.REQUESTED:
        failed = status is RefundStatus.FAILED
        await refund_notice(world, EventType.REFUND_FAILED if failed else EventType.REFUND_SUCCEEDED, made["id"])
    async with world.unchanged():
        for action, (values, sources, target) in REFUND_STEPS.items():
            found = await after(world, REFUNDS, made["id"], action, CLOCK, **values)
            assert found == (target if status in sources else "illegal_transition"), action


@pytest.mark.parametrize(
    "amount", ["-1", "0", "0.5", "1.0", '"1"', "true", str(AMOUNT_LIMIT + 1), str(2**63), "1e400", "[]"]
)
async def test_what_is_no_amount_is_not_refunded(world: World, roles: dict[str, Person], amount: str) -> None:
    payment = await in_status(world, roles["payer"], Status.SUCCEEDED)
    body = f'{{"reason": "x", "amount_minor": {amount}}}'
    headers = {"content-type": "application/json"}
    async with world.unchanged():
        answer = await world.admin.call("POST", f"{ADMIN}/{payment['id']}/refunds", content=body, headers=headers)
    assert answer.status_code == 422, answer.text


async def test_more_than_was_taken_is_not_refunded(world: World, roles: dict[str, Person]) -> None:
    # Given a payment of less than was asked for, a part of which went back
    payment = await in_status(world, roles["payer"], Status.UNDER_REVIEW)
    assert (await refund(world, payment, 100_00)).status_code == 201
    # When more is to go back than is left of what was taken
    for amount in (AMOUNT - 100_00, AMOUNT, AMOUNT_LIMIT):
        async with world.unchanged():
            answer = await refund(world, payment, amount)
        assert (answer.status_code, answer.json()["code"]) == (409, "refund_above_captured")
    # Then exactly what is left still can
    assert (await refund(world, payment, AMOUNT - 1 - 100_00)).status_code == 201
    assert (await row_of(world, payment))["status"] == Status.REFUNDED
    assert await escrow_of(world, payment) == 0


async def test_parts_add_up_to_everything(world: World) -> None:
    person = await world.person()
    payment = await in_status(world, person, Status.SUCCEEDED)
    for part, left in ((100_00, 400_00), (100_00, 300_00), (299_99, 1)):
        await refund(world, payment, part)
        assert await world.balance(person) == left
        assert (await read(person, payment))["status"] == Status.PARTIALLY_REFUNDED
    # Whoever names no amount refunds the rest
    answer = await refund(world, payment)
    assert answer.json()["amount_minor"] == 1
    assert (await read(person, payment))["status"] == Status.REFUNDED
    assert await world.balance(person) == 0
    await world.books_are_clean()


async def test_a_hundred_refunds_at_once_never_pass_what_was_paid(world: World) -> None:
    person = await world.person()
    payment = await in_status(world, person, Status.SUCCEEDED)
    amounts = [random.Random(7).randint(1, AMOUNT // 10) for _ in range(97)] + [None, None, None]
    answers = await asyncio.gather(*(refund(world, payment, amount) for amount in amounts))
    done = [answer.json()["amount_minor"] for answer in answers if answer.status_code == 201]
    refused = {answer.json()["code"] for answer in answers if answer.status_code != 201}
    assert refused <= {"refund_above_captured", "illegal_transition"}
    assert sum(done) == (await row_of(world, payment))["refunded_minor"] == AMOUNT
    assert len(await refunds_of(world, payment)) == len(done)
    assert (await read(person, payment))["status"] == Status.REFUNDED
    assert await world.balance(person) == 0
    await world.books_are_clean()


async def test_a_refund_of_everything_means_what_is_left_when_its_turn_comes(world: World) -> None:
    """Not what was left when it was asked for."""
    person = await world.person()
    payment = await in_status(world, person, Status.SUCCEEDED)
    async with world.platform.database.write() as session:
        # Given a refund of a part that is not durable yet
        await world.hold(session, payment["id"], "payments")
        first = asyncio.create_task(refund(world, payment, 100_00))
        await world.waits(1)
        # When everything is asked for behind it
        second = asyncio.create_task(refund(world, payment))
        await world.waits(2)
    # Then it is the rest
    assert (await first).json()["amount_minor"] == 100_00
    assert (await second).json()["amount_minor"] == AMOUNT - 100_00


async def test_what_was_spent_cannot_be_refunded(world: World) -> None:
    provider = await world.provider(funds_minor=0)
    payment = await top_up(provider)
    await paid(world, payment)
    request_id = await world.request(await world.person())
    assert (await provider.post(f"/api/v1/service-requests/{request_id}/purchase")).status_code == 201
    before = await row_of(world, payment)
    async with world.unchanged():
        answer = await refund(world, payment)
    assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_funds")
    assert await row_of(world, payment) == before
    assert (await refund(world, payment, AMOUNT - 50_00)).status_code == 201
    assert await world.balance(provider) == 0


async def test_a_refund_with_a_key_happens_once(world: World, roles: dict[str, Person]) -> None:
    payment = await in_status(world, roles["payer"], Status.SUCCEEDED)
    path, key = f"{ADMIN}/{payment['id']}/refunds", {"Idempotency-Key": secrets.token_hex(8)}
    answers = await asyncio.gather(
        *(world.admin.post(path, {"reason": "x", "amount_minor": 1}, headers=key) for _ in range(20))
    )
    done = {answer.content for answer in answers if answer.status_code == 201}
    assert len(done) == 1
    assert {a.json()["code"] for a in answers if a.status_code != 201} <= {"request_in_flight"}
    async with world.unchanged():
        assert (await world.admin.post(path, {"reason": "x", "amount_minor": 1}, headers=key)).content in done
        other = await world.admin.post(path, {"reason": "x", "amount_minor": 2}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await row_of(world, payment))["refunded_minor"] == 1


async def test_a_payment_that_is_held_is_told_to_the_payer_and_the_admins_alone(world: World) -> None:
    person = await world.person()
    payment = await in_status(world, person, Status.UNDER_REVIEW)
    [(name, told)] = await world.told(payment["id"])
    admins = {row["user_id"] for row in await world.rows("user_roles", role="admin")}
    assert (name, told) == ("payment.held", admins | {person.id})
    [event] = await world.rows("events", subject_id=UUID(payment["id"]))
    assert (event["payload"]["amount_minor"], event["payload"]["reason"]) == (AMOUNT - 1, "amount_differs")
    # Accepted, the payer hears how much it was
    accepted = (await world.admin.post(f"{ADMIN}/{payment['id']}/accept", REASON)).json()
    assert (accepted["status"], accepted["failure"]) == (Status.SUCCEEDED, None)
    assert (await world.told(payment["id"]))[-1] == ("payment.succeeded", {person.id})
    last = max(await world.rows("events", subject_id=UUID(payment["id"])), key=lambda row: int(row["seq"]))
    assert last["payload"]["amount_minor"] == AMOUNT - 1


async def test_a_refund_is_told_to_the_payer_and_its_failure_to_the_admins_too(world: World) -> None:
    person = await world.person()
    payment = await in_status(world, person, Status.REFUNDED)
    [made] = await refunds_of(world, payment)
    await refund_notice(world, EventType.REFUND_SUCCEEDED, made["id"])
    await refund_notice(world, EventType.REFUND_FAILED, made["id"])
    admins = {row["user_id"] for row in await world.rows("user_roles", role="admin")}
    assert await world.told(str(made["id"])) == [
        ("refund.requested", {person.id}),
        ("refund.succeeded", {person.id}),
        ("refund.failed", admins | {person.id}),
    ]


async def test_money_in_another_currency_stays_in_that_currency(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    await paid(world, payment, currency="USD")
    assert (await row_of(world, payment))["status"] == Status.UNDER_REVIEW
    answer = await world.admin.post(f"{ADMIN}/{payment['id']}/accept", REASON)
    assert answer.json()["captured_currency"] == "USD"
    balances = (await person.get("/api/v1/wallet")).json()["balances"]
    assert {b["currency"]: b["balance_minor"] for b in balances if b["balance_minor"]} == {"USD": AMOUNT}
    made = (await refund(world, payment)).json()
    assert (made["amount_minor"], made["currency"]) == (AMOUNT, "USD")
    await world.books_are_clean()


async def test_what_was_held_and_partly_refunded_is_refunded_to_the_end(world: World) -> None:
    person = await world.person()
    payment = await in_status(world, person, Status.UNDER_REVIEW)
    await refund(world, payment, 1)
    async with world.unchanged():
        refused = await world.admin.post(f"{ADMIN}/{payment['id']}/accept", REASON)
    assert refused.json()["code"] == "illegal_transition"
    # If that refund fails, everything is as it was, and can be accepted
    [made] = await refunds_of(world, payment)
    await refund_notice(world, EventType.REFUND_FAILED, made["id"])
    assert (await row_of(world, payment))["status"] == Status.UNDER_REVIEW
    assert await escrow_of(world, payment) == AMOUNT - 1
    assert (await world.admin.post(f"{ADMIN}/{payment['id']}/accept", REASON)).status_code == 200
    assert (await escrow_of(world, payment), await world.balance(person)) == (0, AMOUNT - 1)
    await world.books_are_clean()


async def test_of_an_admin_who_accepts_and_one_who_refunds_at_once_one_prevails(world: World) -> None:
    person = await world.person()
    payments = [await in_status(world, person, Status.UNDER_REVIEW) for _ in range(10)]
    await asyncio.gather(
        *(world.admin.post(f"{ADMIN}/{payment['id']}/accept", REASON) for payment in payments),
        *(refund(world, payment) for payment in payments),
    )
    for payment in payments:
        # Refunded afterwards, or at once; never accepted afterwards.
        assert (await row_of(world, payment))["status"] == Status.REFUNDED
        assert await escrow_of(world, payment) == 0
    assert await world.balance(person) == 0
    await world.books_are_clean()

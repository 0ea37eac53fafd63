"""No death of a process loses or doubles money, at whichever statement it comes.

A scenario is played again and again, and each time the process is killed one statement later: before the statement
reaches the database, or after it took effect and before the process hears of it. Its clients ask again, it is started
again, and in the end there has to be one effect of each kind, and nothing that waits for ever. The same again with a
server that lives and whose connections are cut.

`make test` plays a sample; its seed is printed, and `LOCALBAZAAR_DEATHS=<seed>` plays the same one. All of them:
`LOCALBAZAAR_DEATHS=all pytest -s tests/processes/test_deaths.py`.
"""

import itertools
import os
import random
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from app.adapters.payments.sandbox_webhooks import EventType
from app.kernel import files
from app.models.users import Role
from app.models.work_orders import WorkOrderStatus
from app.services.service_requests.leads import fee_key
from tests.payments.steps import AMOUNT, PAYMENTS, for_lead, notice, outcomes
from tests.payments.steps import top_up as created_top_up
from tests.payouts.steps import PAYOUTS, with_profile
from tests.payouts.steps import request as request_payout
from tests.processes.stage import NEVER, Blow, Stage, open_stage
from tests.support.postgres_proxy import Cut, Fault, Kill, When
from tests.support.world import Person, World, picture
from tests.work_orders import steps
from tests.work_orders.steps import PATH as ORDERS

FEE: Final = 50_00
FUNDS: Final = 1_000_00
PAYOUT: Final = 300_00

_wanted = os.environ.get("LOCALBAZAAR_DEATHS", "")
ALL: Final = _wanted == "all"
SEED: Final = int(_wanted) if _wanted.isdigit() else secrets.randbelow(10**6)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel whose connection it is"),
    pytest.mark.timeout(3600 if ALL else 180),
]

Scenario = Callable[[Stage], Awaitable[None]]


@pytest.fixture(scope="module")
async def stage(world: World, folder: Path) -> AsyncIterator[Stage]:
    async with open_stage(world, folder) as opened:
        yield opened


def some_key() -> str:
    return secrets.token_hex(8)


async def page_of(person: Person, payment: Mapping[str, Any]) -> str:
    """The path of the sandbox's page for a payment."""
    opened = await person.post(f"{PAYMENTS}/{payment['id']}/checkout")
    return urlsplit(str(opened.json()["checkout_url"])).path


async def names(world: World, subject_id: str) -> list[str]:
    """The events of a subject, in their order."""
    return [name for name, _ in await world.told(subject_id)]


async def booked(world: World, subject_id: str) -> list[str]:
    """The kinds of the entries about a subject."""
    return sorted(entry["kind"] for entry in await world.rows("entries", subject_id=UUID(subject_id)))


async def the_only_payment_of(world: World, person: Person) -> dict[str, Any]:
    [payment] = await world.rows("payments", payer_id=person.id)
    return payment


async def is_topped_up_once(world: World, person: Person) -> None:
    payment = await the_only_payment_of(world, person)
    assert (payment["status"], payment["captured_minor"]) == ("SUCCEEDED", AMOUNT)
    assert await world.balance(person) == AMOUNT
    assert await booked(world, str(payment["id"])) == ["payment"]
    assert await world.told(str(payment["id"])) == [("payment.succeeded", {person.id})]
    assert await outcomes(world, {"id": str(payment["id"])}) == ["succeeded"]
    assert await world.rows("deadlines", subject_id=payment["id"]) == []


async def has_bought_once(world: World, provider: Person, request_id: str) -> None:
    [lead] = await world.rows("lead_purchases", provider_id=provider.id)
    assert (lead["status"], str(lead["service_request_id"])) == ("PAID", request_id)
    assert await booked(world, str(lead["id"])) == ["lead_fee"]
    [request] = await world.rows("service_requests", id=UUID(request_id))
    assert (request["status"], request["buyers_count"]) == ("PURCHASED", 1)
    assert (await names(world, request_id)).count("service_request.purchased") == 1


async def top_up(stage: Stage) -> None:
    """Created, checkout opened, paid by a webhook that the provider sends until it is heard."""
    person = await stage.world.person()
    key, event_id = some_key(), f"evt_{some_key()}"
    async with stage.peril():
        wanted = {"purpose": "top_up", "amount_minor": AMOUNT}
        payment = (await stage.insist(person, PAYMENTS, wanted, key=key)).json()
        opened = await stage.insist(person, f"{PAYMENTS}/{payment['id']}/checkout")
        assert opened.json()["status"] == "PENDING"
        await stage.webhook(event_id, notice(EventType.PAYMENT_SUCCEEDED, payment))
    await is_topped_up_once(stage.world, person)


async def top_up_on_the_page(stage: Stage) -> None:
    """Paid on the hosted page of the sandbox, which has a job send the webhook."""
    person = await stage.world.person()
    payment = await created_top_up(person)
    page = await page_of(person, payment)
    async with stage.peril():
        assert (await stage.insist(None, f"{page}/pay")).status_code == 303
    await is_topped_up_once(stage.world, person)


async def webhook_for_the_clock(stage: Stage) -> None:
    """A webhook that was stored, and whoever stored it came no further: the clock processes it."""
    person = await stage.world.person()
    payment = await created_top_up(person)
    stage.server.proxy.arm(2, When.BEFORE, Cut())
    await stage.webhook(f"evt_{some_key()}", notice(EventType.PAYMENT_SUCCEEDED, payment))
    assert stage.server.proxy.struck.is_set()
    assert (await the_only_payment_of(stage.world, person))["status"] == "CREATED"
    await stage.turn_the_clock()
    async with stage.peril(at_its_start=True):
        pass
    await is_topped_up_once(stage.world, person)


async def lead_from_the_wallet(stage: Stage) -> None:
    request_id = await stage.world.request(await stage.world.person())
    provider = await stage.world.provider(funds_minor=FUNDS)
    key = some_key()
    async with stage.peril():
        answer = await stage.insist(provider, f"/api/v1/service-requests/{request_id}/purchase", key=key)
        assert answer.status_code == 201, answer.text
    await has_bought_once(stage.world, provider, request_id)
    assert await stage.world.balance(provider) == FUNDS - FEE


async def lead_by_checkout(stage: Stage) -> None:
    """The webhook buys the lead with the money that it brings."""
    request_id = await stage.world.request(await stage.world.person())
    provider = await stage.world.provider(funds_minor=0)
    key, event_id = some_key(), f"evt_{some_key()}"
    async with stage.peril():
        wanted = {"purpose": "lead", "subject_id": request_id}
        payment = (await stage.insist(provider, PAYMENTS, wanted, key=key)).json()
        await stage.insist(provider, f"{PAYMENTS}/{payment['id']}/checkout")
        await stage.webhook(event_id, notice(EventType.PAYMENT_SUCCEEDED, payment))
    await has_bought_once(stage.world, provider, request_id)
    assert (await the_only_payment_of(stage.world, provider))["status"] == "SUCCEEDED"
    assert await booked(stage.world, payment["id"]) == ["payment"]
    assert await names(stage.world, payment["id"]) == ["payment.succeeded"]
    assert await stage.world.balance(provider) == 0


async def money_sent_back(stage: Stage) -> None:
    """Money for a lead that is gone: held, and refunded by itself."""
    customer = await stage.world.person()
    request_id = await stage.world.request(customer)
    provider = await stage.world.provider(funds_minor=0)
    payment = await for_lead(provider, request_id)
    page = await page_of(provider, payment)
    gone = await customer.post(f"/api/v1/service-requests/{request_id}/cancel", {"reason": "mended"})
    assert gone.status_code == 200
    async with stage.peril():
        assert (await stage.insist(None, f"{page}/pay")).status_code == 303
    await is_refunded_once(stage.world, provider)
    assert await stage.world.rows("lead_purchases", provider_id=provider.id) == []


async def is_refunded_once(world: World, person: Person) -> None:
    payment = await the_only_payment_of(world, person)
    assert (payment["status"], payment["refunded_minor"]) == ("REFUNDED", payment["amount_minor"])
    [refund] = await world.rows("refunds", payment_id=payment["id"])
    assert (refund["status"], refund["amount_minor"]) == ("SUCCEEDED", payment["amount_minor"])
    assert await names(world, str(refund["id"])) == ["refund.requested", "refund.succeeded"]
    assert await booked(world, str(payment["id"])) == ["payment", "payment_refund"]
    assert await world.balance(person) == 0
    # The sandbox has paid out once, too.
    [paid_out] = await world.rows("sandbox_refunds", refund_id=refund["id"])
    assert paid_out["amount_minor"] == payment["amount_minor"]


async def refund(stage: Stage) -> None:
    """By an admin; a job asks the provider, whose webhook tells that it was paid out."""
    person = await stage.world.person()
    payment = await created_top_up(person)
    page = await page_of(person, payment)
    assert (await stage.insist(None, f"{page}/pay")).status_code == 303
    await stage.settle()
    key, path = some_key(), f"/api/v1/admin/payments/{payment['id']}/refunds"
    async with stage.peril():
        answer = await stage.insist(stage.world.admin, path, {"reason": "for the test"}, key=key)
        assert answer.status_code == 201, answer.text
    await is_refunded_once(stage.world, person)


async def cancellation(stage: Stage) -> None:
    """Three providers have bought the lead, and get their fees back."""
    customer, request_id, providers = await stage.world.lead(buyers=3)
    key, path = some_key(), f"/api/v1/service-requests/{request_id}/cancel"
    async with stage.peril():
        answer = await stage.insist(customer, path, {"reason": "mended"}, key=key)
        assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    for provider in providers:
        assert await stage.world.balance(provider) == FUNDS
        [lead] = await stage.world.rows("lead_purchases", provider_id=provider.id)
        assert lead["status"] == "REFUNDED"
        assert await booked(stage.world, str(lead["id"])) == ["lead_fee", "lead_fee_reversal"]
        assert await names(stage.world, str(lead["id"])) == ["lead.purchased", "lead.refunded"]
        [reversal] = await stage.world.rows("entries", idempotency_key=f"reversal:{fee_key(lead['id'])}")
        assert reversal["reverses_id"] is not None
    assert (await names(stage.world, request_id)).count("service_request.cancelled") == 1


async def completion(stage: Stage) -> None:
    """A photo and the claim in one request without a key: who is told that it is completed looks by whom."""
    _, request_id, [winner, loser] = await stage.world.lead(buyers=2)
    async with stage.peril():
        answer = await stage.insist(
            winner,
            "/api/v1/service-request/complete",
            data={"requestId": request_id, "notes": "New washer, no drip."},
            files={"completionProof": ("tap.jpg", picture(), "image/jpeg")},
        )
        assert answer.status_code == 200 or answer.json()["code"] == "already_completed", answer.text
    [request] = await stage.world.rows("service_requests", id=UUID(request_id))
    assert (request["status"], request["completed_by"]) == ("COMPLETED", winner.id)
    happened = await stage.world.told(request_id)
    assert [told for name, told in happened if name == "service_request.lost"] == [{loser.id}]
    assert [name for name, _ in happened].count("service_request.completed") == 1
    # What died before it was proof is swept, and the proof is not.
    await stage.world.execute(
        "UPDATE files SET created_at = created_at - interval '1 day' WHERE owner_id = cast(:id AS uuid)",
        id=str(winner.id),
    )
    await files.sweep(stage.world.platform)
    [proof] = await stage.world.rows("files", owner_id=winner.id)
    assert proof["id"] == request["proof_id"]
    assert str(proof["id"]) in await stage.world.platform.storage.keys()


async def payout(stage: Stage) -> None:
    """Requested by its owner, sent by an admin: out of the wallet, through the payout's escrow, out of the house."""
    owner = await with_profile(stage.world)
    async with stage.peril():
        asked = await stage.insist(owner, PAYOUTS, {"amount_minor": PAYOUT}, key=some_key())
        assert asked.status_code == 201, asked.text
        path = f"/api/v1/admin/payouts/{asked.json()['id']}/send"
        sent = await stage.insist(stage.world.admin, path, {"reference": "UTR-2026/001"}, key=some_key())
        assert sent.status_code == 200, sent.text
    await is_paid_out(stage.world, owner, "SENT", FUNDS - PAYOUT)


async def payout_that_fails(stage: Stage) -> None:
    """Turned down: the money is in the wallet again."""
    owner = await with_profile(stage.world)
    payout_id = (await request_payout(owner, PAYOUT)).json()["id"]
    async with stage.peril():
        path = f"/api/v1/admin/payouts/{payout_id}/fail"
        failed = await stage.insist(stage.world.admin, path, {"reason": "the name does not fit"}, key=some_key())
        assert failed.status_code == 200, failed.text
    await is_paid_out(stage.world, owner, "FAILED", FUNDS)


async def is_paid_out(world: World, owner: Person, status: str, left: int) -> None:
    [payout] = await world.rows("payouts", owner_id=owner.id)
    assert (payout["status"], payout["amount_minor"]) == (status, PAYOUT)
    assert await world.balance(owner) == left
    [escrow] = await world.rows("accounts", owner_id=payout["id"], kind="escrow")
    assert escrow["balance"] == 0
    assert len(await booked(world, str(payout["id"]))) == 2
    assert await names(world, str(payout["id"])) == ["payout.requested", f"payout.{status.lower()}"]


async def work_order(stage: Stage) -> None:
    """Bought, done and approved; who asks again without a key is told that it is done."""
    buyer, booster = await steps.buyer(stage.world, FUNDS), await stage.world.person(Role.BOOSTER)
    offered = await steps.service(await steps.advertiser(stage.world))
    evidence = await steps.evidence(booster)
    async with stage.peril():
        bought = await stage.insist(buyer, ORDERS, steps.purchase_of(offered), key=some_key())
        path = f"{ORDERS}/{bought.json()['id']}"
        for person, action, body in (
            (stage.world.support, "assign", {"booster_id": str(booster.id)}),
            (booster, "start", None),
            (booster, "submit", evidence),
        ):
            answer = await stage.insist(person, f"{path}/{action}", body)
            assert answer.status_code == 200 or answer.json()["code"] == "illegal_transition", answer.text
        approved = await stage.insist(stage.world.support, f"{path}/approve", key=some_key())
        assert approved.status_code == 200, approved.text
    order_id = bought.json()["id"]
    assert await steps.held_by(stage.world, booster.id) == steps.PRICE
    assert await steps.held_by(stage.world, buyer.id) == FUNDS - steps.PRICE
    assert await booked(stage.world, order_id) == ["hold", "release"]
    [round_] = await stage.world.rows("evidence_rounds", subject_id=UUID(order_id))
    assert round_["verdict"] == "approved"
    for name in ("created", "evidence_submitted", "completed"):
        assert (await names(stage.world, order_id)).count(f"work_order.{name}") == 1


async def work_order_overridden(stage: Stage) -> None:
    """Cancelled by support, and paid after all by an admin's decision."""
    world = stage.world
    buyer, booster = await steps.buyer(world, FUNDS), await world.person(Role.BOOSTER)
    advertiser = await steps.advertiser(world)
    order_id = await steps.bring(
        world,
        WorkOrderStatus.IN_PROGRESS,
        buyer=buyer,
        booster=booster,
        manager=advertiser,
        offered=await steps.service(advertiser),
    )
    reason = {"reason": "for the test"}
    async with stage.peril():
        for person, action, body in (
            (world.support, "cancel", reason),
            (world.admin, "override", reason | {"outcome": "COMPLETED"}),
        ):
            answer = await stage.insist(person, f"{ORDERS}/{order_id}/{action}", body, key=some_key())
            assert answer.status_code == 200, answer.text
    assert await steps.held_by(world, booster.id) == steps.PRICE
    assert await steps.held_by(world, buyer.id) == FUNDS - steps.PRICE
    assert await booked(world, order_id) == ["hold", "override", "refund"]


SCENARIOS: Final[list[tuple[str, Scenario]]] = [
    ("server", top_up),
    ("server", top_up_on_the_page),
    ("server", lead_from_the_wallet),
    ("server", lead_by_checkout),
    ("server", money_sent_back),
    ("server", refund),
    ("server", cancellation),
    ("server", completion),
    ("server", payout),
    ("server", payout_that_fails),
    ("server", work_order),
    ("server", work_order_overridden),
    ("worker", top_up_on_the_page),
    ("worker", webhook_for_the_clock),
    ("worker", refund),
]
"""Who dies, and in what. Another line is all that another scenario needs."""


FAULTS: Final[dict[str, tuple[Fault, ...]]] = {"server": (Kill(), Cut()), "worker": (Kill(),)}
"""A server also lives on while its connections are cut, and has to say that it does not know what was stored."""


async def play(stage: Stage, scenario: Scenario, blow: Blow) -> bool:
    """Play a scenario in which this blow falls; whether it fell. Whatever happened, the books are clean."""
    await stage.prepare(blow)
    try:
        await scenario(stage)
        await stage.world.books_are_clean()
    except BaseException as error:
        error.add_note(f"{type(blow.fault).__name__} of the {blow.victim} {stage.victim.proxy.struck_at or 'nowhere'}")
        raise
    return stage.victim.proxy.struck.is_set()


@pytest.mark.parametrize(("victim", "scenario"), SCENARIOS, ids=lambda part: getattr(part, "__name__", part))
async def test_a_death_neither_loses_nor_doubles_anything(stage: Stage, victim: str, scenario: Scenario) -> None:
    if ALL:
        for fault, when in itertools.product(FAULTS[victim], When):
            number = 1
            while await play(stage, scenario, Blow(victim, number, when, fault)):
                number += 1
            print(f"{fault}, {when}: {number - 1} times")
        return
    assert not await play(stage, scenario, Blow(victim, NEVER, When.BEFORE))
    statements = stage.victim.proxy.statements
    print(f"seed {SEED}: {statements} statements")
    chance = random.Random(f"{SEED} {victim} {scenario.__name__}")
    for fault in FAULTS[victim]:
        blow = Blow(victim, chance.randint(1, statements), chance.choice(list(When)), fault)
        # The queue of the worker looks around now and then, so it may come to fewer statements than it did before.
        while not await play(stage, scenario, blow):
            assert blow.number > 1
            blow = blow._replace(number=blow.number // 2)
        print(fault, stage.victim.proxy.struck_at)

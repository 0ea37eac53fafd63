"""Thousands of webhooks, each five times, shuffled, some forged: as many effects as webhooks, and one end state."""

import asyncio
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import bindparam, select

from app.adapters.payments.sandbox_webhooks import EventType, compose
from app.core.actor import Actor
from app.core.database import Statement
from app.models.ledger import accounts
from app.models.payments import PaymentPurpose, payments, webhook_events
from app.models.users import Role
from app.schemas.payments import CreatePayment, RequestRefund
from app.services.payments import payments as opening
from app.services.payments import refunds, webhooks
from tests.payments.steps import AMOUNT, WEBHOOKS, notice, sandbox
from tests.support.world import Person, World

WEBHOOKS_SENT = int(os.environ.get("LOCALBAZAAR_WEBHOOKS", "100"))
SHUFFLES = int(os.environ.get("LOCALBAZAAR_WEBHOOK_SHUFFLES", "3"))
COPIES = 5
FORGED = 0.03
AT_ONCE = 64
PAYERS = 20

PAID, FAILED = EventType.PAYMENT_SUCCEEDED, EventType.PAYMENT_FAILED
REFUNDED, REFUND_FAILED = EventType.REFUND_SUCCEEDED, EventType.REFUND_FAILED

# What happens to a payment before the storm, and what its webhooks tell.
STORIES: list[tuple[str, tuple[tuple[EventType, dict[str, Any]], ...]]] = [
    ("created", ((PAID, {}),)),
    ("created", ((FAILED, {}),)),
    ("created", ((FAILED, {}), (PAID, {}))),
    ("created", ((PAID, {"amount_minor": AMOUNT - 1}),)),
    ("created", ((FAILED, {}), (PAID, {"currency": "USD"}))),
    ("cancelled", ((PAID, {}),)),
    ("cancelled", ((PAID, {}), (FAILED, {}))),
    ("refunded", ((REFUNDED, {}),)),
    ("refunded", ((REFUND_FAILED, {}),)),
    ("refunded", ((REFUNDED, {}), (REFUND_FAILED, {}))),
    ("created", ((PAID, {"payment_id": "0b54a8ce-0000-4000-8000-000000000000"}),)),
]


@dataclass
class Storm:
    """One telling of all stories: its payments in the order of the plan, and its webhooks."""

    payments: list[str] = field(default_factory=list)
    posts: list[tuple[str, bytes]] = field(default_factory=list)


async def prepare(world: World, payers: list[Person], wanted: int) -> Storm:
    """Payments up to the storm, made by the product's services."""
    storm, platform = Storm(), world.platform
    admin = Actor(world.admin.id, frozenset({Role.ADMIN}))
    body = CreatePayment(purpose=PaymentPurpose.TOP_UP, amount_minor=AMOUNT)
    number = 0
    while len(storm.posts) < wanted:
        before, told = STORIES[number % len(STORIES)]
        actor = Actor(payers[number % len(payers)].id)
        number += 1
        async with platform.database.write() as session:
            made = await opening.create(session, platform, actor, body)
            if before == "cancelled":
                await opening.cancel(session, actor, made.id)
        payment = made.model_dump(mode="json")
        data: dict[str, Any] = {}
        if before == "refunded":
            await webhooks.receive(platform, "sandbox", *signed(world, f"evt_{uuid4().hex}", notice(PAID, payment)))
            async with platform.database.write() as session:
                refund = await refunds.request(session, admin, made.id, RequestRefund(reason="x", amount_minor=100_00))
            data = {"refund_id": refund.id}
        storm.payments.append(payment["id"])
        for event, more in told:
            content = compose(event, data) if data else notice(event, payment, **more)
            storm.posts.append((f"evt_{uuid4().hex}", content))
    return storm


def signed(world: World, event_id: str, body: bytes) -> tuple[dict[str, str], bytes, float]:
    now = time.time()
    return sandbox(world).sign(event_id, body, now), body, now


async def let_loose(world: World, storm: Storm, shuffled: random.Random) -> Counter[int]:
    """All webhooks in all copies over HTTP, in the order that chance gives; the answers."""
    posts = [(event_id, body, True) for event_id, body in storm.posts for _ in range(COPIES)]
    posts += [(event_id, body, False) for event_id, body in storm.posts if shuffled.random() < FORGED * COPIES]
    shuffled.shuffle(posts)
    free, answers = asyncio.Semaphore(AT_ONCE), Counter[int]()

    async def post(event_id: str, body: bytes, right: bool, late: bool) -> None:
        async with free:
            headers = sandbox(world).sign(event_id, body, time.time() - (0 if right or not late else 302))
            if not right and not late:
                headers["webhook-signature"] = "v1," + "A" * 43 + "="
            answers[(await world.http.post(WEBHOOKS, content=body, headers=headers)).status_code] += 1

    await asyncio.gather(*(post(*one, shuffled.random() < 0.5) for one in posts))
    assert answers[400] == sum(not right for _, _, right in posts)
    return answers


_PAYMENT = Statement(
    select(
        payments.c.status, payments.c.captured_minor, payments.c.captured_currency, payments.c.refunded_minor,
        payments.c.failure, payments.c.reference.is_not(None).label("paid"),
    ).where(payments.c.id == bindparam("id", type_=payments.c.id.type))
)  # fmt: skip
_EVENT = Statement(
    select(webhook_events.c.processed_at, webhook_events.c.outcome).where(
        webhook_events.c.event_id == bindparam("event_id")
    )
)
_BALANCES = Statement(
    select(accounts.c.kind, accounts.c.currency, accounts.c.balance).where(
        accounts.c.owner_id == bindparam("owner_id", type_=accounts.c.owner_id.type), accounts.c.balance != 0
    )
)
# Whether a failure is heard before the success that wins over it, and so on, shows in the log alone.
_HEARD = {"failed": "heard", "too_late": "heard", "refunded": "heard"}


async def end_state(world: World, payers: list[Person], storm: Storm) -> list[Any]:
    """Statuses, balances and outcomes in the order of the plan, without ids and times."""
    found: list[Any] = []
    async with world.platform.database.read() as session:
        for payment_id in storm.payments:
            row = await session.first(_PAYMENT, id=payment_id)
            held = [tuple(row) for row in await session.all(_BALANCES, owner_id=payment_id)]
            found.append((dict(row or {}), sorted(map(str, held))))
        for event_id, _ in storm.posts:
            stored = await session.all(_EVENT, event_id=event_id)
            assert len(stored) == 1
            assert stored[0]["processed_at"] is not None
            found.append(_HEARD.get(stored[0]["outcome"], stored[0]["outcome"]))
        for payer in payers:
            found.append(sorted(str(tuple(row)) for row in await session.all(_BALANCES, owner_id=payer.id)))
    return found


@pytest.mark.timeout(3600)
async def test_whatever_their_order_webhooks_have_one_effect_each_and_one_end(world: World) -> None:
    ends = []
    for shuffle in range(SHUFFLES):
        payers = [await world.person() for _ in range(PAYERS)]
        storm = await prepare(world, payers, WEBHOOKS_SENT)
        before = len(await world.rows("webhook_events"))
        began = time.monotonic()
        answers = await let_loose(world, storm, random.Random(shuffle))
        took = time.monotonic() - began
        assert set(answers) == {200, 400}
        assert len(await world.rows("webhook_events")) - before == len(storm.posts)
        ends.append(await end_state(world, payers, storm))
        print(f"shuffle {shuffle}: {len(storm.posts)} webhooks, {answers}, {answers.total() / took:.0f} a second")
    assert all(end == ends[0] for end in ends[1:])
    await world.books_are_clean()

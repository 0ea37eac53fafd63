"""Refunds on their way: the job asks the provider, the provider's webhook says how it went, to the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from app.adapters.payments.port import Order, ProviderAway, ProviderRefused, RefundOrder
from app.adapters.payments.sandbox_webhooks import EventType
from app.core.config import Settings
from app.core.tasks import end
from app.jobs import worker
from app.kernel.platform import Platform, open_platform
from app.models.payments import PaymentStatus as Status
from app.services.payments import refunds
from tests.payments.steps import (
    AMOUNT,
    PAYMENTS,
    escrow_of,
    paid,
    refund,
    refund_notice,
    refunds_of,
    row_of,
    sandbox,
    top_up,
    use,
)
from tests.support.world import Person, World
from tests.users.steps import eventually


@pytest.fixture
async def platform_there(configured: Settings, address: str, world: World) -> AsyncIterator[Platform]:
    """A worker's platform, which knows where the tests' server is; nothing waits for it from other tests."""
    await world.execute("DELETE FROM pgqueuer WHERE entrypoint IN ('send_refund', 'sandbox_webhook')")
    async with open_platform(configured.model_copy(update={"public_url": address})) as opened:
        yield opened


@pytest.fixture
async def delivering(platform_there: Platform) -> AsyncIterator[None]:
    """Its worker runs."""
    task = asyncio.create_task(worker.work(platform_there))
    yield
    await end(task)


async def paid_there(world: World, person: Person, *, cancelled: bool = False) -> dict[str, Any]:
    """A payment that was paid on the sandbox's own page; given up before, if so wanted."""
    payment = await top_up(person)
    opened = (await person.post(f"{PAYMENTS}/{payment['id']}/checkout")).json()
    if cancelled:
        await person.post(f"{PAYMENTS}/{payment['id']}/cancel")
    async with world.platform.database.write() as session:
        await sandbox(world).pay(session, opened["checkout_url"].rpartition("/")[2])
    return payment


async def becomes(world: World, payment: dict[str, Any], status: Status) -> None:
    async def look() -> bool:
        return bool((await row_of(world, payment))["status"] == status)

    await eventually(look)


async def refund_becomes(world: World, payment: dict[str, Any], status: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await refunds_of(world, payment)
        return found[-1] if found and found[-1]["status"] == status else None

    return await eventually(look)


async def steps_of(world: World, refund_id: Any) -> list[str]:
    return [step["action"] for step in await world.trail(str(refund_id))]


@pytest.mark.usefixtures("delivering")
async def test_a_refund_reaches_the_provider_and_is_heard_to_have_succeeded(world: World) -> None:
    person = await world.person()
    payment = await paid_there(world, person)
    await becomes(world, payment, Status.SUCCEEDED)
    assert (await refund(world, payment, 100_00)).status_code == 201
    made = await refund_becomes(world, payment, "SUCCEEDED")
    assert await steps_of(world, made["id"]) in (["create", "send", "succeed"], ["create", "succeed"])
    assert await world.balance(person) == AMOUNT - 100_00
    [at_the_provider] = await world.rows("sandbox_refunds", refund_id=made["id"])
    assert at_the_provider["amount_minor"] == 100_00
    await world.books_are_clean()


@pytest.mark.usefixtures("delivering")
async def test_money_that_came_too_late_is_paid_out_again(world: World) -> None:
    person = await world.person()
    payment = await paid_there(world, person, cancelled=True)
    await becomes(world, payment, Status.REFUNDED)
    made = await refund_becomes(world, payment, "SUCCEEDED")
    assert len(await world.rows("sandbox_refunds", refund_id=made["id"])) == 1
    assert (await world.balance(person), await escrow_of(world, payment)) == (0, 0)
    await world.books_are_clean()


async def test_a_refund_waits_for_a_provider_that_is_away(
    world: World, platform_there: Platform, delivering: None
) -> None:
    person = await world.person()
    payment = await paid_there(world, person)
    await becomes(world, payment, Status.SUCCEEDED)
    tries = 0

    async def answer(_: Order | RefundOrder) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ProviderAway()

    use(platform_there, answer)
    await refund(world, payment)
    made = await refund_becomes(world, payment, "SUCCEEDED")
    assert tries == 2
    assert len(await world.rows("sandbox_refunds", refund_id=made["id"])) == 1
    await world.books_are_clean()


async def heard(world: World, payment: dict[str, Any]) -> None:
    """The sandbox's news of its own payment arrives without a worker."""
    [checkout] = await world.rows("sandbox_checkouts", payment_id=UUID(payment["id"]))
    await paid(world, payment, reference=checkout["reference"])


@pytest.mark.parametrize("cancelled", [False, True], ids=["from the wallet", "from the escrow"])
async def test_what_the_provider_refuses_is_back_where_it_was(
    world: World, platform_there: Platform, cancelled: bool
) -> None:
    person = await world.person()
    payment = await paid_there(world, person, cancelled=cancelled)
    await heard(world, payment)
    if not cancelled:
        await refund(world, payment)
    [made] = await refunds_of(world, payment)

    async def answer(_: Order | RefundOrder) -> None:
        raise ProviderRefused("The card is gone.")

    use(platform_there, answer)
    await refunds.send(platform_there, made["id"])
    [made] = await refunds_of(world, payment)
    assert (made["status"], made["failure"]) == ("FAILED", "The card is gone.")
    row = await row_of(world, payment)
    assert (row["status"], row["refunded_minor"]) == (Status.UNDER_REVIEW if cancelled else Status.SUCCEEDED, 0)
    assert await world.balance(person) == (0 if cancelled else AMOUNT)
    assert await escrow_of(world, payment) == (AMOUNT if cancelled else 0)
    assert (await world.told(str(made["id"])))[-1][0] == "refund.failed"
    # Asked for again, it is another refund
    assert (await refund(world, payment)).status_code == 201
    assert [one["status"] for one in await refunds_of(world, payment)] == ["FAILED", "REQUESTED"]
    await world.books_are_clean()


async def test_a_refund_that_is_asked_for_many_times_is_paid_out_once(world: World, platform_there: Platform) -> None:
    payment = await paid_there(world, await world.person())
    await heard(world, payment)
    await refund(world, payment)
    [made] = await refunds_of(world, payment)
    await asyncio.gather(*(refunds.send(platform_there, made["id"]) for _ in range(10)))
    async with world.unchanged():
        await refunds.send(platform_there, made["id"])
    assert (await refunds_of(world, payment))[0]["status"] == "SENT"
    assert len(await world.rows("sandbox_refunds", refund_id=made["id"])) == 1
    assert await steps_of(world, made["id"]) == ["create", "send"]


async def test_a_webhook_may_be_faster_than_the_answer(world: World, platform_there: Platform) -> None:
    for event, status in ((EventType.REFUND_SUCCEEDED, "SUCCEEDED"), (EventType.REFUND_FAILED, "FAILED")):
        payment = await paid_there(world, await world.person())
        await heard(world, payment)
        await refund(world, payment)
        [made] = await refunds_of(world, payment)

        async def answer(order: Order | RefundOrder, event: EventType = event) -> None:
            assert isinstance(order, RefundOrder)
            await refund_notice(world, event, order.refund_id)

        use(platform_there, answer)
        await refunds.send(platform_there, made["id"])
        [made] = await refunds_of(world, payment)
        assert made["status"] == status
        assert await steps_of(world, made["id"]) == ["create", "succeed" if status == "SUCCEEDED" else "fail"]
    await world.books_are_clean()


async def test_a_refusal_that_comes_after_better_news_takes_nothing_back(
    world: World, platform_there: Platform
) -> None:
    """Two jobs at once, say: what was sent or has succeeded fails by webhook alone."""
    person = await world.person()
    payment = await paid_there(world, person)
    await heard(world, payment)
    await refund(world, payment)
    [made] = await refunds_of(world, payment)

    async def answer(order: Order | RefundOrder) -> None:
        assert isinstance(order, RefundOrder)
        await refund_notice(world, EventType.REFUND_SUCCEEDED, order.refund_id)
        raise ProviderRefused("It was refunded before.")

    use(platform_there, answer)
    await refunds.send(platform_there, made["id"])
    [made] = await refunds_of(world, payment)
    assert made["status"] == "SUCCEEDED"
    assert (await row_of(world, payment))["status"] == Status.REFUNDED
    assert await world.balance(person) == 0

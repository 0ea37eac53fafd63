"""The ledger: entries balance, balances are their sums, nothing is overdrawn, and nothing waits for ever (money.md)."""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.core.database import Session
from app.core.errors import Problem
from app.core.money import InsufficientFunds, MoneyMovedBefore
from app.core.valkey import STREAMS
from app.kernel import ledger
from app.kernel.ledger import Account, AccountKind, Posting
from tests.support.world import World

CLEARING = ledger.platform(AccountKind.CLEARING, "INR")
FEES = ledger.platform(AccountKind.FEES, "INR")


async def fund(world: World, account: Account, amount: int) -> None:
    async with world.platform.database.write() as session:
        source = ledger.platform(AccountKind.CLEARING, account.currency)
        await ledger.transfer(session, "test_top_up", source, account, amount)


async def balance(world: World, account: Account) -> int | None:
    rows = await world.rows("accounts", id=account.id)
    return None if not rows else rows[0]["balance"]


async def post(world: World, lines: Sequence[Posting], **about: Any) -> UUID:
    async with world.platform.database.write() as session:
        return await ledger.post(session, "test", lines, **about)


async def move(world: World, source: Account, target: Account, amount: int) -> None:
    async with world.platform.database.write() as session:
        await ledger.transfer(session, "test", source, target, amount)


def fresh(currency: str = "INR") -> Account:
    return ledger.wallet(uuid4(), currency)


async def outcomes(calls: Sequence[Awaitable[object]]) -> list[object]:
    async with asyncio.timeout(30):
        return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_an_entry_of_many_lines_moves_every_balance(world: World) -> None:
    buyer, seller, driver, subject = fresh(), fresh(), fresh(), ledger.escrow(uuid4(), "INR")
    await fund(world, buyer, 1000)
    await move(world, buyer, subject, 1000)
    entry_id = await post(
        world, [Posting(subject, -1000), Posting(seller, 700), Posting(driver, 200), Posting(FEES, 100)],
        subject=("test", uuid4()), actor_id=world.admin.id, reason="all parts add up",
    )  # fmt: skip
    assert [await balance(world, each) for each in (buyer, subject, seller, driver)] == [0, 0, 700, 200]
    assert await balance(world, FEES) is None
    (entry,) = await world.rows("entries", id=entry_id)
    assert (entry["actor_id"], entry["reason"]) == (world.admin.id, "all parts add up")
    assert sorted(row["amount"] for row in await world.rows("postings", entry_id=entry_id)) == [-1000, 100, 200, 700]
    await world.books_are_clean()


async def test_lines_of_the_same_account_and_of_zero(world: World) -> None:
    """An account may be named twice, and a part of nothing is left out."""
    a, b = fresh(), fresh()
    await fund(world, a, 100)
    await post(world, [Posting(a, -60), Posting(a, -40), Posting(b, 100), Posting(FEES, 0)])
    assert [await balance(world, each) for each in (a, b)] == [0, 100]
    await world.books_are_clean()


async def test_an_entry_may_exchange_currencies_if_each_balances(world: World) -> None:
    owner = uuid4()
    rupees, gold = ledger.wallet(owner, "INR"), ledger.wallet(owner, "GOLD")
    await fund(world, rupees, 500)
    exchange = [
        Posting(rupees, -500), Posting(CLEARING, 500),
        Posting(ledger.platform(AccountKind.CLEARING, "GOLD"), -5), Posting(gold, 5),
    ]  # fmt: skip
    await post(world, exchange)
    assert [await balance(world, each) for each in (rupees, gold)] == [0, 5]
    await world.books_are_clean()


@pytest.mark.parametrize(
    "amounts",
    [[(0, "INR", -5), (1, "INR", 6)], [(0, "INR", 5)], [(0, "INR", -5), (1, "GOLD", 5)],
     [(0, "INR", -5), (1, "INR", 5), (2, "GOLD", 1)], [], [(0, "INR", 0), (1, "INR", 0)]],
)  # fmt: skip
async def test_what_does_not_balance_or_moves_nothing_is_no_entry(
    world: World, amounts: list[tuple[int, str, int]]
) -> None:
    owners = [uuid4() for _ in range(3)]
    lines = [Posting(ledger.wallet(owners[index], currency), amount) for index, currency, amount in amounts]
    async with world.unchanged():
        with pytest.raises(ValueError, match="do not balance, or move nothing"):
            await post(world, lines)


@pytest.mark.parametrize("amount", [0, -1])
async def test_a_transfer_moves_more_than_nothing(world: World, amount: int) -> None:
    async with world.unchanged():
        with pytest.raises(ValueError, match="is not an amount"):
            await move(world, CLEARING, fresh(), amount)


async def test_nothing_is_overdrawn(world: World) -> None:
    a, b = fresh(), fresh()
    await fund(world, a, 99)
    for source in (a, fresh(), ledger.escrow(uuid4(), "INR")):
        async with world.unchanged():
            with pytest.raises(InsufficientFunds):
                await move(world, source, b, 100)
    # Not even for a moment: what comes in with the same entry may be spent, what comes later may not
    await post(world, [Posting(CLEARING, -1), Posting(a, 1), Posting(a, -100), Posting(b, 100)])
    assert [await balance(world, each) for each in (a, b)] == [0, 100]


async def test_fifty_spend_the_same_last_rupee_and_one_has_it(world: World) -> None:
    a = fresh()
    await fund(world, a, 100)
    found = await outcomes([move(world, a, fresh(), 100) for _ in range(50)])
    assert found.count(None) == 1
    assert {type(problem) for problem in found if problem is not None} == {InsufficientFunds}
    assert await balance(world, a) == 0
    await world.books_are_clean()


async def test_an_effect_happens_once_whoever_asks(world: World) -> None:
    a, name = fresh(), f"test:{uuid4()}"
    lines = [Posting(CLEARING, -10), Posting(a, 10)]
    found = await outcomes([post(world, lines, idempotency_key=name) for _ in range(20)])
    refused = [problem for problem in found if isinstance(problem, Problem)]
    assert len(refused) == 19
    assert {type(problem) for problem in refused} == {MoneyMovedBefore}
    assert await balance(world, a) == 10


async def test_a_reversal_is_the_exact_opposite_once(world: World) -> None:
    a, b, name = fresh(), fresh(), f"test:{uuid4()}"
    await fund(world, a, 100)
    lines = [Posting(a, -100), Posting(b, 90), Posting(FEES, 10)]
    subject = ("test", uuid4())
    original = await post(world, lines, idempotency_key=name, subject=subject)

    async def reverse() -> UUID | None:
        async with world.platform.database.write() as session:
            return await ledger.reverse(session, name, actor_id=world.admin.id, reason="returned")

    found = await outcomes([reverse() for _ in range(20)])
    (reversal,) = [entry for entry in found if isinstance(entry, UUID)]
    assert {type(problem) for problem in found if problem != reversal} == {MoneyMovedBefore}
    assert [await balance(world, each) for each in (a, b)] == [100, 0]
    (entry,) = await world.rows("entries", id=reversal)
    assert (entry["reverses_id"], entry["kind"], entry["reason"]) == (original, "test_reversal", "returned")
    assert (entry["idempotency_key"], entry["actor_id"]) == (f"reversal:{name}", world.admin.id)
    assert (entry["subject_type"], entry["subject_id"]) == subject
    await world.books_are_clean()


async def test_who_has_the_wallet_or_the_debt_is_hinted_at_after_the_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    earner, debtor, subject = fresh(), ledger.debt(uuid4(), "INR"), ledger.escrow(uuid4(), "INR")
    hinted: list[tuple[str, set[UUID]]] = []
    monkeypatch.setattr(world.platform.database, "after_commit", lambda *hint: hinted.append(hint))
    async with world.platform.database.write() as session:
        await ledger.lock(session, [debtor])
        lines = [Posting(CLEARING, -90), Posting(debtor, -10), Posting(earner, 60), Posting(subject, 40)]
        await ledger.post(session, "test", lines)
        assert hinted == []
    assert hinted == [(STREAMS, {earner.owner_id, debtor.owner_id})]


async def test_what_was_spent_cannot_be_reversed_away(world: World) -> None:
    a, b, name = fresh(), fresh(), f"test:{uuid4()}"
    await fund(world, a, 100)
    await post(world, [Posting(a, -100), Posting(b, 100)], idempotency_key=name)
    await move(world, b, fresh(), 1)

    async def reverse() -> None:
        async with world.platform.database.write() as session:
            await ledger.reverse(session, name, actor_id=None, reason=None)

    async with world.unchanged():
        with pytest.raises(InsufficientFunds):
            await reverse()


async def test_there_is_nothing_to_reverse_where_nothing_was_paid(world: World) -> None:
    async with world.unchanged(), world.platform.database.write() as session:
        assert await ledger.reverse(session, "never heard of", actor_id=None, reason=None) is None


async def test_transfers_in_both_directions_do_not_deadlock(world: World) -> None:
    # Given a few wallets with money
    wallets = [fresh() for _ in range(4)]
    for each in wallets:
        await fund(world, each, 10_000)
    # When two hundred transfers go to and fro between them at once
    order = random.Random(4)
    pairs = [order.sample(wallets, 2) for _ in range(200)]
    calls = [move(world, source, target, order.randint(1, 50)) for source, target in pairs]
    # Then all go through, and no minor unit is lost or made
    assert set(await outcomes(calls)) == {None}
    assert sum([await balance(world, each) or 0 for each in wallets]) == 40_000
    await world.books_are_clean()


async def test_entries_that_open_the_same_accounts_do_not_deadlock(world: World) -> None:
    for _ in range(3):
        # Given two accounts that somebody is about to open, but will not
        low, high = sorted((fresh() for _ in range(2)), key=lambda account: account.id)
        async with world.platform.database.write() as session:
            await ledger.post(session, "test", [Posting(CLEARING, -1), Posting(low, 1)])
            # and entries that wait for that, one of which names them in the other order and came first
            calls = [asyncio.create_task(post(world, [Posting(CLEARING, -2), Posting(high, 1), Posting(low, 1)]))]
            await world.waits(1)
            lines = [Posting(CLEARING, -2), Posting(low, 1), Posting(high, 1)]
            calls += [asyncio.create_task(post(world, lines)) for _ in range(6)]
            await world.waits(7)
            await session.driver_connection.execute("ROLLBACK")
        # When the way is free, then all go through
        assert all(isinstance(entry, UUID) for entry in await outcomes(calls))
        assert [await balance(world, each) for each in (low, high)] == [7, 7]


async def test_payments_to_the_platform_do_not_wait_for_each_other(world: World) -> None:
    a, b = fresh(), fresh()
    for each in (a, b, fresh()):
        await fund(world, each, 100)
    await move(world, a, FEES, 1)
    # Given a payment to the platform that is not committed yet
    async with world.platform.database.write() as session:
        await ledger.transfer(session, "test", a, FEES, 10)
        # When another one pays to the same account, then it does not wait
        async with asyncio.timeout(5):
            await move(world, b, FEES, 10)
    assert [await balance(world, each) for each in (a, b)] == [89, 90]


async def test_two_entries_of_one_transaction_stand_or_fall_together(world: World) -> None:
    a, b = fresh(), fresh()
    await fund(world, a, 100)

    async def both(session: Session) -> None:
        await ledger.transfer(session, "test", a, b, 60)
        await ledger.transfer(session, "test", a, b, 60)

    async def run() -> None:
        async with world.platform.database.write() as session:
            await both(session)

    async with world.unchanged():
        with pytest.raises(InsufficientFunds):
            await run()
    assert await balance(world, a) == 100

"""What moves between people, one effect at a time and many at once (money.md: What moves)."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from app.core.database import Session
from app.core.errors import Problem
from app.core.money import DebtLimitReached, InsufficientFunds, MoneyMovedBefore
from app.kernel import escrow, ledger
from app.kernel.escrow import NothingHeld, PartsDoNotAddUp, commissioned, earning, less_commission, refunded
from app.kernel.ledger import Account, AccountKind, Posting
from tests.support.world import World

INR = "INR"
CLEARING = ledger.platform(AccountKind.CLEARING, INR)
FEES = ledger.platform(AccountKind.FEES, INR)
LIMIT = 5_000_00


class Books(NamedTuple):
    """What people have, owe, and have put aside, in a transaction for each call."""

    world: World

    def write(self) -> AbstractAsyncContextManager[Session]:
        return self.world.platform.database.write()

    async def run(self, function: Callable[..., Awaitable[Any]], *values: Any, **about: Any) -> Any:
        async with self.write() as session:
            return await function(session, *values, **about)

    async def refused(self, refusal: type[Exception], function: Callable[..., Awaitable[Any]], *values: Any) -> Any:
        """The refusal, having seen that it left nothing behind."""
        async with self.world.unchanged():
            with pytest.raises(refusal) as caught:
                await self.run(function, *values)
        return caught.value

    async def balance(self, account: Account) -> int:
        rows = await self.world.rows("accounts", id=account.id)
        return int(rows[0]["balance"]) if rows else 0

    async def wealth(self, *owners: UUID) -> list[tuple[int, int]]:
        """The wallet and the debt of each."""
        return [
            (await self.balance(ledger.wallet(owner, INR)), await self.balance(ledger.debt(owner, INR)))
            for owner in owners
        ]

    async def person(self, funds: int = 0, owes: int = 0) -> UUID:
        owner = uuid4()
        if funds:
            await self.run(ledger.transfer, "test_top_up", CLEARING, ledger.wallet(owner, INR), funds)
        if owes:
            await self.run(escrow.charge_commission, job(), owner, owes, INR)
        return owner

    async def held(self, amount: int) -> tuple[escrow.Subject, UUID]:
        """A job for which so much is held, and who paid it."""
        payer, subject = await self.person(amount), job()
        await self.run(escrow.hold, subject, payer, amount, INR)
        return subject, payer

    async def holds(self, subject: escrow.Subject) -> int:
        async with self.world.platform.database.read() as session:
            return await escrow.held(session, subject, INR)


def job() -> escrow.Subject:
    return "test_job", uuid4()


@pytest.fixture
def books(world: World) -> Books:
    return Books(world)


async def outcomes(calls: Sequence[Awaitable[object]]) -> list[object]:
    async with asyncio.timeout(60):
        return list(await asyncio.gather(*calls, return_exceptions=True))


def refusals(found: Sequence[object]) -> set[type]:
    return {type(each) for each in found if isinstance(each, BaseException)}


async def test_a_hold_puts_the_payers_money_aside_once(books: Books) -> None:
    payer, subject = await books.person(1000), job()
    await books.run(escrow.hold, subject, payer, 600, INR, actor_id=payer, reason="booked")
    assert (await books.wealth(payer), await books.holds(subject)) == ([(400, 0)], 600)
    (entry,) = await books.world.rows("entries", subject_id=subject[1])
    assert (entry["kind"], entry["subject_type"], entry["actor_id"], entry["reason"]) == (
        "hold", "test_job", payer, "booked",
    )  # fmt: skip
    await books.refused(MoneyMovedBefore, escrow.hold, subject, payer, 100, INR)
    await books.refused(MoneyMovedBefore, escrow.hold_payment, subject, 600, INR)
    await books.refused(InsufficientFunds, escrow.hold, job(), payer, 401, INR)


async def test_what_a_payment_provider_collected_is_held_like_any_other_money(books: Books) -> None:
    subject, buyer = job(), uuid4()
    await books.run(escrow.hold_payment, subject, 500, INR)
    assert await books.holds(subject) == 500
    await books.run(escrow.refund, subject, buyer, INR)
    assert (await books.wealth(buyer), await books.holds(subject)) == ([(500, 0)], 0)


async def test_a_release_divides_all_that_is_held_in_one_entry(books: Books) -> None:
    subject, payer = await books.held(1005)
    seller, driver = uuid4(), uuid4()
    parts = [*less_commission(seller, 805, 1000), earning(driver, 150), refunded(payer, 50), earning(uuid4(), 0)]
    entry_id = await books.run(escrow.release, subject, INR, parts)
    assert await books.wealth(seller, driver, payer) == [(725, 0), (150, 0), (50, 0)]
    lines = await books.world.rows("postings", entry_id=entry_id)
    assert sorted(row["amount"] for row in lines) == [-1005, 50, 80, 150, 725]
    assert await books.holds(subject) == 0
    await books.world.books_are_clean()


@pytest.mark.parametrize("total", [99, 101, 0])
async def test_parts_that_do_not_add_up_to_what_is_held_are_refused(books: Books, total: int) -> None:
    subject, _ = await books.held(100)
    refusal = await books.refused(PartsDoNotAddUp, escrow.release, subject, INR, [earning(uuid4(), total)])
    assert refusal.extra == {"held_minor": 100}


async def test_no_part_is_negative(books: Books) -> None:
    subject, _ = await books.held(100)
    parts = [earning(uuid4(), 150), commissioned(-50)]
    await books.refused(ValueError, escrow.release, subject, INR, parts)


async def test_nothing_comes_out_of_an_empty_escrow(books: Books) -> None:
    await books.refused(NothingHeld, escrow.release, job(), INR, [earning(uuid4(), 1)])
    await books.refused(NothingHeld, escrow.release, job(), INR, [])
    await books.refused(NothingHeld, escrow.refund, job(), uuid4(), INR)


async def test_an_escrow_is_settled_once(books: Books) -> None:
    subject, payer = await books.held(100)
    await books.run(escrow.refund, subject, payer, INR)
    assert await books.wealth(payer) == [(100, 0)]
    await books.refused(MoneyMovedBefore, escrow.refund, subject, payer, INR)
    await books.refused(MoneyMovedBefore, escrow.release, subject, INR, [earning(uuid4(), 100)])


async def test_of_many_settlements_at_once_one_takes(books: Books) -> None:
    subject, payer = await books.held(100)
    seller = uuid4()
    calls = [books.run(escrow.release, subject, INR, less_commission(seller, 100, 1000)) for _ in range(15)]
    calls += [books.run(escrow.refund, subject, payer, INR) for _ in range(15)]
    found = await outcomes(calls)
    assert refusals(found) == {MoneyMovedBefore}
    assert len([each for each in found if isinstance(each, UUID)]) == 1
    assert await books.wealth(seller, payer) in ([(90, 0), (0, 0)], [(0, 0), (100, 0)])
    await books.world.books_are_clean()


async def test_commission_of_a_cash_job_is_a_debt_whatever_the_wallet_holds(books: Books) -> None:
    provider, subject = await books.person(1000), job()
    await books.run(escrow.charge_commission, subject, provider, 70, INR)
    assert await books.wealth(provider) == [(1000, -70)]
    await books.refused(MoneyMovedBefore, escrow.charge_commission, subject, provider, 70, INR)


async def test_a_debt_grows_to_the_limit_and_no_further(books: Books) -> None:
    provider = await books.person(owes=LIMIT - 1)
    await books.refused(DebtLimitReached, escrow.charge_commission, job(), provider, 2, INR)
    await books.run(escrow.charge_commission, job(), provider, 1, INR)
    refusal = await books.refused(DebtLimitReached, escrow.charge_commission, job(), provider, 1, INR)
    assert (refusal.status, refusal.code) == (409, "debt_limit_reached")
    # In another currency they owe nothing
    await books.run(escrow.charge_commission, job(), provider, 1, "GOLD")


async def test_fifty_charges_at_once_stop_at_the_limit(books: Books) -> None:
    provider = uuid4()
    found = await outcomes([books.run(escrow.charge_commission, job(), provider, LIMIT // 10, INR) for _ in range(50)])
    assert refusals(found) == {DebtLimitReached}
    assert await books.wealth(provider) == [(0, -LIMIT)]


async def test_a_changed_limit_reaches_debts_that_exist(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = await books.person(owes=300)

    def limit(amount: int) -> None:
        changed = books.world.platform.settings.model_copy(update={"debt_limit_minor": amount})
        monkeypatch.setattr("app.kernel.ledger.settings", lambda: changed)

    # When it is lowered below what is owed, the debt stays, but does not grow
    limit(100)
    await books.refused(DebtLimitReached, escrow.charge_commission, job(), provider, 1, INR)
    await books.world.books_are_clean()
    # and what is repaid is not lent again
    await books.run(ledger.earn, "test", [Posting(CLEARING, -100)], [Posting(ledger.wallet(provider, INR), 100)])
    await books.refused(DebtLimitReached, escrow.charge_commission, job(), provider, 1, INR)
    # When it is raised, the debt may grow
    limit(LIMIT + 1)
    await books.run(escrow.charge_commission, job(), provider, LIMIT - 199, INR)
    await books.refused(DebtLimitReached, escrow.charge_commission, job(), provider, 1, INR)
    assert await books.wealth(provider) == [(0, -LIMIT - 1)]


async def test_who_waits_for_a_lock_sees_the_debt_that_was_opened_meanwhile(books: Books) -> None:
    # Given an owner whose wallet is locked by somebody who opens their first debt
    owner = await books.person(100)
    paid, owed = ledger.wallet(owner, INR), ledger.debt(owner, INR)
    async with asyncio.TaskGroup() as tasks, books.write() as session:
        await ledger.lock(session, [paid, owed])
        await ledger.transfer(session, "test", owed, FEES, 70)
        # When another wants to lock both, and waits
        waiting = tasks.create_task(books.run(ledger.lock, [paid], if_open=[owed]))
        await books.world.waits(1)
    # Then it is told of the debt
    assert waiting.result() == {paid: 100, owed: -70}


async def test_nobody_buys_on_credit(books: Books) -> None:
    provider = await books.person(owes=10)
    await books.refused(InsufficientFunds, ledger.transfer, "fee", ledger.wallet(provider, INR), FEES, 1)
    await books.refused(InsufficientFunds, escrow.hold, job(), provider, 1, INR)
    # not even past the escrow: a debt that nobody has locked may not grow at all
    stranger = ledger.debt(uuid4(), INR)
    await books.refused(DebtLimitReached, ledger.transfer, "loan", stranger, ledger.wallet(provider, INR), 1)


@pytest.mark.parametrize(("earned", "left"), [(60, (0, -40)), (100, (0, 0)), (130, (30, 0))])
async def test_earnings_repay_a_debt_first(books: Books, earned: int, left: tuple[int, int]) -> None:
    provider = await books.person(owes=100)
    subject, _ = await books.held(earned)
    await books.run(escrow.release, subject, INR, [earning(provider, earned)])
    assert await books.wealth(provider) == [left]
    await books.world.books_are_clean()


async def test_who_owes_nothing_gets_no_debt_account(books: Books) -> None:
    """An account that is opened after others were locked is a deadlock in waiting."""
    seller, (subject, payer) = uuid4(), await books.held(100)
    parts = [earning(seller, 100), refunded(payer, 0), commissioned(0)]
    async with books.world.unchanged(but=["entries", "postings", "accounts", "events", "notifications"]):
        await books.run(escrow.release, subject, INR, parts)
    assert [row["kind"] for row in await books.world.rows("accounts", owner_id=seller)] == ["wallet"]


async def test_several_earnings_of_one_owner_repay_together_and_a_refund_does_not(books: Books) -> None:
    provider = await books.person(owes=100)
    subject, _ = await books.held(200)
    parts = [earning(provider, 70), refunded(provider, 50), earning(provider, 80)]
    await books.run(escrow.release, subject, INR, parts)
    assert await books.wealth(provider) == [(100, 0)]


async def test_who_pays_and_owes_gets_a_refund_whole(books: Books) -> None:
    subject, payer = await books.held(100)
    await books.run(escrow.charge_commission, job(), payer, 30, INR)
    await books.run(escrow.refund, subject, payer, INR)
    assert await books.wealth(payer) == [(100, -30)]


@pytest.mark.parametrize(
    ("funds", "owes", "amount", "left"),
    [(100, 0, 100, (0, 0)), (100, 0, 40, (60, 0)), (60, 0, 100, (0, -40)), (0, 0, 100, (0, -100)),
     (60, 5, 100, (0, -45)), (60, LIMIT - 40, 100, (0, -LIMIT))],
)  # fmt: skip
async def test_money_that_was_paid_on_comes_out_of_the_wallet_and_then_out_of_debt(
    books: Books, funds: int, owes: int, amount: int, left: tuple[int, int]
) -> None:
    seller, buyer, subject = await books.person(funds, owes), await books.person(owes=7), job()
    await books.run(escrow.claw_back, subject, seller, buyer, amount, INR)
    assert await books.wealth(seller, buyer) == [left, (amount, -7)]
    await books.refused(MoneyMovedBefore, escrow.claw_back, subject, seller, buyer, 1, INR)
    await books.world.books_are_clean()


async def test_nothing_is_clawed_back_beyond_the_limit(books: Books) -> None:
    seller = await books.person(60, owes=LIMIT - 39)
    await books.refused(DebtLimitReached, escrow.claw_back, job(), seller, uuid4(), 100, INR)
    await books.refused(ValueError, escrow.claw_back, job(), seller, uuid4(), 0, INR)
    await books.refused(ValueError, escrow.claw_back, job(), seller, seller, 10, INR)


async def test_a_debt_is_repaid_on_demand_as_far_as_the_wallet_reaches(books: Books) -> None:
    owner = await books.person(owes=100)
    async with books.world.unchanged():
        assert await books.run(escrow.repay, owner, INR) == 0
        assert await books.run(escrow.repay, uuid4(), INR) == 0
    await books.run(ledger.transfer, "test_top_up", CLEARING, ledger.wallet(owner, INR), 30)
    assert await books.run(escrow.repay, owner, INR) == 30
    assert await books.wealth(owner) == [(0, -70)]
    await books.run(ledger.transfer, "test_top_up", CLEARING, ledger.wallet(owner, INR), 100)
    found = await outcomes([books.run(escrow.repay, owner, INR) for _ in range(10)])
    assert sorted(found, key=str) == [0] * 9 + [70]
    assert await books.wealth(owner) == [(30, 0)]


async def test_a_tip_reaches_the_wallet_whole(books: Books) -> None:
    giver, receiver, subject = await books.person(100), await books.person(owes=50), job()
    await books.run(escrow.tip, subject, giver, receiver, 30, INR)
    assert await books.wealth(giver, receiver) == [(70, 0), (30, -50)]
    await books.refused(MoneyMovedBefore, escrow.tip, subject, giver, receiver, 5, INR)
    await books.run(escrow.tip, subject, giver, uuid4(), 70, INR)
    await books.refused(InsufficientFunds, escrow.tip, job(), giver, receiver, 1, INR)
    await books.refused(ValueError, escrow.tip, job(), giver, giver, 1, INR)


async def test_every_movement_is_recorded_with_what_it_is_about_by_whom_and_why(books: Books) -> None:
    payer, seller, actor_id = await books.person(100), await books.person(50), books.world.admin.id
    sold, returned, paid, done = (job() for _ in range(4))
    moves: list[tuple[str, str | None, escrow.Subject | None, Callable[..., Awaitable[Any]], list[Any]]] = [
        ("hold", f"hold:{sold[1]}", sold, escrow.hold, [sold, payer, 10, INR]),
        ("hold", f"hold:{returned[1]}", returned, escrow.hold_payment, [returned, 10, INR]),
        ("release", f"settlement:{sold[1]}", sold, escrow.release, [sold, INR, [earning(seller, 10)]]),
        ("refund", f"settlement:{returned[1]}", returned, escrow.refund, [returned, payer, INR]),
        ("claw_back", f"claw_back:{sold[1]}", sold, escrow.claw_back, [sold, seller, payer, 10, INR]),
        ("commission", f"commission:{paid[1]}", paid, escrow.charge_commission, [paid, seller, 10, INR]),
        ("repayment", None, None, escrow.repay, [seller, INR]),
        ("tip", f"tip:{done[1]}:{seller}", done, escrow.tip, [done, payer, seller, 10, INR]),
    ]
    for kind, key, subject, move, values in moves:
        reason = f"{kind} {uuid4()}"
        await books.run(move, *values, actor_id=actor_id, reason=reason)
        (entry,) = await books.world.rows("entries", reason=reason)
        assert (entry["kind"], entry["idempotency_key"], entry["actor_id"]) == (kind, key, actor_id)
        assert (entry["subject_type"], entry["subject_id"]) == (subject or (None, None))


@pytest.mark.parametrize("commission", [5, 60])
async def test_the_platform_gives_its_commission_back_too(books: Books, commission: int) -> None:
    seller, buyer = await books.person(100), await books.person()

    async def claw_back(session: Session) -> UUID:
        return await escrow.claw_back(session, job(), seller, buyer, 60, INR, commission=commission)

    entry_id = await books.run(claw_back)
    assert await books.wealth(seller, buyer) == [(40, 0), (60 + commission, 0)]
    account_id = ledger.platform(AccountKind.COMMISSION, INR).id
    (posting,) = await books.world.rows("postings", entry_id=entry_id, account_id=account_id)
    assert posting["amount"] == -commission


@pytest.mark.parametrize(("amount", "commission"), [(-1, 2), (2, -1), (-1, 0), (0, -1)])
async def test_nothing_negative_is_clawed_back(books: Books, amount: int, commission: int) -> None:
    async def claw_back(session: Session) -> UUID:
        return await escrow.claw_back(session, job(), uuid4(), uuid4(), amount, INR, commission=commission)

    await books.refused(ValueError, claw_back)


@pytest.mark.parametrize(("fee", "left"), [(50, (30, 0)), (1, (0, -19))])
async def test_what_is_reversed_repays_a_debt_first(books: Books, fee: int, left: tuple[int, int]) -> None:
    """A lead's fee that comes back, say."""
    provider, name = await books.person(fee), f"test:{uuid4()}"
    await books.run(ledger.transfer, "fee", ledger.wallet(provider, INR), FEES, fee, idempotency_key=name)
    await books.run(escrow.charge_commission, job(), provider, 20, INR)
    await books.run(ledger.reverse, name, actor_id=None, reason=None)
    assert await books.wealth(provider) == [left]


async def test_a_commission_that_is_reversed_after_it_was_repaid_is_paid_out(books: Books) -> None:
    provider, subject = await books.person(), job()
    await books.run(escrow.charge_commission, subject, provider, 20, INR)
    earned, _ = await books.held(15)
    await books.run(escrow.release, earned, INR, [earning(provider, 15)])
    await books.run(ledger.reverse, f"commission:{subject[1]}", actor_id=None, reason=None)
    assert await books.wealth(provider) == [(15, 0)]
    await books.world.books_are_clean()


async def test_what_depends_on_balances_needs_a_transaction(books: Books) -> None:
    """In a session of one statement the locks would be gone before the entry is posted."""
    subject, payer = await books.held(100)
    async with books.world.unchanged(), books.world.platform.database.write_single() as session:
        with pytest.raises(RuntimeError, match="single-statement"):
            await escrow.refund(session, subject, payer, INR)


async def test_whatever_a_few_people_do_to_each_other_at_once_nothing_deadlocks_or_is_lost(books: Books) -> None:
    order = random.Random(7)
    people = [await books.person(2000, owes=100) for _ in range(4)] + [uuid4() for _ in range(2)]
    held = [await books.held(100) for _ in range(40)]
    before = sum(wallet + debt for wallet, debt in await books.wealth(*people))
    calls: list[Awaitable[object]] = []
    for subject, _ in held:
        first, second, third = order.sample(people, 3)
        parts = [earning(first, 50), earning(second, 30), refunded(third, 20)]
        calls.append(books.run(escrow.release, subject, INR, parts))
        calls.append(books.run(escrow.claw_back, job(), first, third, order.randint(1, 900), INR))
        calls.append(books.run(escrow.tip, job(), second, first, order.randint(1, 50), INR))
        calls.append(books.run(escrow.repay, third, INR))
        calls.append(books.run(ledger.transfer, "top_up", CLEARING, ledger.wallet(second, INR), 1))
    order.shuffle(calls)
    found = await outcomes(calls)
    assert refusals(found) <= {InsufficientFunds, DebtLimitReached}
    assert len([each for each in found if not isinstance(each, Problem)]) > 100
    wealth = await books.wealth(*people)
    assert all(wallet >= 0 >= debt >= -LIMIT for wallet, debt in wealth)
    assert sum(wallet + debt for wallet, debt in wealth) == before + 40 * 100 + 40
    await books.world.books_are_clean()


async def test_who_locks_accounts_that_are_just_being_opened_does_not_deadlock(books: Books) -> None:
    for _ in range(5):
        seller, buyer = await books.person(100), uuid4()
        # Given an entry that has opened the buyer's wallet and is not committed
        async with books.write() as session:
            await ledger.transfer(session, "test", CLEARING, ledger.wallet(buyer, INR), 1)
            # and claw backs that want to lock it
            calls = [asyncio.create_task(books.run(escrow.claw_back, job(), seller, buyer, 30, INR)) for _ in range(5)]
            await books.world.waits(5)
            # When that entry's transaction wants the seller's wallet, then it has it
            await ledger.transfer(session, "test", ledger.wallet(seller, INR), FEES, 10)
        assert refusals(await outcomes(calls)) == set()
        assert await books.wealth(seller, buyer) == [(0, -60), (151, 0)]

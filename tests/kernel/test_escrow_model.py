"""Escrow, earnings and debts against a model of themselves: any sequence of what people may do to each other.

`LOCALBAZAAR_MODEL_RUNS=1000` is the whole test: a thousand runs of up to five hundred operations.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from sqlalchemy import ARRAY, Uuid, any_, bindparam, func, or_, select

from app.core.config import Settings
from app.core.database import ReadSession, Session, Statement
from app.core.errors import Problem
from app.core.money import DebtLimitReached, InsufficientFunds, MoneyMovedBefore, split
from app.kernel import escrow, ledger
from app.kernel.escrow import NothingHeld, Part, PartsDoNotAddUp, Purpose, commissioned, earning, refunded
from app.kernel.ledger import Account, AccountKind, Posting
from app.kernel.platform import Platform, open_platform
from app.models.ledger import accounts, postings
from tests.support import jobs
from tests.support.jobs import Status

RUNS: Final = int(os.environ.get("LOCALBAZAAR_MODEL_RUNS", "24"))
OPERATIONS: Final = 500
SHARDS: Final = 4
"""Parts of the runs, for as many workers."""

CURRENCIES: Final = ("INR", "GOLD")
LIMITS: Final = (0, 500, 3000)
KEPT: Final = (AccountKind.WALLET, AccountKind.ESCROW, AccountKind.DEBT)


class Step(NamedTuple):
    """One operation, out of one number: what is done, by whom to whom, about what, and how much it is."""

    what: int
    first: int
    second: int
    subject: int
    currency: int
    amount: int

    @classmethod
    def out_of(cls, number: int) -> "Step":
        fields = []
        for size in (len(OPERATIONS_BY_NUMBER), 4, 4, 8, len(CURRENCIES), 1000):
            number, value = divmod(number, size)
            fields.append(value)
        return cls(*fields)


class Call(NamedTuple):
    """What is asked for, and what the model says of it: its effect, or why it is refused."""

    run: Callable[[Session], Awaitable[Any]]
    key: str | None
    lines: list[Posting]
    refusals: set[type[Problem]]
    """Empty if it works; where several reasons hold, the one that is told is the database's business."""
    status: tuple[UUID, Status] | None = None
    """The subject and its status after that."""


@dataclass
class Model:
    """What the books should say."""

    owners: list[UUID] = field(default_factory=lambda: [uuid4() for _ in range(4)])
    subjects: list[tuple[escrow.Subject, UUID, str]] = field(default_factory=list)
    """Each with its payer and its currency."""
    balances: defaultdict[Account, int] = field(default_factory=lambda: defaultdict(int))
    entries: dict[str, list[Posting]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    """Those with a key that worked."""
    limit: int = LIMITS[1]

    def earned(self, lines: Sequence[Posting]) -> list[Posting]:
        """Each line divided into what repays and what is left."""
        result = []
        after = dict(self.balances)
        for account, amount in lines:
            debt = ledger.debt(account.owner_id, account.currency)
            repaid = min(amount, -after.get(debt, 0))
            after[debt] = after.get(debt, 0) + repaid
            result += [
                Posting(debt, repaid), Posting(ledger.wallet(account.owner_id, account.currency), amount - repaid),
            ]  # fmt: skip
        return result

    def call(
        self, run: Callable[[Session], Awaitable[Any]], key: str | None, lines: list[Posting], **more: Any
    ) -> Call:
        """With the refusals that follow from the balances."""
        if key in self.entries:
            return Call(run, key, lines, {MoneyMovedBefore})
        refusals: set[type[Problem]] = set()
        for account, amount in net(lines).items():
            after = self.balances[account] + amount
            if account.kind in (AccountKind.WALLET, AccountKind.ESCROW) and after < 0:
                refusals.add(InsufficientFunds)
            if account.kind is AccountKind.DEBT and amount < 0 and after < -self.limit:
                refusals.add(DebtLimitReached)
        return Call(run, key, lines, refusals, **more)

    def apply(self, call: Call) -> None:
        for account, amount in call.lines:
            self.balances[account] += amount
        if call.key is not None:
            self.entries[call.key] = call.lines
            self.calls.append(call)


def net(lines: Sequence[Posting]) -> dict[Account, int]:
    totals: defaultdict[Account, int] = defaultdict(int)
    for account, amount in lines:
        totals[account] += amount
    return {account: amount for account, amount in totals.items() if amount}


class Scene:
    """The operations: each turns a step into a call."""

    def __init__(self, model: Model, step: Step, fresh: escrow.Subject | None) -> None:
        self.model, self.step = model, step
        self.first, self.second = model.owners[step.first], model.owners[step.second]
        self.amount = step.amount + 1
        if fresh is not None:
            model.subjects.append((fresh, self.first, CURRENCIES[step.currency]))
        self.subject, self.payer, self.currency = model.subjects[-1 - step.subject % len(model.subjects)]
        if fresh is not None:
            self.subject, self.payer, self.currency = model.subjects[-1]
        self.id = self.subject[1]
        self.escrow = ledger.escrow(self.id, self.currency)
        self.mine, self.theirs = (ledger.wallet(owner, self.currency) for owner in (self.first, self.second))
        self.due = ledger.debt(self.first, self.currency)

    def top_up(self) -> Call:
        source = ledger.platform(AccountKind.CLEARING, self.currency)
        return self.model.call(
            lambda session: ledger.transfer(session, "model_top_up", source, self.mine, self.amount),
            None,
            [Posting(source, -self.amount), Posting(self.mine, self.amount)],
        )

    def hold(self) -> Call:
        return self.model.call(
            lambda session: escrow.hold(session, self.subject, self.payer, self.amount, self.currency),
            f"hold:{self.id}",
            [Posting(ledger.wallet(self.payer, self.currency), -self.amount), Posting(self.escrow, self.amount)],
        )

    def hold_payment(self) -> Call:
        source = ledger.platform(AccountKind.CLEARING, self.currency)
        return self.model.call(
            lambda session: escrow.hold_payment(session, self.subject, self.amount, self.currency),
            f"hold:{self.id}",
            [Posting(source, -self.amount), Posting(self.escrow, self.amount)],
        )

    def release(self) -> Call:
        """To a seller, less commission, and a driver."""
        fee, price = split(self.model.balances[self.escrow], [1, 1 + self.step.amount % 9])
        return self._release([*escrow.less_commission(self.first, price, self.step.amount), earning(self.second, fee)])

    def divide(self) -> Call:
        """A decision about a dispute."""
        whole = self.model.balances[self.escrow]
        back, on, kept = split(whole, [1 + self.step.amount % 7, self.step.amount % 5, self.step.amount % 2])
        return self._release([refunded(self.payer, back), earning(self.first, on), commissioned(kept)])

    def release_what_is_not_there(self) -> Call:
        """Too much, or too little."""
        held = self.model.balances[self.escrow]
        return self._release([earning(self.first, held + self.amount if self.step.amount % 2 else held // 2)])

    def _release(self, parts: list[Part]) -> Call:
        return self._settlement(
            lambda session: escrow.release(session, self.subject, self.currency, parts), parts, Status.DONE
        )

    def refund(self) -> Call:
        parts = [refunded(self.payer, self.model.balances[self.escrow])]
        return self._settlement(
            lambda session: escrow.refund(session, self.subject, self.payer, self.currency), parts, Status.CANCELLED
        )

    def _settlement(self, run: Callable[[Session], Awaitable[Any]], parts: list[Part], status: Status) -> Call:
        held, key = self.model.balances[self.escrow], f"settlement:{self.id}"
        earned = [part.line(self.currency) for part in parts if part.purpose is Purpose.EARNING]
        others = [part.line(self.currency) for part in parts if part.purpose is not Purpose.EARNING]
        lines = [Posting(self.escrow, -held), *others, *self.model.earned(earned)]
        if key not in self.model.entries and (not held or sum(part.amount for part in parts) != held):
            return Call(run, key, lines, {PartsDoNotAddUp if held else NothingHeld})
        return self.model.call(run, key, lines, status=(self.id, status))

    def claw_back(self) -> Call:
        if self.first == self.second:
            return self.top_up()
        at_hand = min(self.amount, self.model.balances[self.mine])
        return self.model.call(
            lambda session: escrow.claw_back(
                session, self.subject, self.first, self.second, self.amount, self.currency
            ),
            f"claw_back:{self.id}",
            [Posting(self.mine, -at_hand), Posting(self.due, at_hand - self.amount), Posting(self.theirs, self.amount)],
        )

    def commission(self) -> Call:
        target = ledger.platform(AccountKind.COMMISSION, self.currency)
        return self.model.call(
            lambda session: escrow.charge_commission(session, self.subject, self.first, self.amount, self.currency),
            f"commission:{self.id}",
            [Posting(self.due, -self.amount), Posting(target, self.amount)],
        )

    def repay(self) -> Call:
        amount = min(self.model.balances[self.mine], -self.model.balances[self.due])
        lines = [Posting(self.mine, -amount), Posting(self.due, amount)] if amount else []
        return self.model.call(lambda session: escrow.repay(session, self.first, self.currency), None, lines)

    def tip(self) -> Call:
        if self.first == self.second:
            return self.top_up()
        return self.model.call(
            lambda session: escrow.tip(session, self.subject, self.first, self.second, self.amount, self.currency),
            f"tip:{self.id}:{self.second}",
            [Posting(self.mine, -self.amount), Posting(self.theirs, self.amount)],
        )

    def reverse(self) -> Call:
        """Any effect so far, or one that never was."""
        keys = list(self.model.entries)
        key = keys[-1 - self.step.amount % len(keys)] if keys else "never heard of"

        def run(session: Session) -> Awaitable[Any]:
            return ledger.reverse(session, key, actor_id=None, reason=None)

        if not keys:
            return self.model.call(run, None, [])
        opposite = [Posting(account, -amount) for account, amount in self.model.entries[key] if amount]
        owners = (AccountKind.WALLET, AccountKind.DEBT)
        earned = [line for line in opposite if line.amount > 0 and line.account.kind in owners]
        lines = [*(line for line in opposite if line not in earned), *self.model.earned(earned)]
        kind, _, rest = key.partition(":")
        status = (UUID(rest), Status.OPEN) if kind == "settlement" else None
        return self.model.call(run, f"reversal:{key}", lines, status=status)

    def repeat(self) -> Call:
        """Something that has been done, just as it was done then."""
        if not self.model.calls:
            return self.top_up()
        again = self.model.calls[self.step.amount % len(self.model.calls)]
        return again._replace(refusals={MoneyMovedBefore})

    def change_the_limit(self) -> Call:
        self.model.limit = LIMITS[self.step.amount % len(LIMITS)]
        return self.repay()


OPERATIONS_BY_NUMBER: Final[tuple[Callable[[Scene], Call], ...]] = (
    Scene.top_up, Scene.top_up, Scene.hold, Scene.hold, Scene.hold, Scene.hold_payment,
    Scene.release, Scene.release, Scene.divide, Scene.divide, Scene.release_what_is_not_there, Scene.refund,
    Scene.claw_back, Scene.claw_back, Scene.commission, Scene.commission, Scene.repay, Scene.tip,
    Scene.reverse, Scene.repeat, Scene.change_the_limit,
)  # fmt: skip
BEGINNINGS: Final = (Scene.hold, Scene.hold_payment, Scene.commission)
"""They are mostly about a subject that is new."""

_LOOK = Statement(
    select(
        postings.c.account_id,
        func.sum(postings.c.amount).label("sum"),
        func.sum(postings.c.amount).filter(postings.c.entry_id == bindparam("entry_id", type_=Uuid)).label("moved"),
        func.min(accounts.c.balance).label("balance"),
        func.min(accounts.c.floor).label("floor"),
    )
    .join(accounts, accounts.c.id == postings.c.account_id)
    .where(
        or_(
            postings.c.account_id == any_(bindparam("kept", type_=ARRAY(Uuid))),
            postings.c.entry_id == bindparam("entry_id", type_=Uuid),
        )
    )
    .group_by(postings.c.account_id)
)


async def look(session: ReadSession, model: Model, about: Sequence[Account], entry_id: UUID, moved: Any) -> None:
    """These accounts say what the model says, and so do their postings; the entry moved just this, and balances."""
    kept = {account.id: account for account in about if account.kind in KEPT}
    found = {row["account_id"]: row for row in await session.all(_LOOK, kept=list(kept), entry_id=entry_id)}
    assert {key: row["moved"] for key, row in found.items() if row["moved"]} == moved
    assert sum(row["moved"] or 0 for row in found.values()) == 0
    for account_id, account in kept.items():
        row = found.get(account_id)
        assert (row["balance"], row["sum"]) == (model.balances[account],) * 2 if row else not model.balances[account]
        if row and account.kind is AccountKind.DEBT:
            assert row["floor"] <= row["balance"] <= 0
        elif row:
            assert 0 == row["floor"] <= row["balance"]


async def take(platform: Platform, model: Model, call: Call) -> type[Problem] | None:
    """Do it, and look. The refusal, if it was one."""
    about = list(net(call.lines))
    try:
        async with platform.database.write() as session:
            answer = await call.run(session)
            assert call.refusals == set(), f"expected {call.refusals}"
            if call.status is not None:
                await jobs.move(session, *call.status)
            model.apply(call)
            if isinstance(answer, UUID):
                moved = {account.id: amount for account, amount in net(call.lines).items()}
                await look(session, model, about, answer, moved)
            else:
                assert (answer or 0) == sum(amount for account, amount in call.lines if amount > 0)
    except Problem as problem:
        assert type(problem) in call.refusals, f"{problem!r} instead of {call.refusals}"  # noqa: PT017 - one of several
        async with platform.database.read() as reading:
            await look(reading, model, about, uuid4(), {})
        return type(problem)
    return None


async def play(platform: Platform, numbers: Sequence[int], told: dict[str, int]) -> None:
    model = Model()

    def limited() -> Settings:
        return platform.settings.model_copy(update={"debt_limit_minor": model.limit})

    with patch("app.kernel.ledger.settings", limited):
        for number in numbers:
            step = Step.out_of(number)
            operation = OPERATIONS_BY_NUMBER[step.what]
            fresh = None
            if not model.subjects or (operation in BEGINNINGS and step.subject):
                async with platform.database.write() as session:
                    fresh = await jobs.make(session)
            call = operation(Scene(model, step, fresh))
            outcome = await take(platform, model, call)
            told[f"{operation.__name__}: {outcome.__name__ if outcome else 'done'}"] += 1
    assert sum(model.balances.values()) == 0
    async with platform.database.read() as reading:
        await look(reading, model, list(model.balances), uuid4(), {})


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_books_are_what_the_model_says(configured: Settings, shard: int) -> None:
    told: dict[str, int] = defaultdict(int)
    largest = (len(OPERATIONS_BY_NUMBER) * 4 * 4 * 8 * len(CURRENCIES) * 1000) - 1
    lengths = st.integers(1, OPERATIONS)
    numbers = lengths.flatmap(lambda n: st.lists(st.integers(0, largest), min_size=n, max_size=n))

    async def all_runs() -> None:
        async with open_platform(configured) as platform, jobs.known(configured):
            loop = asyncio.get_running_loop()

            @settings(
                max_examples=max(1, RUNS // SHARDS),
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            )
            @given(numbers)
            def run(sequence: list[int]) -> None:
                note(str([Step.out_of(number) for number in sequence]))
                told["runs"] += 1
                asyncio.run_coroutine_threadsafe(play(platform, sequence, told), loop).result(120)

            await asyncio.to_thread(run)
            async with platform.database.read() as session:
                assert (await ledger.verify(session)).faults == []

    asyncio.run(all_runs())
    print(", ".join(f"{what} {count}" for what, count in sorted(told.items())))

"""The ledger against a model of itself: any sequence of entries, reversals and overdrafts (hypothesis)."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from app.core.config import Settings
from app.core.database import Statement
from app.core.money import InsufficientFunds, MoneyMovedBefore
from app.kernel import ledger
from app.kernel.ledger import Account, AccountKind, Posting
from app.kernel.platform import Platform, open_platform
from app.models.ledger import accounts, postings

CURRENCIES = ("INR", "GOLD")
OWNERS = 4

# An account of the model: a wallet or an escrow by its number, or None for the platform's clearing account.
Slot = tuple[int, AccountKind] | None
slots = st.one_of(
    st.none(), st.tuples(st.integers(0, OWNERS - 1), st.sampled_from((AccountKind.WALLET, AccountKind.ESCROW)))
)


@dataclass(frozen=True)
class Entry:
    """Parts of one currency: amounts that are taken from `source` and given to each target."""

    currency: str
    source: Slot
    targets: tuple[tuple[Slot, int], ...]


@dataclass(frozen=True)
class Reverse:
    """The reversal of the n-th entry so far, modulo their number."""

    which: int


entries = st.builds(
    Entry,
    st.sampled_from(CURRENCIES),
    slots,
    st.lists(st.tuples(slots, st.integers(1, 1000)), min_size=1, max_size=4).map(tuple),
)
steps = st.lists(st.one_of(entries, entries, st.builds(Reverse, st.integers(0, 99))), min_size=1, max_size=25)


@dataclass
class Model:
    """What the books should say."""

    owners: list[UUID] = field(default_factory=lambda: [uuid4() for _ in range(OWNERS)])
    balances: dict[Account, int] = field(default_factory=dict)
    posted: list[tuple[str, list[Posting]]] = field(default_factory=list)
    reversed: set[str] = field(default_factory=set)

    def account(self, slot: Slot, currency: str) -> Account:
        if slot is None:
            return ledger.platform(AccountKind.CLEARING, currency)
        return Account(self.owners[slot[0]], slot[1], currency)

    def lines(self, entry: Entry) -> list[Posting]:
        total = sum(amount for _, amount in entry.targets)
        given = [Posting(self.account(slot, entry.currency), amount) for slot, amount in entry.targets]
        return [Posting(self.account(entry.source, entry.currency), -total), *given]

    def would_overdraw(self, lines: list[Posting]) -> bool:
        after = dict(self.balances)
        for account, amount in lines:
            after[account] = after.get(account, 0) + amount
        return any(amount < 0 for account, amount in after.items() if account.kind is not AccountKind.CLEARING)

    def apply(self, lines: list[Posting]) -> None:
        for account, amount in lines:
            self.balances[account] = self.balances.get(account, 0) + amount


async def play(platform: Platform, sequence: list[Entry | Reverse]) -> None:
    model = Model()
    for step in sequence:
        match step:
            case Entry():
                await _post(platform, model, step)
            case Reverse() if model.posted:
                await _reverse(platform, model, *model.posted[step.which % len(model.posted)])
    async with platform.database.read() as session:
        for account, expected in model.balances.items():
            total = await session.scalar(
                Statement(
                    select(func.coalesce(func.sum(postings.c.amount), 0)).where(postings.c.account_id == account.id)
                )
            )
            kept = await session.scalar(Statement(select(accounts.c.balance).where(accounts.c.id == account.id)))
            if account.kind is AccountKind.CLEARING:
                assert kept is None
                continue
            assert (kept or 0) == total == expected >= 0
        assert (await ledger.verify(session)).faults == []


async def _post(platform: Platform, model: Model, entry: Entry) -> None:
    lines, name = model.lines(entry), f"model:{uuid4()}"
    expected = InsufficientFunds if model.would_overdraw(lines) else None
    assert await _outcome(platform, lines, name) is expected
    if expected is None:
        model.apply(lines)
        model.posted.append((name, lines))


async def _outcome(platform: Platform, lines: list[Posting], name: str) -> type[Exception] | None:
    try:
        async with platform.database.write() as session:
            await ledger.post(session, "model", lines, idempotency_key=name)
    except InsufficientFunds as problem:
        return type(problem)
    return None


async def _reverse(platform: Platform, model: Model, name: str, lines: list[Posting]) -> None:
    opposite = [Posting(account, -amount) for account, amount in lines]
    expected: tuple[type[Exception], ...] = ()
    # Which of two reasons comes first is the database's business.
    if name in model.reversed:
        expected += (MoneyMovedBefore,)
    if model.would_overdraw(opposite):
        expected += (InsufficientFunds,)
    try:
        async with platform.database.write() as session:
            await ledger.reverse(session, name, actor_id=None, reason=None)
    except (MoneyMovedBefore, InsufficientFunds) as problem:
        assert isinstance(problem, expected)  # noqa: PT017 - either reason may be right, none may be
        return
    assert expected == ()
    model.apply(opposite)
    model.reversed.add(name)


def test_the_books_are_what_the_model_says(configured: Settings) -> None:
    async def all_examples() -> None:
        async with open_platform(configured) as platform:
            loop = asyncio.get_running_loop()

            @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
            @given(steps)
            def example(sequence: list[Entry | Reverse]) -> None:
                asyncio.run_coroutine_threadsafe(play(platform, sequence), loop).result(60)

            await asyncio.to_thread(example)

    asyncio.run(all_examples())

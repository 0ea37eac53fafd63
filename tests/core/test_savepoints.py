"""A part of a transaction that is undone while the rest goes on (`Session.savepoint`)."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from app.core.database import Session
from app.core.errors import Conflict
from app.core.money import InsufficientFunds
from app.kernel import ledger
from app.kernel.ledger import AccountKind, Posting
from tests.support.world import World


async def credit(session: Session, owner: UUID, amount: int) -> None:
    """Minor units into the owner's wallet; out of it, below zero."""
    adjustment = Posting(ledger.platform(AccountKind.ADJUSTMENT, "INR"), -amount)
    await ledger.post(session, "test", [adjustment, Posting(ledger.wallet(owner, "INR"), amount)])


async def refuse() -> None:
    raise Conflict()


async def within(session: Session, *steps: Callable[[], Awaitable[None]]) -> None:
    """The steps, one after the other, behind one savepoint."""
    async with session.savepoint():
        for step in steps:
            await step()


async def refused(session: Session, owner: UUID, amount: int) -> None:
    """Something that is credited and then refused."""
    with pytest.raises(Conflict):
        await within(session, lambda: credit(session, owner, amount), refuse)


async def balance(world: World, owner: UUID) -> int | None:
    rows = await world.rows("accounts", owner_id=owner)
    return rows[0]["balance"] if rows else None


async def test_what_is_refused_is_undone_and_the_rest_is_kept(world: World) -> None:
    owner = uuid4()
    async with world.platform.database.write() as session:
        await credit(session, owner, 1)
        await refused(session, owner, 10)
        async with session.savepoint():
            await credit(session, owner, 100)
        await refused(session, owner, 1000)
        await credit(session, owner, 10_000)
    assert await balance(world, owner) == 10_101


async def test_the_transaction_goes_on_after_a_refusal_of_the_database(world: World) -> None:
    owner = uuid4()
    async with world.platform.database.write() as session:
        with pytest.raises(InsufficientFunds):
            await within(session, lambda: credit(session, owner, 10), lambda: credit(session, owner, -11))
        await credit(session, owner, 1)
    assert await balance(world, owner) == 1


async def test_a_savepoint_around_one_that_was_undone_undoes_everything(world: World) -> None:
    owner = uuid4()
    async with world.platform.database.write() as session:
        await credit(session, owner, 1)
        with pytest.raises(Conflict):
            await within(session, lambda: credit(session, owner, 10), lambda: refused(session, owner, 100), refuse)
    assert await balance(world, owner) == 1


async def test_a_fault_undoes_the_whole_transaction(world: World) -> None:
    async def fail() -> None:
        async with world.platform.database.write() as session:
            await credit(session, uuid4(), 1)
            await within(session, lambda: credit(session, uuid4(), 10), broken)

    async def broken() -> None:
        raise ZeroDivisionError

    async with world.unchanged():
        with pytest.raises(ZeroDivisionError):
            await fail()

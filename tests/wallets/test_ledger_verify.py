"""`localbazaar ledger verify` finds what should not be possible; the faults are planted with the triggers off."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from unittest.mock import patch
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from app import cli
from app.core.config import Settings, settings
from app.core.connections import connect
from app.kernel import escrow, ledger
from app.kernel.ledger import AccountKind
from app.kernel.platform import open_platform
from app.migrate import migrate
from tests.support.jobs import Status, known, make, move
from tests.support.world import World

CLEARING = ledger.platform(AccountKind.CLEARING, "INR")

# What is planted on an entry that gives 100 to a new wallet, and what is to be found then.
FAULTS = {
    "an entry that does not balance": (
        "UPDATE postings SET amount = 101 WHERE entry_id = '{entry}' AND amount > 0",
        ["entry {entry} is off by 1 INR", "account {wallet} says 100, its postings say 101"],
    ),
    "a balance that drifted": (
        "UPDATE accounts SET balance = 107 WHERE id = '{wallet}'",
        ["account {wallet} says 107, its postings say 100"],
    ),
    "a balance without postings": (
        "INSERT INTO accounts VALUES ('{entry}', '{entry}', 'wallet', 'INR', 3)",
        ["account {entry} says 3, its postings say 0"],
    ),
    "a wallet below its floor": (
        "ALTER TABLE accounts DROP CONSTRAINT accounts_floor;UPDATE accounts SET floor = 5000 WHERE id = '{wallet}'",
        ["account {wallet} is at 100, below its floor 5000"],
    ),
    "a wallet below zero whose floor allows it": (
        "ALTER TABLE accounts DROP CONSTRAINT accounts_floor_not_negative;"
        "UPDATE accounts SET balance = -5, floor = -10 WHERE id = '{wallet}';"
        "UPDATE postings SET amount = sign(amount) * -5 WHERE entry_id = '{entry}'",
        ["account {wallet} is at -5, below its floor 0"],
    ),
    "a debt below its floor": (
        "ALTER TABLE accounts DROP CONSTRAINT accounts_debt_limit, DROP CONSTRAINT accounts_floor_not_negative;"
        "UPDATE accounts SET balance = -5, floor = -4, kind = 'debt' WHERE id = '{wallet}';"
        "UPDATE postings SET amount = sign(amount) * -5 WHERE entry_id = '{entry}'",
        ["account {wallet} is at -5, below its floor -4"],
    ),
    "a debt above zero": (
        "ALTER TABLE accounts DROP CONSTRAINT accounts_debt_owed;"
        "UPDATE accounts SET kind = 'debt' WHERE id = '{wallet}'",
        ["debt {wallet} is at 100, above zero"],
    ),
    "an escrow of a closed subject": (
        "UPDATE accounts SET kind = 'escrow' WHERE id = '{wallet}';"
        "INSERT INTO test_jobs SELECT owner_id, 'DONE' FROM accounts WHERE id = '{wallet}';"
        "INSERT INTO accounts (id, owner_id, kind, currency, balance) SELECT gen_random_uuid(), owner_id, 'escrow',"
        " 'GOLD', 0 FROM accounts WHERE id = '{wallet}'",
        ["test_job {owner} is DONE and holds 100 INR"],
    ),
    "an entry without postings": (
        "INSERT INTO entries (id, kind) VALUES ('{wallet}', 'empty')",
        ["entry {wallet} has no postings"],
    ),
    "postings of another currency": (
        "UPDATE accounts SET currency = 'GOLD' WHERE id = '{wallet}'",
        ["names no INR account: {wallet}"],
    ),
    "postings outside of all accounts": (
        "DELETE FROM accounts WHERE id = '{wallet}'",
        ["names no INR account: {wallet}"],
    ),
}


@pytest.fixture
async def jobs(configured: Settings) -> AsyncIterator[None]:
    """A noun that holds money."""
    async with known(configured):
        yield


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("what", FAULTS)
async def test_a_planted_fault_is_found_and_nothing_else(world: World, what: str) -> None:
    plant, expected = FAULTS[what]
    wallet = ledger.wallet(uuid4(), "INR")
    # Given clean books, in a transaction that is rolled back
    async with world.unchanged(), world.platform.database.write() as session:
        entry_id = await ledger.transfer(session, "test", CLEARING, wallet, 100)
        assert (await ledger.verify(session)).faults == []
        # When a fault is planted past the triggers
        words = {"entry": entry_id, "wallet": wallet.id, "owner": wallet.owner_id}
        await session.driver_connection.execute("SET LOCAL session_replication_role = replica")
        await session.driver_connection.execute(plant.format(**words))
        faults = (await ledger.verify(session)).faults
        await session.driver_connection.execute("ROLLBACK")
    # Then it is named, and nothing else is
    assert len(faults) == len(expected)
    for fault, told in zip(faults, expected, strict=True):
        assert told.format(**words) in fault


@pytest.mark.usefixtures("jobs")
async def test_an_open_subject_may_hold_money_and_a_closed_one_nothing(world: World) -> None:
    wallet = ledger.wallet(uuid4(), "INR")
    async with world.platform.database.write() as session:
        await ledger.transfer(session, "test", CLEARING, wallet, 100)
        subject = await make(session)
        await escrow.hold(session, subject, wallet.owner_id, 100, "INR")
        assert (await ledger.verify(session)).faults == []
        await escrow.refund(session, subject, wallet.owner_id, "INR")
        await move(session, subject[1], Status.CANCELLED)
        assert (await ledger.verify(session)).faults == []
        await session.driver_connection.execute("ROLLBACK")


@contextmanager
def using(database_url: str) -> Iterator[Settings]:
    with patch.dict("os.environ", {"DATABASE_URL": database_url}):
        settings.cache_clear()
        yield settings()
    settings.cache_clear()


@pytest.fixture
def scratch(configured: Settings) -> Iterator[str]:
    """The URL of a database of one's own."""
    name = f"scratch_{uuid4().hex}"

    async def on_server(sql: str) -> None:
        server = await connect(configured)
        await server.execute(sql)
        await server.close()

    asyncio.run(on_server(f"CREATE DATABASE {name}"))
    yield make_url(configured.database_url).set(database=name).render_as_string(hide_password=False)
    asyncio.run(on_server(f"DROP DATABASE {name} WITH (FORCE)"))


async def fill(wanted: Settings) -> None:
    async with open_platform(wanted) as platform, platform.database.write() as session:
        await ledger.transfer(session, "test", CLEARING, ledger.wallet(uuid4(), "INR"), 100)


async def break_into(wanted: Settings) -> None:
    connection = await connect(wanted)
    await connection.execute(
        "SET session_replication_role = replica; UPDATE accounts SET balance = 99 WHERE balance > 0"
    )
    await connection.close()


def test_the_command_tells_clean_books_from_others_by_its_exit_code(scratch: str) -> None:
    with using(scratch) as wanted:
        migrate(wanted)
        asyncio.run(fill(wanted))
        clean = CliRunner().invoke(cli.app, ["ledger", "verify"])
        asyncio.run(break_into(wanted))
        broken = CliRunner().invoke(cli.app, ["ledger", "verify"])
    assert (clean.exit_code, broken.exit_code) == (0, 1), clean.output + broken.output
    assert "clean" in clean.output
    assert "says 99, its postings say 100" in " ".join(broken.output.split())

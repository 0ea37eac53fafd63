"""Direct attacks on the books with SQL: whatever the code does, the database refuses (money.md: Ledger)."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.core.config import Settings
from app.core.connections import connect
from app.kernel import escrow, ledger
from app.kernel.ledger import AccountKind
from tests.support.world import World

CLEARING = ledger.platform(AccountKind.CLEARING, "INR")


@pytest.fixture
async def accounts(world: World) -> tuple[UUID, UUID, UUID]:
    """Two wallets, of which the first holds 100, and the entry that says so; and the owner of the first owes 1."""
    a, b = ledger.wallet(uuid4(), "INR"), ledger.wallet(uuid4(), "INR")
    async with world.platform.database.write() as session:
        entry_id = await ledger.transfer(session, "test", CLEARING, a, 101)
        await ledger.transfer(session, "test", a, b, 1)
        await escrow.charge_commission(session, ("test", uuid4()), a.owner_id, 1, "INR")
    return a.id, b.id, entry_id


async def attack(configured: Settings, sql: str, *values: Any) -> asyncpg.PostgresError:
    """The refusal of a statement that somebody sends on a connection of their own."""
    connection = await connect(configured)
    try:
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await connection.execute(sql, *values)
        return refusal.value
    finally:
        await connection.close()


def constraint(error: asyncpg.PostgresError) -> str | None:
    name: str | None = getattr(error, "constraint_name", None)
    return name


ENTRY = "WITH e AS (INSERT INTO entries (id, kind) VALUES (gen_random_uuid(), 'attack') RETURNING id) "
POST = ENTRY + "INSERT INTO postings (entry_id, account_id, currency, amount) SELECT e.id, p.* FROM e, "

POSTINGS = {
    "one side only": ("(VALUES ($1::uuid, 'INR', 5::bigint)) p, (SELECT $2::uuid) x", "postings_balance"),
    "more comes than goes": (
        "(VALUES ($1::uuid, 'INR', -5::bigint), ($2::uuid, 'INR', 6::bigint)) p", "postings_balance",
    ),
    "one currency for another": (
        "(VALUES ($1::uuid, 'INR', -5::bigint), ($2::uuid, 'GOLD', 5::bigint)) p", "postings_balance",
    ),
    "a currency that is not the account's": (
        "(VALUES ($1::uuid, 'GOLD', -5::bigint), ($2::uuid, 'GOLD', 5::bigint)) p", "postings_account",
    ),
    "an account that does not exist": (
        "(VALUES ($1::uuid, 'INR', -5::bigint), (gen_random_uuid(), 'INR', 5::bigint)) p, (SELECT $2::uuid) x",
        "postings_account",
    ),
    "more than there is": (
        "(VALUES ($1::uuid, 'INR', -101::bigint), ($2::uuid, 'INR', 101::bigint)) p", "accounts_floor",
    ),
    "nothing": ("(VALUES ($1::uuid, 'INR', 0::bigint), ($2::uuid, 'INR', 0::bigint)) p", "postings_amount_not_zero"),
}  # fmt: skip


@pytest.mark.parametrize("what", POSTINGS)
async def test_an_entry_that_breaks_a_rule_is_refused(
    world: World, configured: Settings, accounts: tuple[UUID, UUID, UUID], what: str
) -> None:
    rows, rule = POSTINGS[what]
    columns = "p.column1, p.column2, p.column3"
    async with world.unchanged():
        error = await attack(configured, POST.replace("p.*", columns) + rows, accounts[0], accounts[1])
    assert constraint(error) == rule
    await world.books_are_clean()


ALTERATIONS = {
    "a posting's amount": ("UPDATE postings SET amount = amount * 2", "postings_append_only"),
    "a posting's account": ("UPDATE postings SET account_id = gen_random_uuid()", "postings_append_only"),
    "no posting at all, even": ("UPDATE postings SET amount = 1 WHERE false", "postings_append_only"),
    "away with postings": ("DELETE FROM postings", "postings_append_only"),
    "away with all postings": ("TRUNCATE postings", "postings_append_only"),
    "an entry's kind": ("UPDATE entries SET kind = 'gift'", "entries_append_only"),
    "an entry's key": ("UPDATE entries SET idempotency_key = NULL", "entries_append_only"),
    "away with entries": ("DELETE FROM entries WHERE kind = 'there is none'", "entries_append_only"),
    "away with all entries": ("TRUNCATE entries CASCADE", "entries_append_only"),
    "history": ("UPDATE audit_trail SET actor_id = NULL", "audit_trail_append_only"),
    "away with history": ("DELETE FROM audit_trail", "audit_trail_append_only"),
    "away with all history": ("TRUNCATE audit_trail", "audit_trail_append_only"),
    "away with accounts": ("DELETE FROM accounts", "accounts_append_only"),
    "away with all accounts": ("TRUNCATE accounts", "accounts_append_only"),
    "a wallet's owner": ("UPDATE accounts SET owner_id = gen_random_uuid()", "accounts_append_only"),
    "a wallet's currency": ("UPDATE accounts SET currency = 'GOLD'", "accounts_append_only"),
    "a balance": ("UPDATE accounts SET balance = balance + 1 WHERE balance >= 0", "accounts_balance_moves_by_postings"),
    "no balance": ("UPDATE accounts SET balance = NULL WHERE kind = 'wallet'", "accounts_balance_moves_by_postings"),
    "a balance by a detour": (
        "DO $$ BEGIN UPDATE accounts SET balance = balance + 1 WHERE kind = 'wallet'; END $$",
        "accounts_balance_moves_by_postings",
    ),
    "an account that begins with money": (
        "INSERT INTO accounts (id, owner_id, kind, currency, balance)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'wallet', 'INR', 5)",
        "accounts_balance_moves_by_postings",
    ),
    "a wallet without a balance": (
        "INSERT INTO accounts (id, owner_id, kind, currency)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'wallet', 'INR')",
        "accounts_kept",
    ),
    "a wallet that may fall below zero": (
        "UPDATE accounts SET floor = -1 WHERE kind = 'wallet'",
        "accounts_floor_not_negative",
    ),
    "an escrow that may fall below zero": (
        "INSERT INTO accounts (id, owner_id, kind, currency, balance, floor)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'escrow', 'INR', 0, -1)",
        "accounts_floor_not_negative",
    ),
    "a debt that is forgiven": (
        "UPDATE accounts SET balance = 0 WHERE kind = 'debt'", "accounts_balance_moves_by_postings",
    ),
    "a debt without a limit": ("UPDATE accounts SET floor = 1 WHERE kind = 'debt'", "accounts_debt_limit"),
    "a kind that nobody knows": ("UPDATE accounts SET kind = 'loan'", "accounts_append_only"),
    "a second wallet": (
        "INSERT INTO accounts (id, owner_id, kind, currency, balance)"
        " SELECT gen_random_uuid(), owner_id, kind, currency, 0 FROM accounts WHERE kind = 'wallet' LIMIT 1",
        "accounts_owner_id_kind_currency_key",
    ),
    "a second reversal": (
        "INSERT INTO entries (id, kind, reverses_id) SELECT gen_random_uuid(), 'x', e.id"
        " FROM (SELECT id FROM entries LIMIT 1) e, generate_series(1, 2)",
        "entries_reverses_id_key",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERATIONS)
async def test_what_is_written_stays_written(
    world: World, configured: Settings, accounts: tuple[UUID, UUID, UUID], what: str
) -> None:
    sql, rule = ALTERATIONS[what]
    assert await world.rows("audit_trail")
    async with world.unchanged():
        error = await attack(configured, sql)
    assert constraint(error) == rule
    await world.books_are_clean()


DEBTS = {"more than may be owed": (-5, "accounts_debt_limit"), "less than nothing": (6, "accounts_debt_owed")}


@pytest.mark.parametrize("what", DEBTS)
async def test_a_debt_stays_between_its_floor_and_zero(
    world: World, configured: Settings, accounts: tuple[UUID, UUID, UUID], what: str
) -> None:
    amount, rule = DEBTS[what]
    # Given a debt of 5, which may be 9
    owner = uuid4()
    due = ledger.debt(owner, "INR")
    async with world.platform.database.write() as session:
        await escrow.charge_commission(session, ("test", uuid4()), owner, 5, "INR")
    await world.execute("UPDATE accounts SET floor = -9 WHERE id = :id", id=due.id)
    # When somebody posts past that
    rows = f"(VALUES ($1::uuid, 'INR', {amount}::bigint), ($2::uuid, 'INR', {-amount}::bigint)) p"
    async with world.unchanged():
        post = POST.replace("p.*", "p.column1, p.column2, p.column3")
        error = await attack(configured, post + rows, due.id, accounts[0])
    assert constraint(error) == rule


async def test_a_key_is_used_once(world: World, configured: Settings) -> None:
    name = f"test:{uuid4()}"
    async with world.platform.database.write() as session:
        a = ledger.wallet(uuid4(), "INR")
        await ledger.transfer(session, "test", CLEARING, a, 1, idempotency_key=name)
    async with world.unchanged():
        error = await attack(
            configured, "INSERT INTO entries (id, kind, idempotency_key) VALUES (gen_random_uuid(), 'x', $1)", name
        )
    assert constraint(error) == "entries_idempotency_key_key"

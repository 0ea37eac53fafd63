"""No step reads a whole table to find its rows, however small the tables were when its plan was made (ADR 16)."""

import re
import sys
from collections.abc import Collection, Iterator
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text

from app import services
from app.core.database import Session, Statement
from app.kernel import ledger
from app.kernel.ledger import AccountKind, Posting
from app.kernel.lifecycle import LIFECYCLES
from app.kernel.lifecycle_sql import compile_transition
from app.models.users import Role
from app.models.work_orders import Side, WorkOrderStatus
from app.services.work_orders import statistics
from tests.support.world import World
from tests.work_orders import steps

TOLD_AS_A_WHOLE: Final = {"regions", "categories", "services"}
"""Tables that may be read from end to end: there are some hundred rows, and whoever reads them wants all."""
_UPKEEP: Final = {"app.jobs.queue", "app.kernel.books"}
"""Modules whose statements are about whole tables: what is pruned once a day, and the books that are verified."""
_SCANS: Final = Statement(
    text("SELECT relname::text AS name, seq_scan AS times FROM pg_stat_xact_user_tables WHERE seq_scan > 0")
)


def of(value: Any) -> Iterator[Statement]:
    """The statements in what a module keeps under a name."""
    if isinstance(value, Statement):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from of(each)


def declared() -> Collection[Statement]:
    """The statements that answer requests and carry out jobs, and those of all transitions, each once."""
    services.load_all()
    modules = [module for name, module in sys.modules.items() if name.startswith("app.") and name not in _UPKEEP]
    found = [statement for module in modules for value in vars(module).values() for statement in of(value)]
    for lifecycle in LIFECYCLES.values():
        found += [compile_transition(lifecycle.declared, step) for step in lifecycle.declared.transitions.values()]
    return {each.sql: each for each in found if "SAVEPOINT" not in each.sql}.values()


async def scanned(connection: Any, statement: Statement) -> set[str]:
    """The tables that its generic plan reads from end to end."""
    count = max(map(int, re.findall(r"\$(\d+)", statement.sql)), default=0)
    values = f"({', '.join(['NULL'] * count)})" if count else ""
    await connection.execute(f"PREPARE looked_at AS {statement.sql}")
    try:
        plan = await connection.fetch(f"EXPLAIN EXECUTE looked_at{values}")
    finally:
        await connection.execute("DEALLOCATE looked_at")
    return {table for [line] in plan for table in re.findall(r"Seq Scan on (\w+)", line)}


async def test_every_statement_finds_its_rows_by_an_index(world: World) -> None:
    # Given all of them, but the one that asks for whatever has changed anywhere
    statements = [each for each in declared() if each is not statistics._READ[Side.PLATFORM]]
    assert len(statements) > 250
    async with world.platform.database.write() as session:
        await session.first(_SCANS)
        connection = session.driver_connection
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        found = {table: each.sql for each in statements for table in await scanned(connection, each)}
    assert found.keys() == TOLD_AS_A_WHOLE, found


async def scans(session: Session) -> dict[str, int]:
    """How often this connection has read tables from end to end of late, for triggers and foreign keys too."""
    return {row["name"]: row["times"] for row in await session.all(_SCANS)}


async def test_an_entry_finds_its_accounts_by_an_index(world: World) -> None:
    async with world.platform.database.write() as session:
        before = await scans(session)
        for owner in (uuid4(), uuid4()):
            wallet = ledger.wallet(owner, "INR")
            await ledger.lock(session, [wallet], if_open=[ledger.debt(owner, "INR")])
            await ledger.post(
                session, "test", [Posting(ledger.platform(AccountKind.ADJUSTMENT, "INR"), -5), Posting(wallet, 5)]
            )
        assert await scans(session) == before


async def test_a_step_of_a_work_order_is_tallied_without_reading_other_orders(world: World) -> None:
    advertiser, buyer = await steps.advertiser(world), await steps.buyer(world, steps.PRICE)
    offered, booster = await steps.service(advertiser), await world.person(Role.BOOSTER)
    waiting = WorkOrderStatus.EVIDENCE_SUBMITTED
    order_id = await steps.bring(world, waiting, buyer=buyer, booster=booster, manager=advertiser, offered=offered)
    touch = Statement(text("UPDATE work_orders SET updated_at = updated_at WHERE id = CAST(:order_id AS uuid)"))
    async with world.platform.database.write() as session:
        before = await scans(session)
        await session.execute(touch, order_id=UUID(order_id))
        assert await scans(session) == before

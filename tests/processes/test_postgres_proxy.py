"""The proxy does to a connection what it says, at the statement that it says, and nothing to the others."""

import math
import time
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import bindparam, text

from app.core.config import Settings
from app.core.database import Database, OutcomeUnknown, Statement
from app.core.errors import Unavailable
from tests.support.postgres_proxy import Cut, Delay, PostgresProxy, When, proxy
from tests.support.world import Person, World

RENAME = Statement(text("UPDATE users SET name = :name WHERE id = :id").bindparams(bindparam("id"), bindparam("name")))
ONE = Statement(text("SELECT 1"))
COMMIT = 3
"""Of a transaction of one statement: BEGIN, the statement, COMMIT."""


@pytest.fixture
async def way(configured: Settings) -> AsyncIterator[tuple[PostgresProxy, Database]]:
    """A database behind a proxy, with one connection that was used before."""
    async with proxy(configured.database_url) as (proxying, url):
        changed = {
            "database_url": url,
            "database_pool_size": 1,
            "database_statement_timeout_seconds": 0.5,
            "database_silence_seconds": 0.5,
        }
        database = Database(configured.model_copy(update=changed), after_commit=lambda _channel, _users: None)
        async with database.read() as session:
            assert await session.scalar(ONE) == 1
        yield proxying, database
        await database.close()


async def rename(database: Database, person: Person, name: str) -> None:
    async with database.write() as session:
        await session.execute(RENAME, id=person.id, name=name)


async def name_of(world: World, person_id: UUID) -> str:
    [row] = await world.rows("users", id=person_id)
    return str(row["name"])


@pytest.mark.parametrize(("when", "kept"), [(When.BEFORE, "Some Body"), (When.AFTER, "Asha")])
async def test_a_cut_at_the_commit_leaves_it_in_doubt(
    way: tuple[PostgresProxy, Database], world: World, when: When, kept: str
) -> None:
    proxying, database = way
    person = await world.person(name="Some Body")
    proxying.arm(COMMIT, when, Cut())
    with pytest.raises(OutcomeUnknown):
        await rename(database, person, "Asha")
    assert proxying.struck_at == f"{when} 3: COMMIT"
    assert await name_of(world, person.id) == kept
    # It happens once: the next one, over a new connection, is let through.
    await rename(database, person, "Ravi")
    assert await name_of(world, person.id) == "Ravi"


async def test_what_was_cut_within_a_transaction_is_rolled_back(
    way: tuple[PostgresProxy, Database], world: World
) -> None:
    proxying, database = way
    person = await world.person(name="Some Body")
    proxying.arm(2, When.AFTER, Cut())
    with pytest.raises(Unavailable):
        await rename(database, person, "Asha")
    await rename(database, person, "Ravi")  # the lock on the row is gone, too
    assert await name_of(world, person.id) == "Ravi"


@pytest.mark.parametrize("when", list(When))
async def test_a_delayed_statement_or_answer_comes_late(
    way: tuple[PostgresProxy, Database], world: World, when: When
) -> None:
    proxying, database = way
    person = await world.person()
    proxying.arm(2, when, Delay(0.3))
    began = time.monotonic()
    await rename(database, person, "Asha")
    assert time.monotonic() - began >= 0.3
    assert await name_of(world, person.id) == "Asha"


@pytest.mark.parametrize("number", [1, 2, COMMIT])
@pytest.mark.parametrize("when", list(When))
async def test_a_silent_connection_is_given_up_and_keeps_nobody_else_waiting(
    way: tuple[PostgresProxy, Database], world: World, number: int, when: When
) -> None:
    proxying, database = way
    person = await world.person(name="Some Body")
    proxying.arm(number, when, Delay(math.inf))
    with pytest.raises(OutcomeUnknown if number == COMMIT else Unavailable):
        await rename(database, person, "Asha")
    # The only connection of the pool is a new one.
    other = await world.person()
    await rename(database, other, "Ravi")
    assert await name_of(world, other.id) == "Ravi"
    assert await name_of(world, person.id) == ("Asha" if (number, when) == (COMMIT, When.AFTER) else "Some Body")


@pytest.mark.parametrize("when", list(When))
async def test_a_read_over_a_silent_connection_is_given_up(way: tuple[PostgresProxy, Database], when: When) -> None:
    proxying, database = way
    proxying.arm(1, when, Delay(math.inf))
    async with database.read() as session:
        with pytest.raises(Unavailable):
            await session.scalar(ONE)
        assert await session.scalar(ONE) == 1


async def test_it_counts_statements_and_not_their_preparation(way: tuple[PostgresProxy, Database]) -> None:
    proxying, database = way
    for _ in range(2):
        proxying.arm(10**9, When.BEFORE, Cut())
        async with database.write() as session:
            assert await session.scalar(Statement(text("SELECT 2"))) == 2
        assert proxying.statements == COMMIT

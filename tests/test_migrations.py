"""The migrations lead to exactly the tables that the models declare, and back to nothing."""

import asyncio
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import column, select, table, text
from sqlalchemy.engine import make_url

from app.core.config import Settings, settings
from app.core.connections import connect
from app.core.database import Statement
from app.kernel.health import older_migrations
from app.kernel.platform import open_platform
from app.migrate import alembic_config, migrate

_TABLES = Statement(select(column("tablename")).select_from(table("pg_tables")).where(column("schemaname") == "public"))


@pytest.fixture
def empty(configured: Settings) -> Iterator[Settings]:
    """A database without anything in it."""
    url = make_url(configured.database_url)

    async def run(sql: str) -> None:
        connection = await connect(configured)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    asyncio.run(run("CREATE DATABASE scratch_migrations"))
    scratch = url.set(database="scratch_migrations").render_as_string(hide_password=False)
    with patch.dict("os.environ", {"DATABASE_URL": scratch}):
        settings.cache_clear()
        yield settings()
    settings.cache_clear()
    asyncio.run(run("DROP DATABASE scratch_migrations WITH (FORCE)"))


async def _tables(configured: Settings) -> set[str]:
    async with open_platform(configured) as platform, platform.database.read() as session:
        return {row["tablename"] for row in await session.all(_TABLES)}


def test_models_and_migrations_agree(empty: Settings) -> None:
    # When an empty database is brought to the newest schema, twice
    migrate(empty)
    migrate(empty)
    # Then nothing is left to migrate (this raises otherwise)
    command.check(alembic_config())


def test_downgrade_leaves_nothing_of_ours_behind(empty: Settings) -> None:
    # Given the newest schema
    migrate(empty)
    # When it is taken back to the beginning
    command.downgrade(alembic_config(), "base")
    # Then only the job queue's own tables and Alembic's are left, and the way up is open again
    left = {name for name in asyncio.run(_tables(empty)) if not name.startswith("pgqueuer")}
    assert left == {"alembic_version"}
    migrate(empty)


def test_a_server_knows_every_migration_before_the_newest() -> None:
    # When a server reads off the files which revisions are older than its own
    found = older_migrations()
    # Then they are those that the library knows
    scripts = ScriptDirectory.from_config(alembic_config())
    revisions = {script.revision for script in scripts.walk_revisions()}
    assert found == revisions - {scripts.get_current_head()} | {None}


_OWNER = "00000000-0000-7000-8000-000000000001"
_TALLIED = Statement(text("SELECT side, measure, sum(number)::bigint AS number FROM work_order_tallies GROUP BY 1, 2"))
_TALLIED_BEFORE = f"""
INSERT INTO work_order_tallies (side, owner_id, measure, number, total)
VALUES ('advertiser', '{_OWNER}', 'rated', 1, 5), ('advertiser', '{_OWNER}', 'rated', 2, 8)
"""
_CHANGED_AFTER = f"""
INSERT INTO work_order_tally_changes (advertiser_id, measures, numbers, totals)
VALUES ('{_OWNER}', '{{rated}}', '{{1}}', '{{3}}')
"""


def test_tallies_survive_the_way_to_one_row_of_changes_and_back(empty: Settings) -> None:
    async def tallied(change: str) -> dict[tuple[str, str], int]:
        async with open_platform(empty) as platform, platform.database.write() as session:
            await session.execute(Statement(text(change)))
            return {(row["side"], row["measure"]): row["number"] for row in await session.all(_TALLIED)}

    # Given a tally of several rows, as it was kept before
    command.upgrade(alembic_config(), "0020")
    assert asyncio.run(tallied(_TALLIED_BEFORE)) == {("advertiser", "rated"): 3}
    # When the schema goes one step on, where something changes, and back
    command.upgrade(alembic_config(), "0021")
    assert asyncio.run(tallied(_CHANGED_AFTER)) == {("advertiser", "rated"): 3}
    command.downgrade(alembic_config(), "0020")
    # Then nothing is lost, and what changed counts for the platform too
    assert asyncio.run(tallied("SELECT 1")) == {("advertiser", "rated"): 4, ("platform", "rated"): 1}

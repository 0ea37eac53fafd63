"""Bringing a database to the newest schema: the product's own tables, and the job queue's."""

import asyncio
from typing import Any

from alembic import command
from alembic.config import Config
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from app.core.config import Settings
from app.core.connections import connect
from app.kernel.health import MIGRATIONS


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate(settings: Settings) -> None:
    """Upgrade to the newest revision; safe to run from several processes at once and when nothing is to be done."""
    command.upgrade(alembic_config(), "head")
    asyncio.run(_install_queue(settings))


async def _install_queue(settings: Settings) -> None:
    """The job queue's tables belong to its library, which knows how to make them and bring them up to date."""
    connection: Any = await connect(settings)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('localbazaar job queue'))")
            queries = Queries(AsyncpgDriver(connection))
            if not await queries.schema_is_installed():
                await queries.install()
    finally:
        await connection.close()

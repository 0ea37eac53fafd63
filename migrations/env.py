"""Alembic's environment: the application's own engine and metadata."""

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import Connection, NullPool
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.config import settings
from app.models import metadata
from app.models.base import Cube
from app.models.events import TransactionId

ischema_names |= {"cube": Cube, "xid8": TransactionId}


def include_object(_object: Any, name: str | None, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    """The job queue's tables belong to its library."""
    return not (kind == "table" and name is not None and name.startswith("pgqueuer"))


def migrate(connection: Connection) -> None:
    # Two processes may start at once: the second waits here and finds everything done.
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('localbazaar migrations'))")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=include_object,
        compare_server_default=False,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate() -> None:
    engine = create_async_engine(settings().database_url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


given: Connection | None = context.config.attributes.get("connection")
if given is None:
    asyncio.run(connect_and_migrate())
else:
    migrate(given)

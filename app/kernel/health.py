"""Whether this process can do its work."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from asyncpg import UndefinedTableError
from redis.exceptions import RedisError
from sqlalchemy import column, select, table

from app.core.database import Statement
from app.core.errors import Problem
from app.kernel.platform import Platform
from app.schemas.base import Answer

MIGRATIONS = Path(__file__).parents[2] / "migrations"

_REVISION: Final = re.compile(r'^(revision|down_revision) = "(\w+)"', re.MULTILINE)
_VERSION = Statement(select(column("version_num")).select_from(table("alembic_version")))


class Readiness(Answer):
    ready: bool
    database: bool
    migrations: bool
    valkey: bool


@lru_cache
def older_migrations() -> frozenset[str | None]:
    """Every revision but the newest, and none at all.

    Read off the text: the library that carries the migrations out would take up a sixteenth of a server's memory.
    """
    named = [dict(_REVISION.findall(file.read_text("utf-8"))) for file in (MIGRATIONS / "versions").glob("*.py")]
    followed = {names.get("down_revision") for names in named}
    return frozenset(followed | {None})


async def readiness(platform: Platform) -> Readiness:
    """Whether the database answers, migrated as this process needs it, and Valkey does; asks both, never raises."""
    database = migrations = valkey = True
    try:
        async with platform.database.read() as session:
            # A revision that this process does not know is a newer one: it keeps serving while the others are replaced.
            migrations = await session.scalar(_VERSION) not in older_migrations()
    except UndefinedTableError:
        migrations = False
    except Problem:
        database = migrations = False
    try:
        await platform.valkey.client.ping()
    except (RedisError, OSError):
        valkey = False
    ready = database and migrations and valkey
    return Readiness(ready=ready, database=database, migrations=migrations, valkey=valkey)

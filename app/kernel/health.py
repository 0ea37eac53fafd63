"""Whether this process can do its work."""

from functools import lru_cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from redis.exceptions import RedisError
from sqlalchemy import column, select, table

from app.core.database import Statement
from app.core.errors import Problem
from app.kernel.platform import Platform
from app.schemas.base import Answer

MIGRATIONS = Path(__file__).parents[2] / "migrations"

_VERSION = Statement(select(column("version_num")).select_from(table("alembic_version")))


class Readiness(Answer):
    ready: bool
    database: bool
    migrations: bool
    valkey: bool


@lru_cache
def newest_migration() -> str | None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config).get_current_head()


async def readiness(platform: Platform) -> Readiness:
    database = migrations = valkey = True
    try:
        async with platform.database.read() as session:
            migrations = await session.scalar(_VERSION) == newest_migration()
    except Problem:
        database = migrations = False
    try:
        await platform.valkey.client.ping()
    except (RedisError, OSError):
        valkey = False
    ready = database and migrations and valkey
    return Readiness(ready=ready, database=database, migrations=migrations, valkey=valkey)

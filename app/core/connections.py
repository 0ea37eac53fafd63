"""One connection to PostgreSQL, by asyncpg: where it leads, and what it asks of the server."""

from typing import Any, Final

import asyncpg
from pydantic_core import from_json, to_json
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.engine import make_url

from app.core.config import Settings

DIALECT: Final[Dialect] = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


async def connect(settings: Settings) -> Any:
    """One asyncpg connection that keeps what it has prepared and speaks JSON."""
    # SQLAlchemy reads the address, so that it means the same here and in the migrations, `?ssl=require` included.
    _, address = DIALECT.create_connect_args(make_url(settings.database_url))
    connection = await asyncpg.connect(
        timeout=10,
        # PostgreSQL ends a statement that takes too long; this is for when nothing at all comes from there any more.
        command_timeout=settings.database_statement_timeout_seconds + settings.database_silence_seconds,
        statement_cache_size=1000,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=64 * 1024,
        server_settings={
            "application_name": "localbazaar",
            "jit": "off",
            # A plan is kept until the next ANALYZE, and is often made while its tables are nearly empty: one that reads
            # whole tables is right then, and wrong soon after (docs/adr/0016-plans-by-index.md).
            "enable_seqscan": "off",
            "enable_mergejoin": "off",
            "random_page_cost": "1.1",
            "statement_timeout": str(int(settings.database_statement_timeout_seconds * 1000)),
            "idle_in_transaction_session_timeout": "30000",
        },
        **address,
    )
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_json_text, decoder=from_json)
    return connection


def _json_text(value: Any) -> str:
    """Our documents are objects and lists; text is JSON already, from a library that shares the connection."""
    return value if isinstance(value, str) else to_json(value).decode()

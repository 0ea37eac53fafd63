"""The way to PostgreSQL: statements written with SQLAlchemy Core, compiled once, run by asyncpg on SQLAlchemy's pool.

Why not `AsyncSession.execute`: see `docs/adr/0001-compiled-statements.md` (417 µs of processor a read, 118 this way).
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from enum import Enum
from typing import Any, Final
from uuid import UUID

import asyncpg
from pydantic_core import from_json, to_json
from sqlalchemy import Dialect, Executable, event
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from app.core.config import Settings
from app.core.errors import Problem, Unavailable, Unprocessable

Row = Mapping[str, Any]

_DIALECT: Final[Dialect] = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
_NO_VALUE: Final = object()


class Statement:
    """One SQL statement, compiled when it is declared; every `bindparam` becomes a keyword of the call."""

    __slots__ = ("_defaults", "_required", "names", "sql", "writes")

    def __init__(self, clause: Executable) -> None:
        compiled = clause.compile(dialect=_DIALECT)  # type: ignore[attr-defined]  # Executable hides ClauseElement
        self.sql: str = str(compiled)
        if "__[POSTCOMPILE" in self.sql:
            raise TypeError(f"IN lists change the text of a statement; compare with any_() instead: {self.sql}")
        parameters = [(name, compiled.binds[name]) for name in compiled.positiontup or ()]
        self._defaults = tuple((name, _NO_VALUE if p.required else _plain(p.value)) for name, p in parameters)
        self.names = frozenset(name for name, _ in parameters)
        self._required = frozenset(name for name, parameter in parameters if parameter.required)
        self.writes = any(f"{verb} " in self.sql for verb in ("INSERT INTO", "UPDATE", "DELETE FROM"))

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """`values` in the statement's order; a missing or an unknown name is a `TypeError`, not a silent NULL."""
        arguments = [values.get(name, default) for name, default in self._defaults]
        if not values.keys() <= self.names or any(argument is _NO_VALUE for argument in arguments):
            missing = sorted(self._required - values.keys())
            raise TypeError(f"missing {missing}, unknown {sorted(values.keys() - self.names)} in {self.sql}")
        return arguments

    def known(self, **values: Any) -> dict[str, Any]:
        """Those of the values that the statement has a place for."""
        return {name: value for name, value in values.items() if name in self.names}


def _plain(value: Any) -> Any:
    """Constants inside a statement may be enumerations; the driver wants what they stand for."""
    if isinstance(value, Enum):
        return value.value
    return [_plain(part) for part in value] if isinstance(value, (list, tuple, set, frozenset)) else value


_refusals: Final[dict[str, Callable[[], Problem]]] = {}


def refuse_violation(constraint: str, refusal: Callable[[], Problem]) -> None:
    """Declare which refusal a violated constraint means: the constraint is the rule, this is its wording."""
    _refusals[constraint] = refusal


class ReadSession:
    """A connection for reads, taken from the pool at the first statement; each statement is its own snapshot."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._fairy: Any = None
        self._connection: Any = None

    async def all(self, statement: Statement, /, **values: Any) -> list[Row]:
        """Every row. Columns are read by name."""
        rows: list[Row] = await self._run("fetch", statement, values)
        return rows

    async def first(self, statement: Statement, /, **values: Any) -> Row | None:
        """The first row, or None."""
        row: Row | None = await self._run("fetchrow", statement, values)
        return row

    async def scalar(self, statement: Statement, /, **values: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._run("fetchval", statement, values)

    async def _run(self, method: str, statement: Statement, values: Mapping[str, Any]) -> Any:
        arguments = statement.arguments(values)
        with _driver_errors_as_problems():
            if self._connection is None:
                await self._open()
            return await getattr(self._connection, method)(statement.sql, *arguments)

    async def _open(self) -> None:
        self._fairy, self._connection = await self._database.acquire()

    async def close(self) -> None:
        """Give the connection back; whatever was not committed is rolled back."""
        fairy, self._fairy, connection, self._connection = self._fairy, None, self._connection, None
        if fairy is not None:
            await self._database.release(fairy, connection)


class Session(ReadSession):
    """A transaction, begun at the first statement and committed by the edge (`Database.write`), never by a service."""

    def __init__(self, database: "Database") -> None:
        super().__init__(database)
        self.hints: defaultdict[str, set[UUID]] = defaultdict(set)
        """Users by channel (`core/valkey.py`), told after the commit: nobody looks before there is something to see."""

    async def execute(self, statement: Statement, /, **values: Any) -> int:
        """Run a statement for its effect; the number of rows that its outermost command touched."""
        status: str = await self._run("execute", statement, values)
        return int(status.rsplit(" ", 1)[-1])

    @property
    def driver_connection(self) -> Any:
        """The asyncpg connection of the open transaction, for libraries that join it (the job queue)."""
        return self._connection

    async def _open(self) -> None:
        await super()._open()
        await self._connection.execute("BEGIN")

    async def commit(self) -> None:
        """Make the transaction durable. A failure here reaches the caller, who must not have answered yet."""
        if self._connection is not None:
            with _driver_errors_as_problems():
                await self._connection.execute("COMMIT")


class SingleStatementSession(Session):
    """A transaction of exactly one statement, which PostgreSQL begins and commits by itself: two round trips fewer.

    A second statement is a programming error: it would not be atomic with the first.
    """

    _changed = False

    async def _run(self, method: str, statement: Statement, values: Mapping[str, Any]) -> Any:
        if self._changed:
            raise RuntimeError("a single-statement session has already changed something")
        result = await super()._run(method, statement, values)
        # A transition that changed nothing returns no row; reading on, to explain why, is safe.
        self._changed = statement.writes and bool(result)
        return result

    async def _open(self) -> None:
        await ReadSession._open(self)

    async def commit(self) -> None:
        """Nothing to do: the statement is durable since it returned."""


@contextmanager
def _driver_errors_as_problems() -> Iterator[None]:
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as violation:
        refusal = _refusals.get(violation.constraint_name or "")
        if refusal is None:
            raise
        raise refusal() from violation
    except asyncpg.DataError as error:
        # The schemas refuse what PostgreSQL cannot hold; this is the wall behind them.
        raise Unprocessable("A value lies outside of what can be stored.") from error
    except (asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError) as error:
        raise Unavailable("The database was too busy for this.") from error
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.OperatorInterventionError,
        asyncpg.TooManyConnectionsError,
        OSError,
        PoolTimeout,
    ) as error:
        raise Unavailable("The database is away.") from error


class Database:
    """The pool of one process. Sessions come from `read`, `write` and `write_single`."""

    def __init__(self, settings: Settings, *, after_commit: Callable[[str, set[UUID]], None]) -> None:
        self.engine = create_engine(settings)
        self.after_commit = after_commit
        self._pool = self.engine.sync_engine.pool

    async def acquire(self) -> tuple[Any, Any]:
        """A pooled connection and the asyncpg connection inside; one that died while idle is replaced unseen."""
        while True:
            fairy: Any = await greenlet_spawn(self._pool.connect)
            connection = fairy.driver_connection
            if not connection.is_closed():
                return fairy, connection
            await greenlet_spawn(fairy.invalidate)

    async def release(self, fairy: Any, connection: Any) -> None:
        """Back to the pool, rolled back if a transaction is still open, thrown away if even that fails."""
        if connection.is_closed():
            await greenlet_spawn(fairy.invalidate)
        elif connection.is_in_transaction():
            # Shielded: whoever gave up on the request must not take the connection with them.
            await asyncio.shield(self._roll_back(fairy, connection))
        else:
            await greenlet_spawn(fairy.close)

    async def _roll_back(self, fairy: Any, connection: Any) -> None:
        try:
            await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await greenlet_spawn(fairy.invalidate)
        else:
            await greenlet_spawn(fairy.close)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        session = ReadSession(self)
        try:
            yield session
        finally:
            await session.close()

    def write(self) -> AbstractAsyncContextManager[Session]:
        """A transaction: committed when the block ends well, rolled back otherwise."""
        return self._committing(Session(self))

    def write_single(self) -> AbstractAsyncContextManager[Session]:
        """A transaction of one statement (see `SingleStatementSession`)."""
        return self._committing(SingleStatementSession(self))

    @asynccontextmanager
    async def _committing(self, session: Session) -> AsyncIterator[Session]:
        try:
            yield session
            await session.commit()
        finally:
            await session.close()
        for channel, users in session.hints.items():
            self.after_commit(channel, users)

    async def close(self) -> None:
        await self.engine.dispose()


def create_engine(settings: Settings) -> AsyncEngine:
    """SQLAlchemy's engine over asyncpg: it owns the pool, the models' DDL and the migrations."""
    engine = create_async_engine(
        settings.database_url,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=3600,
        connect_args={
            "statement_cache_size": 1000,
            "max_cached_statement_lifetime": 0,
            "max_cacheable_statement_size": 64 * 1024,
            "timeout": 10,
            "server_settings": {
                "application_name": "localbazaar",
                "jit": "off",
                "statement_timeout": str(int(settings.database_statement_timeout_seconds * 1000)),
                "idle_in_transaction_session_timeout": "30000",
            },
        },
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _decode_json(connection: Any, _record: object) -> None:
        connection.run_async(
            lambda driver: driver.set_type_codec("jsonb", schema="pg_catalog", encoder=_json_text, decoder=from_json)
        )

    return engine


def _json_text(value: Any) -> str:
    """Our documents are objects and lists; text is JSON already, from a library that shares the connection."""
    return value if isinstance(value, str) else to_json(value).decode()

"""The way to PostgreSQL: statements written with SQLAlchemy Core, compiled once, run by asyncpg.

Why not `AsyncSession.execute`: see `docs/adr/0001-compiled-statements.md` (417 µs of processor a read, 118 this way).
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import Executable, text

from app.core.config import Settings
from app.core.connections import DIALECT, connect
from app.core.errors import Problem, Unavailable, Unprocessable

Row = Mapping[str, Any]

_NO_VALUE: Final = object()


class Statement:
    """One SQL statement, compiled when it is declared; every `bindparam` becomes a keyword of the call.

    Whether it writes is read off its text; `writes` says so of one that calls a function which does, or which locks.

    A connection plans it for good after five uses if that looks no dearer. `planned_for_values` has a read planned
    each time, for its values and two round trips more: where only they tell whether there is much or little to find,
    and the planner takes the unknown for little.
    """

    __slots__ = ("_defaults", "_required", "names", "planned_for_values", "sql", "writes")

    def __init__(self, clause: Executable, *, writes: bool = False, planned_for_values: bool = False) -> None:
        compiled = clause.compile(dialect=DIALECT)  # type: ignore[attr-defined]  # Executable hides ClauseElement
        self.sql: str = str(compiled)
        if "__[POSTCOMPILE" in self.sql:
            raise TypeError(f"IN lists change the text of a statement; compare with any_() instead: {self.sql}")
        parameters = [(name, compiled.binds[name]) for name in compiled.positiontup or ()]
        self._defaults = tuple((name, _NO_VALUE if p.required else _plain(p.value)) for name, p in parameters)
        self.names = frozenset(name for name, _ in parameters)
        self._required = frozenset(name for name, parameter in parameters if parameter.required)
        self.planned_for_values = planned_for_values
        self.writes = writes or any(f"{verb} " in self.sql for verb in ("INSERT INTO", "UPDATE", "DELETE FROM"))

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
    """For reads: each statement is its own snapshot, and has a connection only for as long as it runs."""

    def __init__(self, database: "Database") -> None:
        self._database = database

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
        if statement.planned_for_values:
            return await _PlanningSession(self._database).run_once(method, statement, values)
        arguments = statement.arguments(values)
        try:
            connection = await self._database.acquire()
        except _DRIVER_ERRORS as error:
            _refuse(error)
            raise
        try:
            return await getattr(connection, method)(statement.sql, *arguments)
        except _DRIVER_ERRORS as error:
            if isinstance(error, TimeoutError):
                connection.terminate()  # whoever used it next would wait for its silence, too
            self._failed(statement, error)
            raise
        finally:
            self._database.give_back(connection)

    def _failed(self, statement: Statement, error: Exception) -> None:
        """Raise the refusal that the error means, if it means one."""
        _refuse(error)


class Session(ReadSession):
    """A transaction, begun at the first statement and committed by the edge (`Database.write`), never by a service."""

    _begin_with = "BEGIN"

    def __init__(self, database: "Database") -> None:
        super().__init__(database)
        self._connection: Any = None
        self._hints: defaultdict[str, set[UUID]] = defaultdict(set)

    async def execute(self, statement: Statement, /, **values: Any) -> int:
        """Run a statement for its effect; the number of rows that its outermost command touched."""
        status: str = await self._run("execute", statement, values)
        return int(status.rsplit(" ", 1)[-1])

    def tell(self, channel: str, users: Iterable[UUID]) -> None:
        """Hint to all processes (`core/valkey.py`) after the commit: nobody looks before there is something to see."""
        self._hints[channel].update(users)

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[Any]:
        """The asyncpg connection of the open transaction, for a library that joins it; what breaks it is a refusal."""
        try:
            yield self._connection
        except _DRIVER_ERRORS as error:
            _refuse(error)
            raise

    @property
    def driver_connection(self) -> Any:
        """As `joined`, for whoever looks below the statements and takes the driver's errors as they are."""
        return self._connection

    async def _run(self, method: str, statement: Statement, values: Mapping[str, Any]) -> Any:
        arguments = statement.arguments(values)
        try:
            if self._connection is None:
                self._connection = await self._database.acquire()
                await self._begin()
            return await getattr(self._connection, method)(statement.sql, *arguments)
        except _DRIVER_ERRORS as error:
            self._failed(statement, error)
            raise

    async def _begin(self) -> None:
        try:
            await self._connection.execute(self._begin_with)
        except BaseException:
            # Cancelled here, the driver does not know yet that a transaction is open: given back, the connection would
            # swallow what the next one stores with a single statement.
            self._connection.terminate()
            raise

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What the block does is undone if a `Problem` leaves it, and the transaction can go on to do something else.

        Hints of what was undone still go out; whoever follows one finds nothing.
        """
        await self._run("execute", _SAVEPOINT, {})
        try:
            yield
        except Problem:
            await self._run("execute", _UNDO, {})
            # Undone, it would still be there, and one around this block, of the same name, could not be reached.
            await self._run("execute", _RELEASE, {})
            raise
        await self._run("execute", _RELEASE, {})

    async def commit(self) -> None:
        """Make the transaction durable. A failure here reaches the caller, who must not have answered yet."""
        if self._connection is not None:
            try:
                await self._connection.execute("COMMIT")
            except _LOST as error:
                raise OutcomeUnknown() from error
            except asyncpg.PostgresError as error:
                _refuse(error)
                raise
        await self.close()
        for channel, users in self._hints.items():
            self._database.after_commit(channel, users)

    async def close(self) -> None:
        """Give the connection back; whatever was not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._database.release(connection)


class _PlanningSession(Session):
    """A transaction for one read, which PostgreSQL plans for its values."""

    _begin_with = "BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_custom_plan"

    async def run_once(self, method: str, statement: Statement, values: Mapping[str, Any]) -> Any:
        try:
            return await self._run(method, statement, values)
        finally:
            await self.close()


_SAVEPOINT, _UNDO, _RELEASE = (
    Statement(text(command)) for command in ("SAVEPOINT s", "ROLLBACK TO SAVEPOINT s", "RELEASE SAVEPOINT s")
)


class SingleStatementSession(Session):
    """A transaction of exactly one statement, which PostgreSQL begins and commits by itself: two round trips fewer.

    A second statement is a programming error: it would not be atomic with the first.
    """

    _changed = False

    async def _run(self, method: str, statement: Statement, values: Mapping[str, Any]) -> Any:
        if self._changed:
            raise RuntimeError("a single-statement session has already changed something")
        result = await ReadSession._run(self, method, statement, values)
        # A transition that changed nothing returns no row; reading on, to explain why, is safe.
        self._changed = statement.writes and bool(result)
        return result

    def _failed(self, statement: Statement, error: Exception) -> None:
        if statement.writes and isinstance(error, _LOST):
            raise OutcomeUnknown() from error
        super()._failed(statement, error)

    def tell(self, channel: str, users: Iterable[UUID]) -> None:
        """At once: the statement is durable since it returned."""
        self._database.after_commit(channel, set(users))


_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # used in the instant between the server's last word and the end of the line
    OSError,  # TimeoutError is one too
)
_DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class OutcomeUnknown(Unavailable):
    """The connection broke while the change was being stored: look, or ask again with the same `Idempotency-Key`."""

    code, title = "outcome_unknown", "The connection broke while this was being stored; see whether it was."


def _refuse(error: Exception) -> None:
    """Raise the refusal that a driver's error means; return if it means a bug, which stays what it is."""
    match error:
        case asyncpg.IntegrityConstraintViolationError(constraint_name=str(name)) if name in _refusals:
            raise _refusals[name]() from error
        case asyncpg.DataError():
            # The schemas refuse what PostgreSQL cannot hold; this is the wall behind them.
            raise Unprocessable("A value lies outside of what can be stored.") from error
        case asyncpg.DeadlockDetectedError() | asyncpg.QueryCanceledError() | asyncpg.LockNotAvailableError():
            raise Unavailable("The database was too busy for this.") from error
        case _ if isinstance(error, _LOST):
            raise Unavailable("The database is away.") from error


class Database:
    """The connections of one process, and the sessions over them: `read`, `write` and `write_single`.

    A free list instead of a library's pool, because nothing has to be reset between two uses: no statement here sets
    anything that outlives its transaction. Taking and returning a connection is then a pop and an append.
    """

    def __init__(self, settings: Settings, *, after_commit: Callable[[str, set[UUID]], None]) -> None:
        self._settings = settings
        self.after_commit = after_commit
        self._idle: list[Any] = []
        self._free = asyncio.Semaphore(settings.database_pool_size)
        self._closing = False

    async def acquire(self) -> Any:
        """A connection, the one used last if possible; one that died while idle is replaced unseen.

        Raises TimeoutError (`Unavailable` to the caller) when all stay taken for `database_pool_timeout_seconds`.
        """
        if self._free.locked():
            async with asyncio.timeout(self._settings.database_pool_timeout_seconds):
                await self._free.acquire()
        else:
            await self._free.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
            return await connect(self._settings)
        except BaseException:
            self._free.release()
            raise

    async def release(self, connection: Any) -> None:
        """Take a connection back, rolled back if a transaction is still open, thrown away if even that fails."""
        if not connection.is_closed() and connection.is_in_transaction():
            # Shielded: whoever gave up on the request must not take the connection with them.
            await asyncio.shield(self._roll_back(connection))
        else:
            self.give_back(connection)

    async def _roll_back(self, connection: Any) -> None:
        try:
            # Not the driver's own timeout: after one, it first waits without any for the end of what it has given up.
            async with asyncio.timeout(self._settings.database_silence_seconds):
                await connection.execute("ROLLBACK")
        except _DRIVER_ERRORS:
            connection.terminate()
        self.give_back(connection)

    def give_back(self, connection: Any) -> None:
        """Take a connection back that has no transaction open."""
        if self._closing:
            connection.terminate()
        elif not connection.is_closed():
            self._idle.append(connection)
        self._free.release()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        yield ReadSession(self)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Session]:
        """A transaction: committed when the block ends well, rolled back otherwise."""
        session = Session(self)
        try:
            yield session
            await session.commit()
        finally:
            await session.close()

    @asynccontextmanager
    async def write_single(self) -> AsyncIterator[Session]:
        """A transaction of one statement (see `SingleStatementSession`)."""
        yield SingleStatementSession(self)

    async def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self._closing = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.close() for connection in idle), return_exceptions=True)

"""The hub of one process: takes what is new for its connections from the database, in order, missing nothing.

Nothing is delivered because a hint said so. A hint only makes the hub look sooner; a look finds every event that is
visible and was not sent yet, also those that committed out of the order of their numbers
(`docs/adr/0002-transaction-horizon.md`). One statement serves all connections that have something waiting.
"""

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import structlog
from pydantic_core import to_json
from sqlalchemy import ARRAY, BigInteger, Integer, Uuid, bindparam, cast, column, func, literal_column, select, true

from app.core.actor import Actor
from app.core.database import Row, Statement
from app.core.errors import Problem
from app.core.valkey import SESSIONS, STREAMS
from app.kernel.events import envelope
from app.kernel.platform import Platform
from app.models.events import TransactionId, events, notifications
from app.services.users.sessions import LiveSessions
from app.ws.protocol import BAD_AUTHENTICATION, TOO_SLOW

_log = structlog.get_logger()

PAGE: Final = 100
"""Events that one look takes for one connection; also what may wait for a slow reader, so it bounds memory."""
_BATCH: Final = 500
_END_OF_TIME: Final = 2**63 - 1
"""A transaction number that is never reached."""

_waiting = (
    func.unnest(
        bindparam("indexes", type_=ARRAY(Integer)),
        bindparam("users", type_=ARRAY(Uuid)),
        bindparam("horizons", type_=ARRAY(TransactionId)),
        bindparam("afters", type_=ARRAY(BigInteger)),
    )
    .table_valued(
        column("index", Integer),
        column("user_id", Uuid),
        column("horizon", TransactionId),
        column("after", BigInteger),
    )
    .render_derived(name="waiting")
)
_next = (
    select(notifications.c.seq, notifications.c.xid, notifications.c.event_id)
    .where(
        notifications.c.user_id == _waiting.c.user_id,
        notifications.c.xid >= _waiting.c.horizon,
        notifications.c.seq > _waiting.c.after,
    )
    .order_by(notifications.c.seq)
    .limit(literal_column(str(PAGE)))
    .lateral("upcoming")
)
_found = (
    select(
        _waiting.c.index,
        _next.c.seq,
        _next.c.xid,
        events.c.id,
        events.c.name,
        events.c.payload,
        events.c.created_at,
    )
    .select_from(_waiting)
    .join(_next, true())
    .join(events, events.c.id == _next.c.event_id)
    .subquery("found")
)
_snapshot = select(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), TransactionId).label("xmin")).subquery(
    "snapshot"
)
# The oldest running transaction of the very snapshot that the events were found in; one row even if none was.
_LOOK: Final = Statement(
    select(_snapshot.c.xmin, _found)
    .select_from(_snapshot.outerjoin(_found, true()))
    .order_by(_found.c.index, _found.c.seq)
)
_RESUME_POINT: Final = Statement(
    select(
        events.c.seq,
        events.c.horizon,
        (events.c.created_at < func.now() - bindparam("seconds") * literal_column("interval '1 second'")).label("old"),
    )
    .join(notifications, notifications.c.event_id == events.c.id)
    .where(events.c.id == bindparam("event_id"), notifications.c.user_id == bindparam("user_id"))
)


class Connection:
    """One reader: where it is in its user's stream, and the frames that wait to be written to it."""

    def __init__(self, actor: Actor, session_id: UUID) -> None:
        self.user_id = actor.user_id
        self.session_id = session_id
        self.language = actor.language
        self.frames: deque[bytes] = deque()
        self.filled = asyncio.Event()
        self.joined = asyncio.Event()
        self.closing: int | None = None
        self.told_to_close = asyncio.Event()
        self.stalled_since: float | None = None
        # The first look learns the oldest running transaction, the second what is visible from there on already: that
        # is the past, and not sent. Whatever commits later is new.
        self._silent_passes = 2
        self._horizon = _END_OF_TIME
        self._after = 0
        self._pass_horizon: int | None = None
        self._sent: dict[int, int] = {}
        """Number → transaction of what was sent and may be found again: all of it from the horizon on."""

    def resume_from(self, horizon: int, seq: int) -> None:
        """Start over from an event that the client has: everything from its horizon on may be missing there."""
        self._horizon, self._after, self._pass_horizon = horizon, 0, None
        self._sent = {seq: horizon}
        self._silent_passes = 0

    @property
    def position(self) -> tuple[int, int]:
        return self._horizon, self._after

    @property
    def has_room(self) -> bool:
        return len(self.frames) < PAGE

    def push(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.filled.set()

    def close(self, code: int) -> None:
        self.closing = self.closing or code
        self.told_to_close.set()

    def take(self, rows: list[Row], xmin: int) -> bool:
        """Queue what is new among these rows; whether there may be more to look for."""
        if self._pass_horizon is None:
            # What the first page's snapshot could not see has a transaction from here on: the next pass begins there.
            self._pass_horizon = xmin
        for row in rows:
            if row["seq"] not in self._sent:
                if not self._silent_passes:
                    self.push(to_json(envelope(row, self.language)))
                self._sent[row["seq"]] = row["xid"]
        if len(rows) == PAGE:
            self._after = rows[-1]["seq"]
            return True
        self._horizon, self._after, self._pass_horizon = self._pass_horizon, 0, None
        self._sent = {seq: xid for seq, xid in self._sent.items() if xid >= self._horizon}
        if self._silent_passes:
            self._silent_passes -= 1
            if self._silent_passes:
                return True
            self.joined.set()
        return False


class Hub:
    """All connections of this process."""

    def __init__(self, platform: Platform, sessions: LiveSessions) -> None:
        self._platform = platform
        self._sessions = sessions
        self._of_user: defaultdict[UUID, set[Connection]] = defaultdict(set)
        self._waiting: dict[Connection, None] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def count(self) -> int:
        return sum(len(connections) for connections in self._of_user.values())

    async def start(self) -> None:
        self._platform.valkey.here[STREAMS].append(self.look_for)
        loops = (self._look(), self._listen(STREAMS), self._listen(SESSIONS), self._sweep())
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def connections_of(self, user_id: UUID) -> int:
        return len(self._of_user.get(user_id, ()))

    def join(self, connection: Connection) -> None:
        """From the moment that `connection.joined` is set, every later commit reaches the connection."""
        self._of_user[connection.user_id].add(connection)
        self.look_again(connection)

    def leave(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        connections = self._of_user.get(connection.user_id)
        if connections is not None:
            connections.discard(connection)
            if not connections:
                del self._of_user[connection.user_id]

    async def resume(self, connection: Connection, event_id: UUID) -> str | None:
        """Rewind the connection to behind an event of its user; a code if that cannot be done."""
        async with self._platform.database.read() as session:
            row = await session.first(
                _RESUME_POINT,
                event_id=event_id,
                user_id=connection.user_id,
                seconds=self._platform.settings.resume_seconds,
            )
        if row is None:
            return "resume_unknown"
        if row["old"]:
            return "resume_too_old"
        connection.resume_from(row["horizon"], row["seq"])
        self.look_again(connection)
        return None

    def look_for(self, users: Iterable[UUID]) -> None:
        for user_id in users:
            for connection in self._of_user.get(user_id, ()):
                self._waiting[connection] = None
        self._wake.set()

    def look_again(self, connection: Connection) -> None:
        self._waiting[connection] = None
        self._wake.set()

    def has_room_again(self, connection: Connection) -> None:
        """Its reader caught up: go on, if more was waiting."""
        if connection in self._waiting:
            self._wake.set()

    async def _look(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # A reader that has not taken its last page waits in its own queue, not in ours.
            batch = [connection for connection in self._waiting if connection.has_room][:_BATCH]
            for connection in batch:
                del self._waiting[connection]
            if not batch:
                continue
            try:
                await self._deliver(batch)
            except Problem as problem:
                _log.warning("hub_look_failed", code=problem.code)
                self._waiting.update(dict.fromkeys(batch))
                await asyncio.sleep(0.5)
                self._wake.set()
            except Exception:
                _log.exception("hub_look_broke")
                await asyncio.sleep(0.5)
            if any(connection.has_room for connection in self._waiting):
                self._wake.set()

    async def _deliver(self, batch: list[Connection]) -> None:
        positions = [connection.position for connection in batch]
        async with self._platform.database.read() as session:
            rows = await session.all(
                _LOOK,
                indexes=list(range(len(batch))),
                users=[connection.user_id for connection in batch],
                horizons=[horizon for horizon, _ in positions],
                afters=[after for _, after in positions],
            )
        xmin: int = rows[0]["xmin"]
        found: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row["index"] is not None:
                found[row["index"]].append(row)
        for index, connection in enumerate(batch):
            # A resume that came while we were looking has moved the connection: these rows are not for it any more.
            moved = connection.position != positions[index]
            if moved or connection.take(found[index], xmin):
                self._waiting[connection] = None

    async def _listen(self, channel: str) -> None:
        async for users in self._platform.valkey.hints(channel):
            named = set(self._of_user) if users is None else users & self._of_user.keys()
            if channel == STREAMS:
                self.look_for(named)
            else:
                for user_id in named:
                    await self._recheck(user_id)

    async def _recheck(self, user_id: UUID) -> None:
        """Close the sockets of sessions that ended."""
        for connection in list(self._of_user.get(user_id, ())):
            with contextlib.suppress(Problem):
                if await self._sessions.look_up(user_id, connection.session_id) is None:
                    connection.close(BAD_AUTHENTICATION)

    async def _sweep(self) -> None:
        """Look for everybody now and then, in case a hint was lost, and close who has not read for too long."""
        while True:
            await asyncio.sleep(self._platform.settings.hub_sweep_seconds)
            self.look_for(list(self._of_user))
            now = time.monotonic()
            for connections in list(self._of_user.values()):
                for connection in connections:
                    stalled = connection.stalled_since
                    if stalled is not None and now - stalled > self._platform.settings.socket_stall_seconds:
                        connection.close(TOO_SLOW)

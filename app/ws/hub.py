"""The hub of one process: takes what is new for its connections from the database, in order, missing nothing.

Nothing is delivered because a hint said so. A hint only makes the hub look sooner; a look finds every event that is
visible and was not sent yet, also those that committed out of the order of their numbers
(`docs/adr/0002-transaction-horizon.md`). One statement serves all connections that have something waiting.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from pydantic_core import to_json
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Integer,
    Uuid,
    any_,
    bindparam,
    column,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.types import UserDefinedType

from app.core.actor import Actor
from app.core.database import Row, Statement
from app.core.errors import Problem
from app.core.tasks import end
from app.core.valkey import SESSIONS, STREAMS
from app.kernel.events import envelope
from app.kernel.platform import Platform
from app.models.events import TransactionId, events, notifications
from app.models.users import UserStatus, sessions, users
from app.services.users.sessions import LiveSessions
from app.ws.protocol import BAD_AUTHENTICATION, BROKEN, TOO_SLOW

_log = structlog.get_logger()

PAGE: Final = 100
"""Events that one look takes for one connection; also what may wait for a slow reader, so it bounds memory."""
_BATCH: Final = 200
_SWEEPS_UNTIL_RECHECK: Final = 5

Snapshot = tuple[int, int, tuple[int, ...]]
"""PostgreSQL's `pg_snapshot`: every transaction below the first number had ended, none from the second on, and of those
between them the listed ones had not."""


class _SnapshotType(UserDefinedType[Snapshot]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "PG_SNAPSHOT"


_waiting = (
    func.unnest(
        bindparam("indexes", type_=ARRAY(Integer)),
        bindparam("users", type_=ARRAY(Uuid)),
        bindparam("horizons", type_=ARRAY(TransactionId)),
        bindparam("sent", type_=ARRAY(_SnapshotType)),
        bindparam("taking", type_=ARRAY(_SnapshotType)),
        bindparam("afters", type_=ARRAY(BigInteger)),
    )
    .table_valued(
        column("index", Integer),
        column("user_id", Uuid),
        column("horizon", TransactionId),
        column("sent", _SnapshotType),
        column("taking", _SnapshotType),
        column("after", BigInteger),
    )
    .render_derived(name="waiting")
)
_next = (
    select(notifications.c.seq, notifications.c.event_id)
    .where(
        notifications.c.user_id == _waiting.c.user_id,
        # This follows from the next condition, but it is the one that an index can serve.
        notifications.c.xid >= _waiting.c.horizon,
        ~func.pg_visible_in_snapshot(notifications.c.xid, _waiting.c.sent, type_=Boolean),
        or_(
            _waiting.c.taking.is_(None),
            func.pg_visible_in_snapshot(notifications.c.xid, _waiting.c.taking, type_=Boolean),
        ),
        notifications.c.seq > _waiting.c.after,
    )
    .order_by(notifications.c.seq)
    .limit(literal_column(str(PAGE)))
    .lateral("upcoming")
)
_found = (
    select(_waiting.c.index, _next.c.seq, events.c.id, events.c.name, events.c.payload, events.c.created_at)
    .select_from(_waiting)
    .join(_next, true())
    .join(events, events.c.id == _next.c.event_id)
    .subquery("found")
)
_snapshot = select(func.pg_current_snapshot(type_=_SnapshotType).label("snapshot")).subquery("snapshot")
# The very snapshot that the events were found in; one row even if none was.
_LOOK: Final = Statement(
    select(_snapshot.c.snapshot, _found)
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
# The rule of `LiveSessions`, for many sessions at once.
_LIVING: Final = Statement(
    select(sessions.c.id)
    .join(users, users.c.id == sessions.c.user_id)
    .where(
        sessions.c.id == any_(bindparam("session_ids", type_=ARRAY(Uuid))),
        sessions.c.revoked_at.is_(None),
        users.c.status == UserStatus.ACTIVE.value,
    )
)


class Position(NamedTuple):
    """Where a reader is in its user's stream: all that is visible in `sent` lies behind it.

    Ahead lies a pass: what a newer snapshot shows on top of that, in the order of the numbers, page by page. `taking`
    holds that snapshot until the last page, for what becomes visible in the meantime belongs to the next pass. Sent in
    this one, an event could overtake another that committed before it, and whoever resumed after it would never get
    the other.
    """

    sent: Snapshot
    taking: Snapshot | None = None
    after: int = 0


_THE_END: Final = 2**63 - 1
_FROM_NOW_ON: Final = Position((_THE_END, _THE_END, ()))
"""Finds nothing, and thereby the snapshot to go on from."""


class Connection:
    """One reader: where it is in its user's stream, and the frames that wait to be written to it."""

    def __init__(self, actor: Actor, session_id: UUID) -> None:
        self.user_id = actor.user_id
        self.session_id = session_id
        self.language = actor.language
        self.frames: deque[bytes] = deque()
        self.filled = asyncio.Event()
        self.closing: int | None = None
        self.told_to_close = asyncio.Event()
        self.stalled_since: float | None = None
        self.position = _FROM_NOW_ON
        self._is_ready = False
        self._resumed_after: int | None = None

    def resume_from(self, event_id: UUID, horizon: int, seq: int) -> None:
        """Start over from an event that the client has: everything from its horizon on may be missing there.

        The frame `resumed` parts what was sent live until now, and will come again, from what follows the event.
        """
        self.position = Position((horizon, horizon, ()))
        self._resumed_after = seq
        self._say_ready()
        self.push(to_json({"type": "resumed", "after": event_id}))

    @property
    def has_room(self) -> bool:
        return len(self.frames) < PAGE and self.closing is None

    def push(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.filled.set()

    def close(self, code: int) -> None:
        self.closing = self.closing or code
        self.told_to_close.set()

    def take(self, rows: list[Row], snapshot: Snapshot) -> bool:
        """Queue what a look found; whether there may be more to look for."""
        sent, taking, _ = self.position
        for row in rows:
            if row["seq"] != self._resumed_after:
                self.push(to_json(envelope(row, self.language)))
        if len(rows) == PAGE:
            self.position = Position(sent, taking or snapshot, rows[-1]["seq"])
            return True
        self.position = Position(taking or snapshot)
        self._say_ready()
        # A hint that came between the pages was spent on a look that could not show what it was about.
        return taking is not None

    def _say_ready(self) -> None:
        """From now on every commit reaches the connection."""
        if not self._is_ready:
            self._is_ready = True
            self.push(to_json({"type": "ready"}))


class Hub:
    """All connections of this process."""

    def __init__(self, platform: Platform, sessions: LiveSessions) -> None:
        self._platform = platform
        self._sessions = sessions
        self._of_user: defaultdict[UUID, set[Connection]] = defaultdict(set)
        self._waiting: dict[Connection, None] = {}
        self._wake = asyncio.Event()
        self._suspects: set[UUID] = set()
        self._suspected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def count(self) -> int:
        return sum(len(connections) for connections in self._of_user.values())

    @property
    def waiting(self) -> int:
        """Connections for which there may be something to look for."""
        return len(self._waiting)

    async def start(self) -> None:
        here = self._platform.valkey.here
        here[STREAMS].append(self.look_for)
        here[SESSIONS].append(self.recheck)
        loops = (self._keep_looking, self._recheck, self._hear_of_events, self._hear_of_sessions, self._sweep)
        self._tasks = [asyncio.create_task(_for_ever(loop)) for loop in loops]

    async def stop(self) -> None:
        here = self._platform.valkey.here
        here[STREAMS].remove(self.look_for)
        here[SESSIONS].remove(self.recheck)
        await end(*self._tasks)

    def of(self, user_id: UUID) -> frozenset[Connection]:
        """The user's connections at this moment."""
        return frozenset(self._of_user.get(user_id, ()))

    def connections_of(self, user_id: UUID) -> int:
        return len(self._of_user.get(user_id, ()))

    def join(self, connection: Connection) -> None:
        """Once the connection has said `ready`, every later commit reaches it."""
        self._of_user[connection.user_id].add(connection)
        self.look_again(connection)
        # Its session may have ended between the check that let it in and now, when the hint found nobody to close.
        self.recheck([connection.user_id])

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
        connection.resume_from(event_id, row["horizon"], row["seq"])
        self.look_again(connection)
        return None

    def look_for(self, users: Iterable[UUID]) -> None:
        """Something may be new for these users."""
        for user_id in users:
            for connection in self._of_user.get(user_id, ()):
                self._waiting[connection] = None
        self._wake.set()

    def look_again(self, connection: Connection) -> None:
        """Something may be new for this connection, unless it has left."""
        if connection in self._of_user.get(connection.user_id, ()):
            self._waiting[connection] = None
            self._wake.set()

    def has_room_again(self, connection: Connection) -> None:
        """Its reader caught up: go on, if more was waiting."""
        if connection in self._waiting:
            self._wake.set()

    def recheck(self, users: Iterable[UUID]) -> None:
        """Sessions of these users may have ended: close the sockets of those that have."""
        self._suspects.update(self._of_user.keys() & set(users))
        if self._suspects:
            self._suspected.set()

    async def look(self) -> None:
        """Look once for those who wait and have room, the longest waiting first; if it fails, they wait on."""
        # A reader that has not taken its last page waits in its own queue, not in ours.
        batch = [connection for connection in self._waiting if connection.has_room][:_BATCH]
        for connection in batch:
            del self._waiting[connection]
        if not batch:
            return
        try:
            await self._deliver(batch)
        except BaseException as error:
            for connection in batch:
                self.look_again(connection)
            if not isinstance(error, Problem):
                raise
            _log.warning("hub_look_failed", code=error.code)
            await asyncio.sleep(0.5)

    async def _keep_looking(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.look()
            if any(connection.has_room for connection in self._waiting):
                self._wake.set()

    async def _deliver(self, batch: list[Connection]) -> None:
        positions = [connection.position for connection in batch]
        async with self._platform.database.read() as session:
            rows = await session.all(
                _LOOK,
                indexes=list(range(len(batch))),
                users=[connection.user_id for connection in batch],
                horizons=[position.sent[0] for position in positions],
                sent=[position.sent for position in positions],
                taking=[position.taking for position in positions],
                afters=[position.after for position in positions],
            )
        snapshot: Snapshot = rows[0]["snapshot"]
        found: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row["index"] is not None:
                found[row["index"]].append(row)
        for index, connection in enumerate(batch):
            # A resume that came while we were looking has moved the connection: these rows are not for it any more.
            if connection.position is not positions[index]:
                self.look_again(connection)
                continue
            try:
                if connection.take(found[index], snapshot):
                    self.look_again(connection)
            except Exception:
                # An event that cannot be worded here holds up its own reader only, who may have more luck elsewhere.
                _log.exception("hub_delivery_broke", user_id=str(connection.user_id))
                connection.close(BROKEN)
            if found[index]:
                await asyncio.sleep(0)  # one page takes a millisecond; a batch of them would hold up everybody

    async def _recheck(self) -> None:
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            suspects, self._suspects = self._suspects, set()
            connections = [connection for user_id in suspects for connection in self._of_user.get(user_id, ())]
            for start in range(0, len(connections), _BATCH):
                await self._close_ended(connections[start : start + _BATCH])

    async def _close_ended(self, connections: list[Connection]) -> None:
        try:
            async with self._platform.database.read() as session:
                rows = await session.all(_LIVING, session_ids=[connection.session_id for connection in connections])
        except Problem as problem:
            _log.warning("hub_recheck_failed", code=problem.code)
            self.recheck(connection.user_id for connection in connections)
            return await asyncio.sleep(0.5)
        living = {row["id"] for row in rows}
        for connection in connections:
            if connection.session_id not in living:
                self._sessions.forget({connection.user_id})
                connection.close(BAD_AUTHENTICATION)

    async def _hear_of_events(self) -> None:
        await self._hear(STREAMS, self.look_for)

    async def _hear_of_sessions(self) -> None:
        await self._hear(SESSIONS, self.recheck)

    async def _hear(self, channel: str, tell: Callable[[Iterable[UUID]], None]) -> None:
        async with aclosing(self._platform.valkey.hints(channel)) as hints:
            async for named in hints:
                tell(list(self._of_user) if named is None else named)

    async def _sweep(self) -> None:
        """Look for everybody now and then, in case a hint was lost, and close who has not read for too long."""
        sweeps = 0
        while True:
            await asyncio.sleep(self._platform.settings.hub_sweep_seconds)
            sweeps += 1
            self.look_for(list(self._of_user))
            if sweeps % _SWEEPS_UNTIL_RECHECK == 0:
                self.recheck(list(self._of_user))
            now = time.monotonic()
            for connections in list(self._of_user.values()):
                for connection in connections:
                    stalled = connection.stalled_since
                    if stalled is not None and now - stalled > self._platform.settings.socket_stall_seconds:
                        connection.close(TOO_SLOW)


async def _for_ever(loop: Callable[[], Awaitable[None]]) -> None:
    """Run one of the hub's loops again if it breaks: without it the sockets would be open but dumb."""
    while True:
        try:
            await loop()
        except Exception:
            _log.exception("hub_loop_broke")
        await asyncio.sleep(0.5)

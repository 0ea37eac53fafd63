"""The hub of one process: takes what is new for its connections from the database, in order, missing nothing.

Nothing is delivered because a hint said so. A hint only makes the hub look sooner (`position.py` says at what), and one
statement serves all connections that have something waiting.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic_core import to_json

from app.core.actor import Actor
from app.core.database import Row
from app.core.errors import Problem
from app.core.tasks import end, for_ever
from app.core.valkey import SESSIONS, STREAMS
from app.kernel.events import envelope
from app.kernel.platform import Platform
from app.services.users.sessions import LiveSessions, living_sessions
from app.ws.position import FROM_NOW_ON, PAGE, Position, Snapshot, Step, look, resume_point, sweep
from app.ws.protocol import BAD_AUTHENTICATION, BROKEN, RESTARTING, TOO_SLOW, Ready, Resumed

_log = structlog.get_logger()

_BATCH: Final = 200
_SWEEPS_UNTIL_RECHECK: Final = 5
_SENT_AWAY_TOGETHER: Final = 20
_DRAIN_STEP_SECONDS: Final = 0.05
_DRAIN_SECONDS: Final = 3


Encode = Callable[[Mapping[str, Any]], bytes]


class Connection:
    """One reader: where it is in its user's stream, and the frames that wait to be written to it.

    `encode` makes of a frame what goes over its kind of line.

    There are thousands of these that wait for hours: futures, made when somebody waits, take a fraction of the memory
    of `asyncio.Event`s.
    """

    __slots__ = (
        "_encode",
        "_is_ready",
        "_resumed_after",
        "_waiter",
        "closing",
        "frames",
        "language",
        "over",
        "position",
        "session_id",
        "stalled_since",
        "user_id",
    )

    def __init__(self, actor: Actor, session_id: UUID, encode: Encode = to_json) -> None:
        self._encode = encode
        self.user_id = actor.user_id
        self.session_id = session_id
        self.language = actor.language
        self.frames: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self.closing: int | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when one side has had enough; `closing` says with which code the reader is to be told so."""
        self.stalled_since: float | None = None
        self.position = FROM_NOW_ON
        self._is_ready = False
        self._resumed_after: int | None = None

    def resume_from(self, event_id: UUID, horizon: int, seq: int) -> None:
        """Start over from an event that the client has: everything from its horizon on may be missing there.

        The frame `resumed` parts what was sent live until now, and will come again, from what follows the event.
        """
        self.position = Position((horizon, horizon, ()))
        self._resumed_after = seq
        self._say_ready()
        self.push(Resumed(after=event_id).wire())

    @property
    def has_room(self) -> bool:
        return len(self.frames) < PAGE and self.closing is None

    def push(self, frame: Mapping[str, Any]) -> None:
        self._queue(self._encode(frame))

    def _queue(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.wake()

    def wake(self) -> None:
        """Have the writer look what waits to be written."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def filled(self) -> None:
        """Return when frames wait to be written, or something else does (`wake`)."""
        if not self.frames:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def close(self, code: int) -> None:
        self.closing = self.closing or code
        self.end()

    def end(self, *_: object) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def take(self, step: Step, shared: "Envelopes") -> bool:
        """Queue what a look found; whether there may be more to look for."""
        for row, is_quiet in step.events:
            if row["seq"] != self._resumed_after:
                self._queue(shared.encoded(row, self.language, self._encode, quiet=is_quiet))
        is_first = self.position.taking is None
        self.position = step.position
        if not step.is_last:
            return True
        self._say_ready()
        # A hint that came between the pages was spent on a look that could not show what it was about.
        return not is_first

    def _say_ready(self) -> None:
        """From now on every commit reaches the connection."""
        if not self._is_ready:
            self._is_ready = True
            self.push(Ready().wire())


class Envelopes:
    """The events of one look, worded and encoded once for all who get the same bytes.

    Readers that do not read share them, too: what waits for a hundred of them takes little more than for one.
    """

    def __init__(self) -> None:
        self._encoded: dict[tuple[int, str, Encode, bool], bytes] = {}

    def encoded(self, row: Row, language: str, encode: Encode, *, quiet: bool) -> bytes:
        key = (row["seq"], language, encode, quiet)
        if key not in self._encoded:
            self._encoded[key] = encode(envelope(row, language, quiet=quiet))
        return self._encoded[key]


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
        self._swept: Snapshot | None = None
        """All that is visible in it was looked for, hint or no hint."""
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
        self._tasks = [asyncio.create_task(for_ever(loop)) for loop in loops]

    async def stop(self) -> None:
        here = self._platform.valkey.here
        here[STREAMS].remove(self.look_for)
        here[SESSIONS].remove(self.recheck)
        await end(*self._tasks)

    async def drain(self) -> None:
        """Before the process ends: send everybody away, a few at a time, so that they do not all come back at once."""
        everybody = [connection for connections in self._of_user.values() for connection in connections]
        for start in range(0, len(everybody), _SENT_AWAY_TOGETHER):
            for connection in everybody[start : start + _SENT_AWAY_TOGETHER]:
                connection.close(RESTARTING)
            await asyncio.sleep(min(_DRAIN_STEP_SECONDS, _DRAIN_SECONDS * _SENT_AWAY_TOGETHER / len(everybody)))

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
            seconds = self._platform.settings.resume_seconds
            row = await resume_point(session, connection.user_id, event_id, seconds)
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
        async with self._platform.watching.read() as session:
            steps = await look(session, [(connection.user_id, connection.position) for connection in batch])
        shared = Envelopes()
        for connection, position, step in zip(batch, positions, steps, strict=True):
            # A resume that came while we were looking has moved the connection: these rows are not for it any more.
            if connection.position is not position:
                self.look_again(connection)
                continue
            try:
                if connection.take(step, shared):
                    self.look_again(connection)
            except Exception:
                # An event that cannot be worded here holds up its own reader only, who may have more luck elsewhere.
                _log.exception("hub_delivery_broke", user_id=str(connection.user_id))
                connection.close(BROKEN)
            if step.events:
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
            async with self._platform.watching.read() as session:
                living = await living_sessions(session, [connection.session_id for connection in connections])
        except Problem as problem:
            _log.warning("hub_recheck_failed", code=problem.code)
            self.recheck(connection.user_id for connection in connections)
            return await asyncio.sleep(0.5)
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
        """Now and then look for what no hint told of, and close who has not read for too long."""
        sweeps = 0
        while True:
            await asyncio.sleep(self._platform.settings.hub_sweep_seconds)
            sweeps += 1
            await self.look_for_unheard()
            if sweeps % _SWEEPS_UNTIL_RECHECK == 0:
                self.recheck(list(self._of_user))
            now = time.monotonic()
            for connections in list(self._of_user.values()):
                for connection in connections:
                    stalled = connection.stalled_since
                    if stalled is not None and now - stalled > self._platform.settings.socket_stall_seconds:
                        connection.close(TOO_SLOW)

    async def look_for_unheard(self) -> None:
        """Look for whatever no hint told of since this was last done."""
        asked_for = set(self._of_user) if self._swept is not None else set()
        try:
            async with self._platform.watching.read() as session:
                snapshot, users = await sweep(session, list(asked_for), self._swept or FROM_NOW_ON.sent)
        except Problem as problem:
            _log.warning("hub_sweep_failed", code=problem.code)
            return
        # Who joined in the meantime may have looked before this snapshot, and the next sweep asks what follows it.
        self.look_for([*users, *(self._of_user.keys() - asked_for)])
        self._swept = snapshot

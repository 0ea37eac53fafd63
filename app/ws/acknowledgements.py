"""The last event that each session has acknowledged: gathered in memory, stored for many sessions in one statement.

What is gathered when a process dies is lost, and so is what a full memory drops: the session then resumes after an
earlier event and gets some twice. It never gets one too few, because nothing is stored that was not acknowledged.

The order is not that of the events' numbers, in which they do not arrive. "After E" means everything from E's horizon
on (`docs/adr/0002-transaction-horizon.md`), so of two events the one with the greater horizon lies further ahead: what
comes after it is a part of what comes after the other. Within one horizon the numbers decide.
"""

import asyncio
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Uuid, bindparam, column, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on, insert

from app.core.database import Statement
from app.core.errors import Problem
from app.core.sql import given
from app.core.tasks import end, for_ever
from app.kernel.platform import Platform
from app.models.events import acknowledgements, events, notifications
from app.models.users import sessions

_log = structlog.get_logger()

_GATHERED_PER_SESSION: Final = 128
_STORED_TOGETHER: Final = 1000

_acknowledged = given(
    "acknowledged",
    session_ids=column("session_id", Uuid),
    event_ids=column("event_id", Uuid),
)
# The joins leave out what was not addressed to the session's user. Rows are written in the order of their keys, so that
# two processes that store for the same sessions do not wait for each other in a circle.
_furthest = (
    select(_acknowledged.c.session_id, events.c.id, events.c.horizon, events.c.seq)
    .join(sessions, sessions.c.id == _acknowledged.c.session_id)
    .join(
        notifications,
        (notifications.c.user_id == sessions.c.user_id) & (notifications.c.event_id == _acknowledged.c.event_id),
    )
    .join(events, events.c.id == notifications.c.event_id)
    .ext(distinct_on(_acknowledged.c.session_id))
    .order_by(_acknowledged.c.session_id, events.c.horizon.desc(), events.c.seq.desc())
)
_store = insert(acknowledgements).from_select(["session_id", "event_id", "horizon", "seq"], _furthest)
_STORE: Final = Statement(
    _store.on_conflict_do_update(
        index_elements=[acknowledgements.c.session_id],
        set_={name: _store.excluded[name] for name in ("event_id", "horizon", "seq")},
        where=tuple_(acknowledgements.c.horizon, acknowledgements.c.seq)
        < tuple_(_store.excluded.horizon, _store.excluded.seq),
    )
)
_LAST: Final = Statement(
    select(acknowledgements.c.event_id).where(acknowledgements.c.session_id == bindparam("session_id"))
)


class Acknowledgements:
    """What the sockets of this process have acknowledged and the database does not know yet."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._gathered: dict[UUID, dict[UUID, None]] = {}
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(for_ever(self._keep_storing))

    async def stop(self) -> None:
        """Store what is left; what cannot be stored now is given up."""
        if self._task is not None:
            await end(self._task)
        try:
            while self._gathered:
                await self.store()
        except Problem as problem:
            _log.warning("acknowledgements_lost", sessions=len(self._gathered), code=problem.code)

    def note(self, session_id: UUID, event_id: UUID) -> None:
        """The session has acted on the event, if it is one of its user's."""
        gathered = self._gathered.setdefault(session_id, {})
        gathered[event_id] = None
        if len(gathered) > _GATHERED_PER_SESSION:
            del gathered[next(iter(gathered))]
        self._some.set()

    async def last(self, session_id: UUID) -> UUID | None:
        """The event that the session has acknowledged last, also if it did so just now."""
        if session_id in self._gathered:
            await self.store([session_id])
        async with self._platform.database.read() as session:
            event_id: UUID | None = await session.scalar(_LAST, session_id=session_id)
            return event_id

    async def store(self, of: Iterable[UUID] | None = None) -> None:
        """Store what was gathered of these sessions, or of those that wait longest.

        It stays gathered until it is stored: `last` has to find what is on its way, and a failure loses nothing.
        """
        session_ids = list(self._gathered)[:_STORED_TOGETHER] if of is None else of
        pairs = [(session_id, event_id) for session_id in session_ids for event_id in self._gathered[session_id]]
        async with self._platform.database.write_single() as session:
            await session.execute(
                _STORE,
                session_ids=[session_id for session_id, _ in pairs],
                event_ids=[event_id for _, event_id in pairs],
            )
        for session_id, event_id in pairs:
            self._forget(session_id, event_id)

    def _forget(self, session_id: UUID, event_id: UUID) -> None:
        gathered = self._gathered.get(session_id, {})
        gathered.pop(event_id, None)
        if not gathered:
            self._gathered.pop(session_id, None)

    async def _keep_storing(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(self._platform.settings.acknowledgement_flush_seconds)
            try:
                while self._gathered:
                    await self.store()
                self._some.clear()
            except Problem as problem:
                _log.warning("acknowledgements_wait", sessions=len(self._gathered), code=problem.code)

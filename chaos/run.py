"""One run: people play their flows, things happen, the fire goes out, and the verdict is found."""

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import httpx
from sqlalchemy import text

from app import services
from app.core.config import settings
from app.core.database import Statement
from app.core.errors import Problem
from app.core.tasks import end
from app.jobs import relay
from app.kernel.platform import Platform, open_platform
from app.migrate import migrate
from chaos.clients import Clients, History, Outcome
from chaos.faults import FAULTS, Fault
from chaos.flows import FLOWS
from chaos.flows.base import Flow
from chaos.house import House, open_house
from chaos.listeners import Listener
from chaos.verdict import TRAIL, faults_of, lateness, unheard
from chaos.watch import Calendar, Watch
from tests.support.world import Person, build_world

EXPIRY_SECONDS: Final = 15
_SETTINGS: Final = {
    "LOCALBAZAAR_SERVICE_REQUEST_EXPIRY_SECONDS": str(EXPIRY_SECONDS),
    # Wrong clocks are to lead to wrong deeds, if they can, and not just to tokens that are refused.
    "LOCALBAZAAR_ACCESS_TOKEN_SECONDS": str(6 * 3600),
    "LOCALBAZAAR_FILES_UNATTACHED_PER_USER": "1000000",
    "LOCALBAZAAR_SERVICE_REQUESTS_OPEN_PER_CUSTOMER": "1000000",
    "LOCALBAZAAR_PAYMENTS_PER_PAYER": "1000000/minute",
    "LOCALBAZAAR_PAYOUT_PROFILE_CHANGES": "1000000/minute",
    "LOCALBAZAAR_MESSAGES_PER_USER": "1000000/minute",
    "LOCALBAZAAR_CONVERSATIONS_PER_USER": "1000000/minute",
    "LOCALBAZAAR_PASSWORD_HASH_MEMORY_KIB": "64",
    "LOCALBAZAAR_PASSWORD_HASH_PASSES": "1",
    "LOCALBAZAAR_DATABASE_POOL_SIZE": "10",
}
_EVERY_SO_MANY_LISTENS: Final = 3
_PAUSE_SECONDS: Final = 2.0
_QUIET_EVERY: Final = 60.0
_QUIET_SECONDS: Final = 12.0
_VERDICT_SECONDS: Final = 300.0
"""The verdict's queries look at everything that ever happened."""
_ROUND_SECONDS: Final = 120
"""Time for each fault to happen once."""
_SETTLE_SECONDS: Final = 90
_LAST_EVENT: Final = Statement(text("SELECT coalesce(max(seq), 0) FROM events"))
_UNDONE: Final = Statement(
    text("""
SELECT what, count(*) AS count FROM (
    SELECT 'event that was not relayed' AS what FROM events e, relay_cursors c WHERE (e.xid, e.seq) > (c.xid, c.seq)
    UNION ALL SELECT 'webhook' FROM webhook_events WHERE processed_at IS NULL
    UNION ALL SELECT 'job ' || entrypoint FROM pgqueuer WHERE status IN ('queued', 'picked')
    UNION ALL SELECT 'deadline' FROM deadlines WHERE due_at < now() - interval '1 second'
) AS undone GROUP BY what
""")
)
# What failed while everything burned is tried again after minutes: nobody waits for them here.
_HURRY: Final = Statement(
    text("UPDATE pgqueuer SET execute_after = now() WHERE status = 'queued' AND execute_after > now()")
)
_HURRY_DEADLINES: Final = Statement(text("UPDATE deadlines SET due_at = now() WHERE failures > 0 AND due_at > now()"))


Tell = Callable[[str], None]


def _quietly(_: str) -> None:
    pass


@dataclass
class Found:
    """What a run showed."""

    seed: int
    seconds: float
    faults: list[str] = field(default_factory=list)
    """Promises that were broken; none, and the verdict is clean."""
    stories: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    deaths: dict[str, int] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    logs: Path | None = None


async def run(
    seed: int, seconds: float, wanted: Sequence[str] = (), *, fires: Sequence[Fault] = FAULTS, tell: Tell = _quietly
) -> Found:
    """Play the flows of these names (none: all) for so long, while what the seed says happens."""
    folder = _folder()
    async with open_house(folder, _SETTINGS) as house:
        with patch.dict(os.environ, house.environment | {"LOCALBAZAAR_DATA_FOLDER": str(folder)}):
            settings.cache_clear()
            await asyncio.to_thread(migrate, settings())
            try:
                found = await Run(house, seed, seconds, fires, tell).whole(wanted)
            finally:
                settings.cache_clear()
    if not found.faults:
        shutil.rmtree(folder, ignore_errors=True)
    found.logs = folder
    return found


def _folder() -> Path:
    """On a disk, because everything waits for it; PostgreSQL's own system user has to get there."""
    path = Path(tempfile.mkdtemp(prefix="localbazaar-chaos-", dir="/var/tmp"))
    path.chmod(0o755)
    return path


class Run:
    """What the parts of a run share."""

    def __init__(self, house: House, seed: int, seconds: float, fires: Sequence[Fault], tell: Tell) -> None:
        self._house, self._seconds, self._fires, self._tell = house, seconds, fires, tell
        self._rng = random.Random(seed)
        self._history, self._calendar = History(), Calendar()
        self._found = Found(seed, seconds)
        self._ends_at = 0.0
        self._since = 0

    async def whole(self, wanted: Sequence[str]) -> Found:
        """Prepare in peace, burn, settle, judge."""
        services.load_all()
        async with AsyncExitStack() as stack:
            patient = settings().model_copy(update={"database_statement_timeout_seconds": _VERDICT_SECONDS})
            platform = await stack.enter_async_context(open_platform(patient))
            keeping = asyncio.create_task(self._house.keep_alive())
            stack.push_async_callback(end, keeping)
            await self._house.ready()
            clients = Clients(self._house.addresses, self._history, self._rng)
            stack.push_async_callback(clients.close)
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=self._house.addresses[0], timeout=30))
            world = await build_world(platform, http)
            flows = [flow(world, clients) for flow in FLOWS if not wanted or flow.name in wanted]
            for flow in flows:
                await flow.prepare()
            await relay.skip(platform)  # what it took to prepare is no part of the run
            listeners = [
                self._listener(person, clients) for flow in flows for person in flow.people[::_EVERY_SO_MANY_LISTENS]
            ]
            async with platform.database.read() as session:
                self._since = await session.scalar(_LAST_EVENT)
            watch = Watch(platform.database)
            watching = [asyncio.create_task(each.listen()) for each in listeners]
            watching.append(asyncio.create_task(watch.look()))
            stack.push_async_callback(end, *watching)
            await asyncio.gather(*(each.ready.wait() for each in listeners))
            await self._burn(flows)
            self._tell("the fire is out")
            undone = await self._settle(platform, listeners)
            await end(*watching)
            return await self._judge(platform, flows, listeners, watch, undone)

    def _listener(self, person: Person, clients: Clients) -> Listener:
        return Listener(person, clients, self._house.addresses, random.Random(self._rng.random()))

    async def _burn(self, flows: Sequence[Flow]) -> None:
        """Stories side by side until the time is over; those that have begun come to their end."""
        self._ends_at = time.monotonic() + self._seconds
        players = [self._play(flow, random.Random(self._rng.random())) for flow in flows for _ in range(flow.players)]
        burning = asyncio.create_task(self._set_fires())
        try:
            await asyncio.gather(*players)
        finally:
            await end(burning)

    async def _play(self, flow: Flow, rng: random.Random) -> None:
        while time.monotonic() < self._ends_at:
            await flow.play(rng)
            self._found.stories[flow.name] += 1
            await asyncio.sleep(rng.uniform(0, 0.5))

    async def _set_fires(self) -> None:
        """One fault after the other, each kind as often as the others, and once a minute some quiet."""
        quiet_at = time.monotonic() + _QUIET_EVERY
        while self._fires and time.monotonic() < self._ends_at:
            for fault in self._rng.sample(self._fires, len(self._fires)):
                await asyncio.sleep(self._rng.uniform(0.5, 1.5) * _PAUSE_SECONDS)
                if time.monotonic() > quiet_at:
                    await asyncio.sleep(_QUIET_SECONDS)
                    quiet_at = time.monotonic() + _QUIET_EVERY
                if time.monotonic() > self._ends_at:
                    break
                self._tell(f"{self._history.attempts} requests; {fault.__name__.replace('_', ' ')}")
                self._calendar.begin()
                await fault(self._house, self._rng)
                self._calendar.finish()
                self._found.happened[fault.__name__] += 1

    async def _settle(self, platform: Platform, listeners: Sequence[Listener]) -> list[str]:
        """Wait until nothing is on its way any more; what still is when nothing has changed for too long.

        How long it takes all in all says how busy the machine is: every payment has a document to be issued.
        """
        await self._house.set_clocks_right()
        undone: dict[str, int] = {"everything": 1}
        deadline = time.monotonic() + _SETTLE_SECONDS
        while undone and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            with suppress(Problem):
                before, undone = undone, await self._on_its_way(platform, listeners)
                if undone != before:
                    deadline = time.monotonic() + _SETTLE_SECONDS
                    self._tell(f"on its way: {undone}")
        return [f"still on its way: {count} x {what}" for what, count in undone.items()]

    async def _on_its_way(self, platform: Platform, listeners: Sequence[Listener]) -> dict[str, int]:
        async with platform.database.write() as session:
            await session.execute(_HURRY)
            await session.execute(_HURRY_DEADLINES)
        async with platform.database.read() as session:
            undone = {row["what"]: row["count"] for row in await session.all(_UNDONE)}
            waiting = await unheard(session, listeners, self._since)
        return undone | ({"event to be heard": waiting} if waiting else {})

    async def _judge(
        self, platform: Platform, flows: Sequence[Flow], listeners: Sequence[Listener], watch: Watch, undone: list[str]
    ) -> Found:
        found = self._found
        async with platform.database.read() as session:
            found.faults += undone + watch.faults
            found.faults += await faults_of(session, self._history, flows, listeners, self._since)
            late, too_late = lateness(await session.all(TRAIL), "expire", EXPIRY_SECONDS, self._calendar)
            found.figures["rows in the audit trail"] = len(await session.all(TRAIL))
        found.faults += too_late
        # A run in which little happened proves little.
        found.faults += [f"no story of {flow.name} came to its end" for flow in flows if not found.stories[flow.name]]
        if self._seconds >= _ROUND_SECONDS:
            never = [fault.__name__ for fault in self._fires if not found.happened[fault.__name__]]
            found.faults += [f"there was no time to {name.replace('_', ' ')}" for name in never]
        outcomes = Counter(operation.outcome for operation in self._history.operations)
        found.figures |= {
            "operations": len(self._history.operations),
            **{f"operations {outcome}": outcomes[outcome] for outcome in Outcome},
            "requests": self._history.attempts,
            "requests without an answer": dict(self._history.lost),
            "replays compared": self._history.replays,
            "sockets": len(listeners),
            "connections of sockets": sum(listener.connections for listener in listeners),
            "events heard": sum(len(listener.heard) for listener in listeners),
            "events heard twice": sum(listener.duplicates for listener in listeners),
            "snapshots of the ledger": watch.snapshots,
            "deadlines in quiet times": len(late),
            "latest of them, seconds": round(max(late, default=0.0), 2),
        }
        everybody = (*self._house.servers, *self._house.workers)
        found.deaths = {mortal.name: mortal.deaths for mortal in everybody}
        return found

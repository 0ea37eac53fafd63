"""Where processes die: a server and a worker, each behind a `PostgresProxy`, clients that do not give up, and a clock
that is turned, so that what waits for seconds is seen to happen."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from sqlalchemy import text

from app.core.database import Statement
from app.core.ids import uuid7
from app.core.tasks import end
from tests.payments.steps import WEBHOOKS, sandbox
from tests.processes.servers import free_port
from tests.support.nursery import Nursery, nursery, signalled
from tests.support.postgres_proxy import Fault, Kill, PostgresProxy, When, proxy
from tests.support.world import Person, World

NEVER: Final = 10**9
"""A statement that does not come: the scenario is played to its end, and nobody dies."""
_START_SECONDS: Final = 30
_PATIENCE_SECONDS: Final = 30
_QUIET_SECONDS: Final = 0.3
# Who looks by the second would take a number of statements that depends on the time. What these look for is looked for
# at each start of the process too.
_STEADY_SERVER: Final = {
    "LOCALBAZAAR_HUB_SWEEP_SECONDS": "600",
    "LOCALBAZAAR_SESSION_RECHECK_SECONDS": "600",
}
_STEADY_WORKER: Final = {
    "LOCALBAZAAR_RELAY_POLL_SECONDS": "600",
    "LOCALBAZAAR_DEADLINE_POLL_SECONDS": "600",
}
# Ids are in the order of birth, so what other tests left behind is left alone.
_STUCK: Final = Statement(
    text("""
SELECT 'webhook ' || name || ' is not processed' AS what FROM webhook_events WHERE processed_at IS NULL AND id > :first
UNION ALL
SELECT 'refund ' || id || ' is ' || status FROM refunds WHERE status IN ('REQUESTED', 'SENT') AND id > :first
UNION ALL
SELECT 'deadline ' || subject_type || '/' || kind || ' is overdue' FROM deadlines
WHERE due_at <= now() AND subject_id > :first
UNION ALL
SELECT 'job ' || entrypoint || ' is ' || status FROM pgqueuer
WHERE entrypoint IN ('send_refund', 'sandbox_webhook') AND id > :first_job
""")
)
_LAST_JOB: Final = Statement(text("SELECT coalesce(max(id), 0) FROM pgqueuer"))
# What would be waited for: that the clock takes a stored webhook, that the queue tries a job again.
_CALL_THE_CLOCK: Final = """
UPDATE deadlines SET due_at = now() WHERE subject_type = 'webhook_event' AND due_at > now() AND subject_id > :first
"""
_CALL_THE_QUEUE: Final = """
UPDATE pgqueuer SET execute_after = now() WHERE status = 'queued' AND execute_after > now() AND id > :first_job
"""
# The queue gives the jobs of a worker to another once its heart has not beaten for 30 seconds.
_AGE_HEARTBEATS: Final = "UPDATE pgqueuer SET heartbeat = now() - interval '1 minute' WHERE status = 'picked'"


class Blow(NamedTuple):
    """Which process is hit ("server" or "worker"), at which of its statements in the scenario, on which side of it."""

    victim: str
    number: int
    when: When
    fault: Fault = Kill()


class Mortal:
    """A process that dies and is started again, and its way to the database."""

    def __init__(self, way: PostgresProxy, start: Callable[[], Awaitable[int]]) -> None:
        self.proxy, self._start = way, start
        self.pid: int | None = None

    async def live(self) -> None:
        """Start it, if it does not run."""
        if self.pid is None:
            self.pid = await self._start()

    async def die(self) -> None:
        """Kill it, if somebody has not done it already; return when it is gone, with its port and its connections."""
        pid, self.pid = self.pid, None
        async with asyncio.timeout(_START_SECONDS):
            while pid is not None and signalled(pid, signal.SIGKILL):  # noqa: ASYNC110 - it is a child of the nursery's
                await asyncio.sleep(0.005)

    async def is_quiet(self) -> None:
        """Return when it has asked the database for nothing for a while."""
        before = -1
        while before != self.proxy.statements:
            before = self.proxy.statements
            await asyncio.sleep(_QUIET_SECONDS)


class Stage:
    """What a scenario has: the world, clients that do not give up (`insist`), and `peril`, in which the blow falls."""

    def __init__(self, world: World, children: Nursery, http: httpx.AsyncClient) -> None:
        self.world, self.http = world, http
        self._nursery = children
        self._blow = Blow("server", NEVER, When.BEFORE)
        self._first = uuid7()
        self._first_job = 0
        self.server: Mortal
        self.worker: Mortal

    @property
    def victim(self) -> Mortal:
        return self.worker if self._blow.victim == "worker" else self.server

    async def prepare(self, blow: Blow) -> None:
        """Have both processes running for a scenario in which this blow falls."""
        if self._blow.victim != blow.victim:
            await self.worker.die()  # another one works by the minute, or by the second
        self._blow = blow
        async with self.world.platform.database.read() as session:
            self._first, self._first_job = uuid7(), await session.scalar(_LAST_JOB)
        await self.server.live()
        await self.worker.live()

    async def serve(self, database_url: str) -> int:
        """Start the server; return when it is ready."""
        port = self.http.base_url.port
        assert port is not None
        pid = await self._nursery.serve(port, self._environment(database_url))
        async with asyncio.timeout(_START_SECONDS):
            while not await self._is_ready():  # noqa: ASYNC110 - it tells no other way
                await asyncio.sleep(0.01)
        return pid

    async def work(self, database_url: str) -> int:
        """Start the worker, and let it have what a dead one had in hand."""
        steady = _STEADY_WORKER if self._blow.victim == "worker" else {}
        await self.world.execute(_AGE_HEARTBEATS)
        return await self._nursery.work(self._environment(database_url) | steady)

    def _environment(self, database_url: str) -> dict[str, str]:
        public = {"LOCALBAZAAR_PUBLIC_URL": str(self.http.base_url).rstrip("/")}
        return _STEADY_SERVER | public | {"DATABASE_URL": database_url}

    async def _is_ready(self) -> bool:
        try:
            return (await self.http.get("/readyz")).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    @asynccontextmanager
    async def peril(self, *, at_its_start: bool = False) -> AsyncIterator[None]:
        """In here the victim is hit, and started again if it dies. Left when all that was begun has come to its end.

        `at_its_start` counts the statements of a worker that starts, and not of one that runs already.
        """
        victim = self.victim
        if at_its_start:
            await victim.die()
        elif victim is self.worker:
            await victim.is_quiet()
        victim.proxy.arm(self._blow.number, self._blow.when, self._blow.fault)
        if at_its_start:
            await victim.live()
        raising = asyncio.create_task(self._raise(victim))
        try:
            yield
            await self.settle()
        finally:
            victim.proxy.disarm()
            if victim.proxy.struck.is_set():
                await raising
            else:
                await end(raising)

    async def _raise(self, victim: Mortal) -> None:
        await victim.proxy.struck.wait()
        if isinstance(self._blow.fault, Kill):
            await victim.die()
            await victim.live()

    async def settle(self) -> None:
        """Wait until nothing is on its way any more, by a clock that is turned forward."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while stuck := await self._stuck():
            assert time.monotonic() < deadline, f"stuck: {stuck}"
            await self.turn_the_clock()
            await asyncio.sleep(0.05)

    async def turn_the_clock(self) -> None:
        """Let everything be due that would be within seconds or minutes."""
        await self.world.execute(_CALL_THE_CLOCK, first=self._first)
        await self.world.execute(_CALL_THE_QUEUE, first_job=self._first_job)

    async def _stuck(self) -> list[str]:
        async with self.world.platform.database.read() as session:
            return [row["what"] for row in await session.all(_STUCK, first=self._first, first_job=self._first_job)]

    async def insist(
        self, person: Person | None, path: str, json: Any = None, *, key: str | None = None, **options: Any
    ) -> httpx.Response:
        """POST as a good client does: the same again, with the same key, until it is answered.

        No answer, 5xx and "is being worked on" are none.
        """
        headers = dict(options.pop("headers", {})) | (person.headers if person else {})
        if key is not None:
            headers["Idempotency-Key"] = key
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                answer = await self.http.post(path, json=json, headers=headers, **options)
            except httpx.TransportError as error:
                problem = repr(error)
            else:
                if answer.status_code < 500 and "request_in_flight" not in answer.text:
                    return answer
                problem = answer.text
            assert time.monotonic() < deadline, f"no answer to {path}: {problem}"
            await asyncio.sleep(0.02)

    async def webhook(self, event_id: str, body: bytes) -> None:
        """The payment provider tells the same until it is heard."""
        headers = sandbox(self.world).sign(event_id, body, time.time())
        answer = await self.insist(None, WEBHOOKS, headers=headers, content=body)
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def open_stage(world: World, folder: Path) -> AsyncIterator[Stage]:
    """A stage whose processes log to this folder."""
    async with AsyncExitStack() as stack:
        http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port()}", timeout=_PATIENCE_SECONDS)
        await stack.enter_async_context(http)
        stage = Stage(world, await stack.enter_async_context(nursery(folder)), http)
        database_url = world.platform.settings.database_url
        server_way, server_url = await stack.enter_async_context(proxy(database_url))
        worker_way, worker_url = await stack.enter_async_context(proxy(database_url))
        stage.server = Mortal(server_way, lambda: stage.serve(server_url))
        stage.worker = Mortal(worker_way, lambda: stage.work(worker_url))
        stack.push_async_callback(stage.server.die)
        stack.push_async_callback(stage.worker.die)
        yield stage

"""realtime.md's promise while processes die, hints are lost, clients drop out, stop reading and come back all at once.

`LOCALBAZAAR_FIRE=full` is the fire that the promise is made for; what runs without it has the same parts, only smaller.
"""

import asyncio
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import bindparam, func, select

from app.core.config import Settings
from app.core.database import Database, Statement
from app.core.ids import uuid7
from app.core.tasks import end
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.services.service_requests.events import SentBack
from bench.wire import ABNORMAL
from tests.processes.servers import free_port
from tests.support.faithful import Event, FaithfulClient, until
from tests.support.nursery import Nursery, nursery
from tests.support.world import Person, World


class Fire(NamedTuple):
    """How much of it there is; times in seconds."""

    people: int
    processes: int
    deliveries: int
    seconds: float
    between_kills: float
    wipes: int
    slow: int
    stall_seconds: float
    crowd: int


FULL = os.environ.get("LOCALBAZAAR_FIRE") == "full"
FIRE = (
    Fire(1_000, 4, 100_000, 60, 10, 3, slow=100, stall_seconds=7, crowd=2_000)
    if FULL
    else Fire(60, 2, 4_000, 4, 1.5, 1, slow=6, stall_seconds=1, crowd=100)
)
pytestmark = pytest.mark.timeout(900 if FULL else 180)

READERS = 20
"""Who hear of one event."""
SUBJECTS = [uuid7() for _ in range(100)]
SOON = 15.0
READY_SECONDS = 30.0
FLOOD, FLOOD_BYTES = 800, 10_000
"""More than the kernel's buffers of a line take."""
_LOCK = Statement(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("key"), 0))))


class Tale:
    """Numbered events of many subjects, told to many by transactions whose commits overtake each other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: defaultdict[UUID, int] = defaultdict(int)
        self.told: defaultdict[UUID, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        """Of each reader and subject, the numbers in the order of the commits."""
        self.committed: dict[tuple[str, int], float] = {}

    async def tell(self, to: Sequence[Person], hold_seconds: float = 0.0, size: int = 0) -> None:
        """One event, in a transaction that stays open for so long after it was numbered."""
        subject = random.choice(SUBJECTS)
        async with self._database.write() as session:
            # As a subject's row lock does: who comes next is numbered behind, and commits behind.
            await session.scalar(_LOCK, key=str(subject))
            number = self._numbers[subject] = self._numbers[subject] + 1
            reason = f"{number} ".ljust(size, ".")
            event = SentBack(service_request_id=subject, reason=reason, status="IN_PROGRESS")
            readers = [person.id for person in to]
            await emit(session, event, subject_type="service_request", subject_id=subject, to=readers)
            for reader in readers:
                self.told[reader][str(subject)].append(number)
            await asyncio.sleep(hold_seconds)
        self.committed[str(subject), number] = time.monotonic()


class Reader:
    """A client, whose it is, and what it heard."""

    def __init__(self, person: Person, port: int, tale: Tale, *, receive_buffer: int | None = None) -> None:
        self.person, self._tale = person, tale
        self.heard: defaultdict[str, list[int]] = defaultdict(list)
        self.delays: list[float] = []
        self.client = FaithfulClient(port, person.access_token, self._act, receive_buffer=receive_buffer)

    def _act(self, event: Event) -> None:
        subject, number = event["service_request_id"], int(event["reason"].split()[0])
        self.heard[subject].append(number)
        committed = self._tale.committed.get((subject, number))
        self.delays.append(time.monotonic() - committed if committed else 0.0)

    def has_all(self) -> bool:
        return self.client.acted >= sum(map(len, self._tale.told[self.person.id].values()))

    def assert_whole(self) -> None:
        """Every event that was told came, once, in the order of its subject, and nothing else did."""
        assert self.heard == self._tale.told[self.person.id]
        assert self.client.errors == []


class House:
    """Server processes on one port; clients meet whichever takes them."""

    def __init__(self, children: Nursery, port: int, environment: dict[str, str]) -> None:
        self._children, self.port, self._environment = children, port, environment
        self.pids: list[int] = []

    async def start(self) -> int:
        pid = await self._children.serve(self.port, self._environment, shared=True)
        self.pids.append(pid)
        return pid

    async def is_ready(self) -> None:
        """Return when somebody answers."""
        async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as http:
            assert (await http.get("/readyz", timeout=READY_SECONDS)).status_code == httpx.codes.OK

    def kill(self, pid: int) -> None:
        self.pids.remove(pid)
        os.kill(pid, signal.SIGKILL)

    async def stop(self, pid: int, within_seconds: float) -> float:
        """SIGTERM; how many seconds the process took to end."""
        self.pids.remove(pid)
        os.kill(pid, signal.SIGTERM)
        return await until(lambda: not Path(f"/proc/{pid}").exists(), within_seconds, f"the end of process {pid}")

    def resident_mb(self) -> float:
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@asynccontextmanager
async def house(folder: Path, processes: int, **environment: str) -> AsyncIterator[House]:
    async with nursery(folder) as children:
        opened = House(children, free_port(), environment)
        try:
            for _ in range(processes):
                await opened.start()
            await opened.is_ready()
            yield opened
        finally:
            for pid in tuple(opened.pids):
                opened.kill(pid)


@pytest.fixture
async def tale(configured: Settings, platform: Platform) -> AsyncIterator[Tale]:
    """Written over connections of its own; it tells the processes by Valkey, as any other process would."""
    settings = configured.model_copy(update={"database_pool_size": 16})
    database = Database(settings, after_commit=platform.valkey.hint)
    yield Tale(database)
    await database.close()


@asynccontextmanager
async def listening(readers: Sequence[Reader]) -> AsyncIterator[None]:
    """All of them connected, until the block ends."""
    try:
        for reader in readers:
            reader.client.start()
        await until(lambda: all(reader.client.is_current for reader in readers), READY_SECONDS, "everybody connected")
        yield
    finally:
        await asyncio.gather(*(reader.client.stop() for reader in readers))


async def people(world: World, count: int) -> list[Person]:
    return [await world.person() for _ in range(count)]


async def all_heard(readers: Sequence[Reader], within_seconds: float) -> float:
    return await until(lambda: all(reader.has_all() for reader in readers), within_seconds, "everybody has everything")


async def again_and_again(what: Callable[[], Coroutine[Any, Any, None]], pause: float) -> None:
    while True:
        await asyncio.sleep(pause)
        await what()


def percentile(delays: Sequence[float], percent: int) -> float:
    return sorted(delays)[len(delays) * percent // 100]


async def test_nothing_is_missed_while_processes_die_hints_are_lost_and_clients_drop_out(
    configured: Settings, world: World, tale: Tale, tmp_path: Path
) -> None:
    async with house(tmp_path, FIRE.processes) as house_:
        # Given clients that have heard one event each, for without one there is nothing to resume after
        readers = [Reader(person, house_.port, tale) for person in await people(world, FIRE.people)]
        async with listening(readers):
            await tale.tell([reader.person for reader in readers])
            await all_heard(readers, SOON)

            # When events are committed while processes are killed, clients drop out, and Valkey forgets everything
            async def kill() -> None:
                house_.kill(house_.pids[0])
                await house_.start()

            async def wipe() -> None:
                async with Redis.from_url(configured.redis_url) as valkey:
                    await valkey.flushall()
                    await valkey.client_kill_filter(_type="pubsub")

            async def drop() -> None:
                random.choice(readers).client.drop()

            fires = [
                asyncio.create_task(again_and_again(what, pause))
                for what, pause in (
                    (kill, FIRE.between_kills),
                    (wipe, FIRE.seconds / (FIRE.wipes + 1)),
                    (drop, FIRE.seconds / FIRE.people),
                )
            ]
            events = FIRE.deliveries // READERS
            began, telling = time.monotonic(), []
            for number in range(events):
                await asyncio.sleep(max(0.0, began + number * FIRE.seconds / events - time.monotonic()))
                to = [reader.person for reader in random.sample(readers, READERS)]
                telling.append(asyncio.create_task(tale.tell(to, random.random() * 0.05)))
            await asyncio.gather(*telling)
            await end(*fires)
            took = await all_heard(readers, 4 * SOON)

            # Then everybody has everything, once, in order for each subject
            for reader in readers:
                reader.assert_whole()
    lines = sum(len(reader.client.ends) for reader in readers)
    duplicates = sum(reader.client.duplicates for reader in readers)
    heard = sum(reader.client.acted for reader in readers)
    print(f"{heard} deliveries, {lines} lines lost, {duplicates} duplicates dropped; whole {took:.1f} s after the last")


async def test_slow_readers_cost_the_others_nothing_and_are_sent_away_to_resume(
    world: World, tale: Tale, tmp_path: Path
) -> None:
    environment = {"LOCALBAZAAR_SOCKET_STALL_SECONDS": str(FIRE.stall_seconds), "LOCALBAZAAR_HUB_SWEEP_SECONDS": "0.5"}
    async with house(tmp_path, 1, **environment) as house_:
        everybody = await people(world, FIRE.people)
        slow = [Reader(person, house_.port, tale, receive_buffer=8192) for person in everybody[: FIRE.slow]]
        others = [Reader(person, house_.port, tale) for person in everybody[FIRE.slow :]]
        async with listening([*slow, *others]):
            await tale.tell(everybody)
            await all_heard([*slow, *others], SOON)

            async def tell_others(times: int) -> float:
                """The 99th of a hundred delays."""
                for reader in others:
                    reader.delays.clear()
                for _ in range(times):
                    await tale.tell([reader.person for reader in random.sample(others, READERS)])
                    await asyncio.sleep(0.01)
                await all_heard(others, SOON)
                return percentile([delay for reader in others for delay in reader.delays], 99)

            calm, memory = await tell_others(100), house_.resident_mb()

            # When some stop reading, and more has been told to them than their lines can hold
            for reader in slow:
                reader.client.stop_reading()
            await _flood(tale, [reader.person for reader in slow])
            began = time.monotonic()
            # Then the others hear as soon as before while the slow ones are sent away, and memory stays what it was
            disturbed = await tell_others(100)
            while time.monotonic() < began + FIRE.stall_seconds + 2:
                disturbed = max(disturbed, await tell_others(20))
            grown = house_.resident_mb() - memory
            print(f"p99 {calm * 1000:.0f} ms, {disturbed * 1000:.0f} ms beside the slow; {grown:.0f} MB more")
            assert disturbed < max(2 * calm, 0.25)
            assert grown < 50
            # and the slow ones were sent away, with the code if they read it in time; they resume, and miss nothing
            for reader in slow:
                reader.client.go_on_reading()
            await all_heard(slow, 4 * SOON)
            assert all(reader.client.ends for reader in slow)
            assert {code for reader in slow for _, code in reader.client.ends} <= {4409, ABNORMAL}
            assert not any(reader.client.ends for reader in others)
            for reader in (*slow, *others):
                reader.assert_whole()


async def _flood(tale: Tale, to: Sequence[Person]) -> None:
    for _ in range(FLOOD // 8):
        await asyncio.gather(*(tale.tell(to, size=FLOOD_BYTES) for _ in range(8)))


async def test_a_crowd_that_drops_out_at_once_is_back_soon(world: World, tale: Tale, tmp_path: Path) -> None:
    async with house(tmp_path, 1) as house_:
        readers = [Reader(person, house_.port, tale) for person in await people(world, FIRE.crowd)]
        everybody = [reader.person for reader in readers]
        async with listening(readers):
            await tale.tell(everybody)
            await all_heard(readers, SOON)
            for reader in readers:
                reader.client.drop()
            await tale.tell(everybody)
            await until(lambda: all(reader.client.ends for reader in readers), SOON, "everybody dropped out")
            took = await until(lambda: all(reader.client.is_current for reader in readers), SOON, "all are back")
            took += await all_heard(readers, SOON - took)
            for reader in readers:
                reader.assert_whole()
    print(f"{len(readers)} clients were back after {took:.1f} s")


async def test_servers_that_are_replaced_one_by_one_refuse_nobody(world: World, tale: Tale, tmp_path: Path) -> None:
    async with house(tmp_path, 2) as house_:
        readers = [Reader(person, house_.port, tale) for person in await people(world, FIRE.people)]
        async with listening(readers):
            await tale.tell([reader.person for reader in readers])
            answers: list[bytes] = []
            asking = [asyncio.create_task(_ask(house_.port, readers[number], answers)) for number in range(4)]
            # When each of the processes gets a successor, and is told to end under load
            took = []
            for pid in tuple(house_.pids):
                await house_.start()
                await asyncio.sleep(1)
                took.append(await house_.stop(pid, 10))
                await tale.tell([reader.person for reader in readers])
            await end(*asking)
            await all_heard(readers, SOON)
            # Then no request failed, and every socket was sent away with 1012, not all in one instant
            ends = [ended for reader in readers for ended in reader.client.ends]
            print(f"{len(answers)} requests; ended after {', '.join(f'{seconds:.1f} s' for seconds in took)}")
            assert len(answers) > 10
            assert set(answers) == {b"HTTP/1.1 200"}
            assert {code for _, code in ends} == {1012}
            assert len({round(at, 2) for at, _ in ends}) > len(took)
            for reader in readers:
                reader.assert_whole()


async def _ask(port: int, reader: Reader, answers: list[bytes]) -> None:
    """One request after the other, each over a connection of its own."""
    head = f"GET /api/v1/me HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {reader.person.access_token}\r\n"
    while True:
        incoming, outgoing = await asyncio.open_connection("127.0.0.1", port)
        outgoing.write(f"{head}connection: close\r\n\r\n".encode())
        try:
            answers.append((await incoming.read())[:12])
        finally:
            outgoing.close()
        await asyncio.sleep(0.01)

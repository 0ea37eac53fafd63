"""Server-Sent Events: the socket's stream and its promise, over HTTP (realtime.md: Socket)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx

from app.core.config import Settings
from tests.support.world import Person, World
from tests.ws.sockets import Served, served, tell

STREAM = "/api/v1/events/stream"
Message = dict[str, Any]


class Reader:
    """An EventSource in small: messages as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()
        self.comments = 0

    async def next(self, within_seconds: float = 5) -> Message:
        message: Message = {}
        async with asyncio.timeout(within_seconds):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if not line and message:
                    return message
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    message[name] = json.loads(value) if name == "data" else value
        raise EOFError


@asynccontextmanager
async def reading(server: Served, person: Person, after: str | None = None, **params: str) -> AsyncIterator[Reader]:
    headers = ({} if params else person.headers) | ({"Last-Event-ID": after} if after else {})
    async with server.http.stream("GET", STREAM, headers=headers, params=params) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Reader(answer)


async def test_events_come_as_they_happen_with_the_id_to_resume_from(configured: Settings, world: World) -> None:
    async with served(configured) as server:
        person = await world.person()
        async with reading(server, person) as reader:
            assert (await reader.next())["event"] == "ready"
            # When something happens, and then, while nobody reads, something else
            await tell(world.platform.database, person, words="first")
            first = await reader.next()
            assert (first["id"], first["data"]["reason"]) == (first["data"]["id"], "first")
        await tell(world.platform.database, person, words="second")
        # Then a reader who comes back with the last id misses nothing, and goes on live
        async with reading(server, person, after=first["id"]) as reader:
            assert [(await reader.next()).get("event") for _ in range(2)] == ["ready", "resumed"]
            assert (await reader.next())["data"]["reason"] == "second"
            await tell(world.platform.database, person, words="third")
            assert (await reader.next())["data"]["reason"] == "third"


async def test_a_ticket_opens_it_once(configured: Settings, world: World) -> None:
    async with served(configured) as server:
        person = await world.person()
        ticket = await server.ticket(person)
        async with reading(server, person, ticket=ticket) as reader:
            assert (await reader.next())["event"] == "ready"
        assert (await server.http.get(STREAM, params={"ticket": ticket})).status_code == 401
        assert (await server.http.get(STREAM)).status_code == 401


async def test_a_strangers_event_is_no_place_to_resume_from(configured: Settings, world: World) -> None:
    async with served(configured) as server:
        person, stranger = await world.person(), await world.person()
        await tell(world.platform.database, stranger)
        theirs, *_ = await world.rows("notifications", user_id=stranger.id)
        for after in (str(theirs["event_id"]), str(uuid4())):
            async with reading(server, person, after=after) as reader:
                seen = [await reader.next() for _ in range(2)]
                assert {message["event"] for message in seen} == {"ready", "error"}
                assert {message["data"].get("code") for message in seen} == {None, "resume_unknown"}


async def test_it_ends_with_the_session(configured: Settings, world: World) -> None:
    async with served(configured) as server:
        person = await world.person()
        async with reading(server, person) as reader:
            await reader.next()
            assert (await server.seen_by(person).post("/api/v1/auth/logout")).is_success
            try:
                await reader.next()
            except EOFError:
                return
    raise AssertionError("it went on after the logout")


async def test_a_line_on_which_nothing_happens_is_kept_alive(configured: Settings, world: World) -> None:
    async with served(configured, socket_heartbeat_seconds=0.1) as server:
        person = await world.person()
        async with reading(server, person) as reader:
            await reader.next()
            await asyncio.sleep(0.5)
            await tell(world.platform.database, person)
            await reader.next()
            assert reader.comments >= 2


async def test_one_account_has_so_many_and_no_more(configured: Settings, world: World) -> None:
    async with served(configured, sockets_per_user=1) as server:
        person = await world.person()
        async with reading(server, person) as reader:
            await reader.next()
            refused = await server.http.get(STREAM, headers=person.headers)
            assert (refused.status_code, refused.json()["code"]) == (409, "too_many_streams")
        # Once it is left, the next one is let in
        async with asyncio.timeout(5):
            while server.hub.count:  # noqa: ASYNC110 - the server tells no other way
                await asyncio.sleep(0.01)
        async with reading(server, person) as reader:
            await reader.next()


async def test_who_does_not_read_is_left_behind(configured: Settings, world: World) -> None:
    async with served(configured, socket_stall_seconds=0.5, hub_sweep_seconds=0.1) as server:
        person = await world.person()
        async with server.http.stream("GET", STREAM, headers=person.headers) as answer:
            assert answer.status_code == 200
            # Given more than the buffers on the way hold
            for _ in range(150):
                await tell(world.platform.database, person, words="." * 60_000)
            # Then the hub gives the reader up
            async with asyncio.timeout(10):
                while server.hub.count:  # noqa: ASYNC110 - the server tells no other way
                    await asyncio.sleep(0.05)

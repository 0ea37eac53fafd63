"""Who may open a socket, and who may keep it (realtime.md: Socket)."""

import asyncio
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect

from app.core.config import Settings
from app.kernel.platform import Platform
from tests.support.world import Person, World
from tests.ws.conftest import SOCKETS_PER_USER, SWEEP_SECONDS
from tests.ws.sockets import Served, ask, closing_code, frame, served, tell


async def code_of(url: str, **options: Any) -> int:
    async with connect(url, proxy=None, **options) as socket:
        return await closing_code(socket)


async def test_a_ticket_opens_one_socket(small: Served, world: World) -> None:
    person = await world.person()
    url = f"{small.url}?ticket={await small.ticket(person)}"
    async with connect(url, proxy=None) as socket:
        assert await frame(socket) == {"type": "ready"}
        # used again
        assert await code_of(url) == 4401


async def test_of_two_who_come_with_one_ticket_at_once_one_gets_in(small: Served, world: World) -> None:
    url = f"{small.url}?ticket={await small.ticket(await world.person())}"
    sockets = [await connect(url, proxy=None) for _ in range(2)]
    firsts = await asyncio.gather(*(socket.recv() for socket in sockets), return_exceptions=True)
    assert sum(first == '{"type":"ready"}' for first in firsts) == 1
    for socket in sockets:
        await socket.close()


@pytest.mark.parametrize(
    "query", ["", "?ticket=", "?ticket=unknown", "?ticket=" + "x" * 5000, "?token=x", "?ticket=%00%ff"]
)
async def test_without_a_good_ticket_the_socket_is_closed(small: Served, query: str) -> None:
    assert await code_of(small.url + query) == 4401


async def test_a_ticket_expires(configured: Settings, world: World) -> None:
    async with served(configured, ticket_seconds=1) as app:
        url = f"{app.url}?ticket={await app.ticket(await world.person())}"
        await asyncio.sleep(1.1)
        assert await code_of(url) == 4401


async def test_a_bearer_token_among_the_subprotocols_opens(small: Served, world: World) -> None:
    person = await world.person()
    async with connect(small.url, subprotocols=person.subprotocols, proxy=None) as socket:
        assert socket.subprotocol == "bearer"
        assert await frame(socket) == {"type": "ready"}


@pytest.mark.parametrize("offered", [["bearer"], ["bearer", "nonsense"], ["other", "{token}"], ["bearer", "{broken}"]])
async def test_a_wrong_bearer_token_does_not(small: Served, world: World, offered: list[str]) -> None:
    token = (await world.person()).access_token
    words = [word.format(token=token, broken=token[:-4] + "AAAA") for word in offered]
    assert await code_of(small.url, subprotocols=words) == 4401


async def test_nothing_that_a_browser_sends_by_itself_opens_a_socket(small: Served, world: World) -> None:
    token = (await world.person()).access_token
    headers = {"Authorization": f"Bearer {token}", "Cookie": f"access_token={token}; session={token}"}
    assert await code_of(small.url, additional_headers=headers) == 4401


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://127.0.0.1.elsewhere.example:8000"])
async def test_a_foreign_page_is_refused_with_its_code_and_spends_no_ticket(
    small: Served, world: World, origin: str
) -> None:
    url = f"{small.url}?ticket={await small.ticket(await world.person())}"
    assert await code_of(url, origin=origin) == 4403
    async with connect(url, proxy=None) as socket:
        assert await frame(socket) == {"type": "ready"}


async def test_our_own_page_and_one_in_the_settings_are_not_foreign(configured: Settings, world: World) -> None:
    person = await world.person()
    async with served(configured, allowed_origins=("https://app.example",)) as app:
        for origin in ("http://127.0.0.1:8000", "https://app.example"):
            socket = await app.open(person, origin=origin)
            await socket.close()


async def test_one_user_may_open_so_many_sockets(small: Served, world: World) -> None:
    # Given as many as may be
    person, other = await world.person(), await world.person()
    sockets = [await small.open(person) for _ in range(SOCKETS_PER_USER)]
    # When one more is opened, it is closed, and the others stay
    assert await code_of(f"{small.url}?ticket={await small.ticket(person)}") == 4429
    assert [await ask(socket, {"op": "ping"}) for socket in sockets] == [{"type": "pong"}] * SOCKETS_PER_USER
    # but another user's is not, nor one more after one has left
    sockets.append(await small.open(other))
    await sockets.pop(0).close()
    sockets.append(await small.open(person))
    for socket in sockets:
        await socket.close()


async def test_many_who_open_at_once_do_not_slip_past_the_count(small: Served, world: World) -> None:
    person = await world.person()
    urls = [f"{small.url}?ticket={await small.ticket(person)}" for _ in range(4 * SOCKETS_PER_USER)]
    sockets = await asyncio.gather(*(connect(url, proxy=None) for url in urls))
    firsts = await asyncio.gather(*(socket.recv() for socket in sockets), return_exceptions=True)
    assert sum(first == '{"type":"ready"}' for first in firsts) == SOCKETS_PER_USER
    await asyncio.gather(*(socket.close() for socket in sockets))


async def suspend(world: World, person: Person) -> None:
    answer = await world.admin.post(f"/api/v1/admin/users/{person.id}/suspend", {"reason": "for the test"})
    assert answer.status_code == 200, answer.text


async def log_out(_: World, person: Person) -> None:
    answer = await person.post("/api/v1/auth/logout")
    assert answer.status_code < 300, answer.text


async def log_out_everywhere(_: World, person: Person) -> None:
    answer = await person.post("/api/v1/auth/logout-everywhere")
    assert answer.status_code < 300, answer.text


@pytest.mark.parametrize("end", [suspend, log_out, log_out_everywhere])
async def test_when_the_session_ends_its_sockets_are_closed_at_once_on_every_process(
    configured: Settings, world: World, end: Any
) -> None:
    # Given sockets on a process that looks by itself only every minute, and one that nothing happens to
    async with served(configured, hub_sweep_seconds=60) as app:
        person, other = await world.person(), await world.person()
        socket, unconcerned = await app.open(person), await app.open(other)
        # When the session ends on another process
        began = time.monotonic()
        await end(world, person)
        # Then
        assert await closing_code(socket) == 4401
        assert time.monotonic() - began < 1
        assert await ask(unconcerned, {"op": "ping"}) == {"type": "pong"}
        await unconcerned.close()


async def test_when_no_hint_tells_of_the_end_a_sweep_finds_out(small: Served, world: World) -> None:
    person = await world.person()
    socket = await small.open(person)
    await world.execute("UPDATE sessions SET revoked_at = now() WHERE user_id = cast(:id AS uuid)", id=str(person.id))
    assert await closing_code(socket, 5 * SWEEP_SECONDS + 1) == 4401


async def test_a_session_that_ends_while_the_socket_opens_does_not_keep_it(
    configured: Settings, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(configured, hub_sweep_seconds=60) as app:
        person = await world.person()
        url = f"{app.url}?ticket={await app.ticket(person)}"
        look_up = app.app.state.sessions.look_up

        async def ended_right_after_the_look(*ids: Any) -> Any:
            actor = await look_up(*ids)
            await log_out(world, person)
            await asyncio.sleep(0.2)  # the hint has come and found nobody
            return actor

        monkeypatch.setattr(app.app.state.sessions, "look_up", ended_right_after_the_look)
        assert await code_of(url) == 4401


async def test_while_the_database_is_away_nobody_is_told_to_sign_in_again(
    small: Served, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{small.url}?ticket={await small.ticket(await world.person())}"

    async def away() -> Any:
        raise OSError("away")

    monkeypatch.setattr(small.app.state.platform.database, "acquire", away)
    assert await code_of(url) == 1013


async def test_events_reach_all_sockets_of_their_recipients_and_nobody_else(
    small: Served, world: World, platform: Platform
) -> None:
    # Given two sockets of one user and one of another, and an application in another language
    person, other = await world.person(), await world.person(language="hi")
    sockets = [await small.open(person), await small.open(person), await small.open(other)]
    # When
    await tell(platform.database, person, words="first")
    await tell(platform.database, person, other, words="second")
    # Then
    heard = [[(await frame(socket))["reason"] for _ in range(2)] for socket in sockets[:2]]
    assert heard == [["first", "second"]] * 2
    event = await frame(sockets[2])
    assert event["reason"] == "second"
    assert event["message"] == "ग्राहक ने काम वापस भेजा: second दौड़ फिर से खुली है।"
    for socket in sockets:
        await socket.close()

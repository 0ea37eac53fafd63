"""What the tests of the socket share: applications with settings of their own, ways to open, to tell and to hear."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

import httpx
from fastapi import FastAPI
from pydantic_core import from_json
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.core.config import Settings
from app.core.database import Database
from app.core.ids import uuid7
from app.kernel.events import emit
from app.main import create_app
from app.services.service_requests.events import SentBack
from app.ws.hub import Hub
from tests.conftest import serving
from tests.support.world import Person

Frame = dict[str, Any]


class Served(NamedTuple):
    """A running application; in this event loop, so a test may look into its hub."""

    app: FastAPI
    http: httpx.AsyncClient

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    @property
    def url(self) -> str:
        return str(self.http.base_url).replace("http", "ws", 1).rstrip("/") + "/ws/notifications/"

    def seen_by(self, person: Person) -> Person:
        """The same person, speaking to this application."""
        there = Person.__new__(Person)
        there.__dict__ = person.__dict__ | {"http": self.http}
        return there

    async def ticket(self, person: Person) -> str:
        answer = await self.seen_by(person).post("/api/v1/ws/tickets")
        assert answer.status_code == 201, answer.text
        return str(answer.json()["ticket"])

    async def open(self, person: Person, **options: Any) -> ClientConnection:
        """A socket that said `ready`; the caller closes it."""
        socket = await connect(f"{self.url}?ticket={await self.ticket(person)}", proxy=None, **options)
        assert await frame(socket) == {"type": "ready"}
        return socket


@asynccontextmanager
async def served(configured: Settings, **changed: Any) -> AsyncIterator[Served]:
    """An application of its own, with some settings changed."""
    app = create_app(configured.model_copy(update=changed))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield Served(app, http)


async def tell(database: Database, *people: Person, words: str = "again", subject_id: UUID | None = None) -> None:
    """Commit an event for these people."""
    subject_id = subject_id or uuid7()
    event = SentBack(service_request_id=subject_id, reason=words, status="IN_PROGRESS")
    async with database.write() as session:
        to = [person.id for person in people]
        await emit(session, event, subject_type="service_request", subject_id=subject_id, to=to)


async def frame(socket: ClientConnection, within_seconds: float = 5) -> Frame:
    async with asyncio.timeout(within_seconds):
        received: Frame = from_json(await socket.recv())
        return received


async def ask(socket: ClientConnection, question: str | bytes | Frame) -> Frame:
    """Send a frame; the next one that comes."""
    await socket.send(json.dumps(question) if isinstance(question, dict) else question)
    return await frame(socket)


async def resume(socket: ClientConnection, after: str) -> None:
    assert await ask(socket, {"op": "resume", "after": after}) == {"type": "resumed", "after": after}


async def closing_code(socket: ClientConnection, within_seconds: float = 5) -> int:
    """The code that the server closes with, after whatever else it sends; 1006 if there is none."""
    async with asyncio.timeout(within_seconds):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


async def serves(port: int) -> None:
    async with asyncio.timeout(20), httpx.AsyncClient() as http:
        while True:
            try:
                if (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success:
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)

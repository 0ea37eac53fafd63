"""A client app in small: signs up and in over HTTP, listens on the socket, keeps the events that arrive.

And what the demos have in common: a flow is performed before a console, with everything that somebody hears.
"""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
from pydantic_core import from_json
from rich.console import Console
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from app.core.tasks import end

Event = dict[str, Any]


class Person:
    """Somebody with an account."""

    def __init__(self, http: httpx.AsyncClient, name: str) -> None:
        self.http = http
        self.name = name
        self.id = ""
        self.events: list[Event] = []
        self._headers: dict[str, str] = {}

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.http.request(method, path, headers=self._headers, **options)

    async def do(self, method: str, path: str, **options: Any) -> Any:
        """Call and expect success; the decoded body."""
        answer = await self.call(method, path, **options)
        if answer.is_error:
            raise RuntimeError(f"{self.name}: {method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def _signed_in(self, tokens: Any) -> None:
        self.id, self.name = tokens["user"]["id"], tokens["user"]["name"]
        self._headers = {"Authorization": f"Bearer {tokens['access_token']}"}

    async def sign_in(self, email: str, password: str) -> None:
        self._signed_in(await self.do("POST", "/api/v1/auth/login", json={"email": email, "password": password}))

    async def sign_up(self) -> None:
        """Register and verify with the two codes, read from the development outbox."""
        mark = secrets.token_hex(4)
        email, phone = f"demo-{mark}@demo.localbazaar.in", f"+9198{secrets.randbelow(10**8):08d}"
        payload = {"name": self.name, "email": email, "phone": phone, "password": f"demo-{mark}-secret"}
        user = (await self.do("POST", "/api/v1/auth/register", json=payload))["user"]
        codes = {"email_code": await self._code(email), "phone_code": await self._code(phone)}
        self._signed_in(await self.do("POST", "/api/v1/auth/verify", json={"user_id": user["id"], **codes}))

    async def _code(self, to: str) -> str:
        for _ in range(100):
            for message in await self.do("GET", "/api/v1/dev/messages", params={"to": to}):
                if found := re.search(r"\b\d{6}\b", message["body"]):
                    return found.group()
            await asyncio.sleep(0.1)
        raise RuntimeError(f"no code came for {to}: is the worker running?")

    @contextlib.asynccontextmanager
    async def listening(self, heard: Callable[["Person", Event], None]) -> AsyncIterator[None]:
        """Keep a socket open; `heard` is told of each event as it arrives."""
        ticket = (await self.do("POST", "/api/v1/ws/tickets"))["ticket"]
        address = str(self.http.base_url).replace("http", "ws", 1)
        async with connect(f"{address.rstrip('/')}/ws/notifications/?ticket={ticket}", proxy=None) as socket:
            while from_json(await socket.recv()).get("type") != "ready":
                pass

            async def listen() -> None:
                async for frame in socket:
                    event = from_json(frame)
                    if "event" in event:
                        self.events.append(event)
                        if not event.get("quiet"):
                            heard(self, event)

            task = asyncio.create_task(listen())
            try:
                yield
            finally:
                await end(task)

    async def hears(self, name: str, within_seconds: float = 10) -> Event:
        """The event of this name, once it has arrived."""
        until = time.monotonic() + within_seconds
        while time.monotonic() < until:
            for event in self.events:
                if event["name"] == name:
                    return event
            await asyncio.sleep(0.02)
        raise RuntimeError(f"{self.name} did not hear {name} within {within_seconds} s")


class Stage:
    """Where a flow is performed."""

    def __init__(self, http: httpx.AsyncClient, sockets: contextlib.AsyncExitStack, console: Console) -> None:
        self.http = http
        self._sockets, self._console = sockets, console
        self._began = time.monotonic()

    def tell(self, who: str, what: str) -> None:
        """Print who does what, and when."""
        seconds = time.monotonic() - self._began
        self._console.print(f"[dim]{seconds:6.2f} s[/]  [bold]{who:<22}[/] {what}", highlight=False)

    async def listen(self, *people: Person) -> None:
        """Let these hear, until the flow is over, and tell what they do."""
        for person in people:
            await self._sockets.enter_async_context(person.listening(self._heard))

    def _heard(self, person: Person, event: Event) -> None:
        self.tell(person.name, f"[cyan]hears {event['name']}[/]: {event['message']}")


async def perform(url: str, console: Console, flow: Callable[[Stage], Awaitable[list[str]]], promise: str) -> int:
    """Play the flow, which returns what was not as promised; 0 if all of it was."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http, contextlib.AsyncExitStack() as sockets:
        try:
            faults = await flow(Stage(http, sockets, console))
        except (RuntimeError, httpx.HTTPError, OSError, WebSocketException) as error:
            console.print(f"[red]{type(error).__name__}: {error}")
            return 1
    for fault in faults:
        console.print(f"[red]{fault}")
    console.print("[red]not as promised" if faults else f"[green]{promise}")
    return 1 if faults else 0

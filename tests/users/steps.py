"""Steps that tests of accounts share: signing up over HTTP, reading codes, a second instance, turning the clock."""

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID

import httpx

from app.core.config import Settings
from app.kernel.platform import Platform
from app.main import create_app
from tests.conftest import serving
from tests.support.world import PASSWORD, Person, World

Found = TypeVar("Found")
_phones = itertools.count(secrets.randbelow(10**6))


def new_email() -> str:
    return f"{secrets.token_hex(6)}@mail.localbazaar.in"


def new_phone() -> str:
    return f"+9197{next(_phones) % 10**8:08d}"


def sign_up_form(**changed: Any) -> dict[str, Any]:
    """What a new customer sends, but for the changes."""
    form = {"name": "Asha Rao", "email": new_email(), "phone": new_phone(), "password": PASSWORD, "role": "customer"}
    return form | changed


async def eventually(look: Callable[[], Awaitable[Found | None]], *, within: float = 15) -> Found:
    """What the look finds, as soon as it finds something."""
    until = time.monotonic() + within
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < until, "waited in vain"
        await asyncio.sleep(0.02)


async def codes_sent(http: httpx.AsyncClient, to: str) -> list[str]:
    """The codes that the console senders sent there, newest first."""
    messages = (await http.get("/api/v1/dev/messages", params={"to": to})).json()
    return [found.group() for message in messages if (found := re.search(r"\b[0-9]{6}\b", message["body"]))]


async def code_sent(http: httpx.AsyncClient, to: str, *, after: int = 0) -> str:
    """The newest code, once more than `after` of them have arrived."""

    async def look() -> str | None:
        codes = await codes_sent(http, to)
        return codes[0] if len(codes) > after else None

    return await eventually(look)


class Applicant:
    """Somebody who has signed up and has not entered the codes yet."""

    def __init__(self, http: httpx.AsyncClient, user_id: str, form: dict[str, Any]) -> None:
        self.http, self.id, self.form = http, user_id, form

    async def codes(self) -> dict[str, str]:
        """The right codes, as `/auth/verify` takes them."""
        return {
            "email_code": await code_sent(self.http, self.form["email"]),
            "phone_code": await code_sent(self.http, self.form["phone"]),
        }

    async def verify(self, codes: dict[str, str]) -> httpx.Response:
        return await self.http.post("/api/v1/auth/verify", json={"user_id": self.id} | codes)

    async def resend(self, channel: str) -> httpx.Response:
        return await self.http.post("/api/v1/auth/codes", json={"user_id": self.id, "channel": channel})


async def sign_up(http: httpx.AsyncClient, **changed: Any) -> Applicant:
    form = sign_up_form(**changed)
    answer = await http.post("/api/v1/auth/register", json=form)
    assert answer.status_code == 201, answer.text
    return Applicant(http, answer.json()["user"]["id"], form)


def wrong(code: str) -> str:
    """Another code than this."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def log_in(http: httpx.AsyncClient, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    return await http.post("/api/v1/auth/login", json={"email": email, "password": password} | more)


async def logged_in(person: Person, http: httpx.AsyncClient | None = None) -> Person:
    """The same account with a session of its own."""
    answer = await log_in(http or person.http, person.email)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return Person(http or person.http, person.id, person.email, person.phone, SimpleNamespace(**found))


async def refresh(http: httpx.AsyncClient, refresh_token: str) -> httpx.Response:
    return await http.post("/api/v1/auth/refresh", json={"refresh_token": refresh_token})


async def is_signed_in(person: Person) -> bool:
    """Whether the person's access token is still good for anything."""
    status = (await person.get("/api/v1/me")).status_code
    assert status in {200, 401}
    return status == 200


def elsewhere(person: Person, http: httpx.AsyncClient) -> Person:
    """The person with the same tokens at another instance."""
    return Person(http, person.id, person.email, person.phone, person)


async def forget_the_last_minute(platform: Platform, whom: UUID | str) -> None:
    """Turn the clock of the resend limit by a minute: its counts for the hour stay."""
    async for key in platform.valkey.client.scan_iter(match=f"*{whom}*/1/{60}/second*"):
        await platform.valkey.client.delete(key)


class Instance:
    """A second process of the same installation, as far as one can tell from outside."""

    def __init__(self, http: httpx.AsyncClient, platform: Platform) -> None:
        self.http, self.platform = http, platform


@asynccontextmanager
async def instance(configured: Settings, **changed: Any) -> AsyncIterator[Instance]:
    """Another instance of the application on the same servers, with some settings changed."""
    app = create_app(configured.model_copy(update=changed))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        platform: Platform = app.state.platform
        yield Instance(client, platform)
        await platform.limits.close()


async def events_of(world: World, user_id: UUID | str, name: str) -> list[dict[str, Any]]:
    """Events of this name that were addressed to the user, oldest first."""
    notified = {row["event_id"] for row in await world.rows("notifications", user_id=UUID(str(user_id)))}
    return [row for row in await world.rows("events") if row["name"] == name and row["id"] in notified]

"""A small world for tests: people with accounts, made by the product's own services, and what they may see changed."""

import asyncio
import io
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
from PIL import Image
from sqlalchemy import bindparam, column, func, select, table
from sqlalchemy.sql import text
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from app.core.actor import Actor
from app.core.database import Session, Statement
from app.kernel import ledger
from app.kernel.platform import Platform
from app.models import metadata
from app.models.users import Role
from app.schemas.base import Position
from app.schemas.providers import ApplyAsProvider
from app.schemas.regions import CreateRegion
from app.schemas.users import Register
from app.schemas.wallets import TopUp
from app.services.catalogue import administration as catalogue
from app.services.providers import onboarding
from app.services.providers.lifecycle import Action
from app.services.regions import administration as regions
from app.services.users import accounts, sessions
from app.services.wallets import wallets

PASSWORD = "correct horse battery 7"
HERE = Position(latitude=18.5074, longitude=73.8077)
FAR_AWAY = Position(latitude=18.9, longitude=73.8077)  # 44 km to the north
ANSWERS = {"problem": "leak", "water_running": True}

_COUNTS = Statement(
    select(
        *(
            select(func.count()).select_from(table(name, column("x"))).scalar_subquery().label(name)
            for name in metadata.tables
        )
    )
)
_phones = itertools.count(secrets.randbelow(10**6))


def picture(width: int = 64, height: int = 48, kind: str = "JPEG") -> bytes:
    """A small real image."""
    content = io.BytesIO()
    Image.new("RGB", (width, height), (120, 90, 60)).save(content, kind)
    return content.getvalue()


class Person:
    """Somebody with an account and an open session, who speaks HTTP."""

    def __init__(self, http: httpx.AsyncClient, user_id: UUID, email: str, phone: str, tokens: Any) -> None:
        self.http, self.id, self.email, self.phone = http, user_id, email, phone
        self.access_token: str = tokens.access_token
        self.refresh_token: str = tokens.refresh_token

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}

    @property
    def subprotocols(self) -> list[Subprotocol]:
        """What opens a socket for this person, offered with the handshake."""
        return [Subprotocol("bearer"), Subprotocol(self.access_token)]

    async def call(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        return await self.http.request(method, path, headers=self.headers | (headers or {}), **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return await self.call("POST", path, json=json, **options)

    async def upload(self, purpose: str = "proof", content: bytes | None = None) -> str:
        """Upload a file; its id."""
        answer = await self.post(
            "/api/v1/files", data={"purpose": purpose}, files={"file": ("file", content or picture())}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    @asynccontextmanager
    async def socket(self, after: str | None = None) -> AsyncIterator[ClientConnection]:
        """An open socket that said `ready`, resumed if `after` is given."""
        ticket = (await self.post("/api/v1/ws/tickets")).json()["ticket"]
        url = str(self.http.base_url).replace("http", "ws", 1).rstrip("/")
        async with connect(f"{url}/ws/notifications/?ticket={ticket}", proxy=None) as opened:
            assert json.loads(await opened.recv()) == {"type": "ready"}
            if after is not None:
                await opened.send(json.dumps({"op": "resume", "after": after}))
            yield opened


class World:
    """What tests start from: one region with its manager, the whole catalogue, an admin, support."""

    def __init__(self, platform: Platform, http: httpx.AsyncClient) -> None:
        self.platform, self.http = platform, http
        self.region_id: UUID
        self.services: dict[str, UUID] = {}
        self.admin: Person
        self.support: Person
        self.manager: Person

    async def person(self, *roles: Role, name: str = "Some Body", language: str = "en") -> Person:
        """A verified account with a session and, besides `customer`, these roles."""
        mark = secrets.token_hex(6)
        wanted = Register(
            name=name,
            email=f"{mark}@mail.localbazaar.in",
            phone=f"+9198{next(_phones) % 10**8:08d}",
            password=PASSWORD,
            language=language,
        )
        password_hash = await self.platform.passwords.hash(PASSWORD)
        async with self.platform.database.write() as session:
            user_id = await accounts.create_verified(session, wanted, password_hash)
            for role in roles:
                await accounts.grant(session, user_id, role)
            tokens = await sessions.open_session(session, self.platform, user_id, device="test", address="test")
        return Person(self.http, user_id, wanted.email, wanted.phone, tokens)

    async def provider(
        self,
        *,
        at: Position = HERE,
        radius: int = 5000,
        offers: Sequence[str] = ("plumbing",),
        funds_minor: int = 1_000_00,
        approved: bool = True,
    ) -> Person:
        """An approved provider with money in the wallet."""
        person = await self.person()
        application = ApplyAsProvider(
            business_name="Pipes & Co",
            bio="We mend pipes.",
            position=at,
            service_radius_metres=radius,
            service_ids=[self.services[slug] for slug in offers],
        )
        admin = Actor(self.admin.id, frozenset({Role.ADMIN}))
        async with self.platform.database.write() as session:
            await onboarding.apply(session, self.platform, Actor(person.id), application)
            if approved:
                await onboarding.decide(session, admin, person.id, Action.APPROVE)
            if funds_minor:
                await wallets.top_up(session, admin, person.id, TopUp(amount_minor=funds_minor, reason="for the test"))
        return person

    async def request(self, customer: Person, *, at: Position = HERE, service: str = "plumbing", **more: Any) -> str:
        """A fresh service request; its id. `more` joins the payload, or stands in for a part of it."""
        answer = await customer.post("/api/v1/service-requests", self.request_payload(at=at, service=service, **more))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def request_payload(self, *, at: Position = HERE, service: str = "plumbing", **more: Any) -> dict[str, Any]:
        """What a customer sends to post a service request."""
        return {
            "service_id": str(self.services[service]),
            "description": "The tap drips.",
            "answers": ANSWERS if service == "plumbing" else {},
            "address": "12 Karve Road",
            "position": at.model_dump(),
        } | more

    async def lead(self, *, buyers: int = 1) -> tuple[Person, str, list[Person]]:
        """A customer, the id of their request, and providers who have bought the lead."""
        customer = await self.person()
        request_id = await self.request(customer)
        providers = [await self.provider() for _ in range(buyers)]
        for provider in providers:
            bought = await provider.post(f"/api/v1/service-requests/{request_id}/purchase")
            assert bought.status_code == 201, bought.text
        return customer, request_id, providers

    async def completed(self, *, buyers: int = 1) -> tuple[Person, str, list[Person]]:
        """As `lead`, and the first of the buyers has completed it."""
        customer, request_id, providers = await self.lead(buyers=buyers)
        proof_id = await providers[0].upload()
        done = await providers[0].post(f"/api/v1/service-requests/{request_id}/complete", {"proof_id": proof_id})
        assert done.status_code == 200, done.text
        return customer, request_id, providers

    async def rows(self, name: str, /, **equal: Any) -> list[dict[str, Any]]:
        """Rows of a table in which these columns have these values, oldest first where there is an id."""
        model = metadata.tables[name]
        query = select(model).where(*(model.c[key] == bindparam(key, type_=model.c[key].type) for key in equal))
        async with self.platform.database.read() as session:
            found = [dict(row) for row in await session.all(Statement(query), **equal)]
        return sorted(found, key=lambda row: str(row.get("id", "")))

    async def execute(self, sql: str, **values: Any) -> int:
        """Raw SQL, for what no API may do, such as turning the clock."""
        async with self.platform.database.write() as session:
            return await session.execute(Statement(text(sql)), **values)

    async def define(self, sql: str) -> None:
        """Raw SQL that defines something, which takes no values and touches no rows."""
        async with self.platform.database.write() as session:
            await session.first(Statement(select(func.now())))
            await session.driver_connection.execute(sql)

    async def hold(self, session: Session, row_id: str, table: str = "service_requests") -> Any:
        """Lock a row in the transaction of this session; its driver's connection, to go on with."""
        statement = Statement(text(f"SELECT id FROM {table} WHERE id = cast(:id AS uuid) FOR NO KEY UPDATE"))
        assert await session.first(statement, id=row_id)
        return session.driver_connection

    async def waits(self, transactions: int) -> None:
        """Return when so many transactions wait for a lock of another."""
        waiting = Statement(text("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"))
        async with asyncio.timeout(5), self.platform.database.read() as session:
            while await session.scalar(waiting) < transactions:  # noqa: ASYNC110 - the database tells no other way
                await asyncio.sleep(0.01)

    async def balance(self, person: Person) -> int:
        """The wallet in minor units, as its owner sees it."""
        answer = await person.get("/api/v1/wallet")
        return int(answer.json()["balances"][0]["balance_minor"])

    async def snapshot(self) -> dict[str, Any]:
        """How much there is of everything: rows per table, objects in storage, the sum of all balances."""
        async with self.platform.database.read() as session:
            counts = dict(await session.first(_COUNTS) or {})
        counts["objects"] = len(await self.platform.storage.keys())
        return counts

    @asynccontextmanager
    async def unchanged(self, *, but: Sequence[str] = ()) -> AsyncIterator[None]:
        """Nothing appears or disappears in here: no row, event, posting or file, but for the tables named."""
        before = await self.snapshot()
        yield
        after = await self.snapshot()
        changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
        assert not {name: pair for name, pair in changed.items() if name not in but}

    async def told(self, subject_id: str) -> list[tuple[str, set[UUID]]]:
        """The events of a subject in their order, each with those whom it notifies; not those of an owner's wallet."""
        events = [
            row for row in await self.rows("events", subject_id=UUID(subject_id)) if row["subject_type"] != "wallet"
        ]
        happened = sorted(events, key=lambda event: int(event["seq"]))
        notified = [await self.rows("notifications", event_id=event["id"], quiet=False) for event in happened]
        return [
            (event["name"], {row["user_id"] for row in rows}) for event, rows in zip(happened, notified, strict=True)
        ]

    async def trail(self, subject_id: str) -> list[dict[str, Any]]:
        """The audit rows of a subject, oldest first."""
        rows = await self.rows("audit_trail", subject_id=UUID(subject_id))
        return sorted(rows, key=lambda row: int(row["id"]))

    async def books_are_clean(self) -> None:
        async with self.platform.database.read() as session:
            assert (await ledger.verify(session)).faults == []


async def build_world(platform: Platform, http: httpx.AsyncClient) -> World:
    world = World(platform, http)
    world.admin = await world.person(Role.ADMIN, name="Admin")
    world.support = await world.person(Role.SUPPORT, name="Support")
    world.manager = await world.person(Role.MANAGER, name="Manager")
    async with platform.database.write() as session:
        await catalogue.fill(session)
        wanted = CreateRegion(code="pune-test", name="Pune", zipcodes=["411038"], centre=HERE)
        world.region_id = (await regions.create(session, wanted)).id
        await regions.appoint_manager(session, world.region_id, world.manager.id)
    services = metadata.tables["services"]
    async with platform.database.read() as session:
        for row in await session.all(Statement(select(services.c.slug, services.c.id))):
            world.services[row["slug"]] = row["id"]
    return world

"""Old snapshot + events = fresh snapshot: what a client keeps by its socket is what it would be told if it asked."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.core.errors import NotFound
from app.core.money import InsufficientFunds
from app.kernel import ledger
from app.kernel.platform import Platform
from app.kernel.transitions import IllegalTransition
from app.models.ledger import AccountKind
from app.services.service_requests import closing
from app.services.wallets.events import Changed
from tests.notifications.client import Client, becomes_fresh, pages
from tests.payments import steps as payments
from tests.payouts import steps as payouts
from tests.support.world import Person, World

STEPS = int(os.environ.get("LOCALBAZAAR_SNAPSHOT_STEPS", "45"))
"""Moves of each history, three at a time."""
SEEDS = int(os.environ.get("LOCALBAZAAR_SNAPSHOT_SEEDS", "2"))
REASON = {"reason": "For the test."}


class History:
    """Two customers, three providers and the staff, who do whatever comes to their minds."""

    def __init__(self, world: World, platform: Platform, seed: int) -> None:
        self.world, self.platform, self.random = world, platform, random.Random(seed)
        self.customers: list[Person] = []
        self.providers: list[Person] = []
        self.requests: list[tuple[Person, str]] = []
        self.payments: list[dict[str, Any]] = []
        self.payouts: list[str] = []
        self.done: Counter[str] = Counter()

    @property
    def everybody(self) -> list[Person]:
        return [*self.customers, *self.providers]

    async def begin(self) -> None:
        self.customers = [await self.world.person(language=language) for language in ("en", "hi")]
        self.providers = [await self.world.provider(funds_minor=2_000_00) for _ in range(3)]
        for provider in self.providers:
            await payouts.succeed(await payouts.hand_in(provider))
            await payouts.succeed(await payouts.decide(self.world.admin, provider, "verify"))
        for _ in range(3):
            await self.post()

    async def move(self) -> None:
        """One of all the things that people do, more often those that others wait for."""
        moves: list[tuple[int, Callable[[], Awaitable[httpx.Response | None]]]] = [
            (2, self.post), (6, self.purchase), (2, self.start), (4, self.complete), (2, self.approve),
            (4, self.send_back), (1, self.cancel), (1, self.expire), (2, self.report), (2, self.decide),
            (2, self.top_up), (2, self.pay), (1, self.refund), (2, self.ask_for_payout), (2, self.review_payout),
            (1, self.owe), (3, self.read_one), (1, self.read_all),
        ]  # fmt: skip
        (chosen,) = self.random.choices([move for _, move in moves], [weight for weight, _ in moves])
        answer = await chosen()
        if answer is None:
            return
        if answer.is_success:
            self.done[chosen.__name__] += 1
        else:
            assert answer.status_code < 500, answer.text

    async def post(self) -> None:
        customer = self.random.choice(self.customers)
        self.requests.append((customer, await self.world.request(customer)))

    async def _as_customer(self, action: str, statuses: set[str], body: Any = None) -> httpx.Response | None:
        """By the customer of a request in one of these statuses, if there is one."""
        customer = self.random.choice(self.customers)
        found = [item for item in await pages(customer, "/api/v1/service-requests") if item["status"] in statuses]
        if not found:
            return None
        return await customer.post(f"/api/v1/service-requests/{self.random.choice(found)['id']}/{action}", body)

    async def _bought(self, statuses: set[str]) -> tuple[Person, str] | None:
        """A provider, and a lead of theirs about a request in one of these statuses."""
        provider = self.random.choice(self.providers)
        leads = [lead for lead in await pages(provider, "/api/v1/leads") if lead["request_status"] in statuses]
        return (provider, self.random.choice(leads)["service_request_id"]) if leads else None

    async def purchase(self) -> httpx.Response:
        provider, (_, request_id) = self.random.choice(self.providers), self.random.choice(self.requests[-4:])
        return await provider.post(f"/api/v1/service-requests/{request_id}/purchase")

    async def start(self) -> httpx.Response | None:
        found = await self._bought({"PURCHASED"})
        return await found[0].post(f"/api/v1/service-requests/{found[1]}/start") if found else None

    async def complete(self) -> httpx.Response | None:
        found = await self._bought({"PURCHASED", "IN_PROGRESS"})
        if found is None:
            return None
        proof = {"proof_id": await found[0].upload(), "notes": self.random.choice([None, "New washer.", "टपकना बंद।"])}
        return await found[0].post(f"/api/v1/service-requests/{found[1]}/complete", proof)

    async def approve(self) -> httpx.Response | None:
        return await self._as_customer("approve", {"COMPLETED"})

    async def send_back(self) -> httpx.Response | None:
        return await self._as_customer("send-back", {"COMPLETED"}, REASON)

    async def cancel(self) -> httpx.Response | None:
        return await self._as_customer("cancel", {"PENDING", "PURCHASED", "IN_PROGRESS"}, REASON)

    async def expire(self) -> None:
        _, request_id = self.random.choice(self.requests)
        past = "UPDATE deadlines SET due_at = now() - interval '1 second' WHERE subject_id = cast(:id AS uuid)"
        if await self.world.execute(past, id=request_id):
            with suppress(IllegalTransition, NotFound):
                async with self.platform.database.write() as session:
                    await closing.expire(session, UUID(request_id))

    async def report(self) -> httpx.Response | None:
        provider = self.random.choice(self.providers)
        leads = await pages(provider, "/api/v1/leads")
        if not leads:
            return None
        said = {"reason": "spam", "note": "Nobody there."}
        return await provider.post(f"/api/v1/leads/{self.random.choice(leads)['id']}/report", said)

    async def decide(self) -> httpx.Response | None:
        ours = {str(provider.id) for provider in self.providers}
        reported = [
            lead for lead in await pages(self.world.support, "/api/v1/leads/reported") if lead["provider_id"] in ours
        ]
        if not reported:
            return None
        decision = self.random.choice(["accept-report", "refuse-report"])
        return await self.world.support.post(f"/api/v1/leads/{self.random.choice(reported)['id']}/{decision}", REASON)

    async def top_up(self) -> httpx.Response:
        person = self.random.choice(self.everybody)
        body = {"amount_minor": self.random.randint(1, 500_00)} | REASON
        return await self.world.admin.post(f"/api/v1/admin/users/{person.id}/top-ups", body)

    async def pay(self) -> None:
        payment = await payments.top_up(self.random.choice(self.everybody), self.random.randint(100, 300_00))
        await payments.paid(self.world, payment)
        self.payments.append(payment)

    async def refund(self) -> httpx.Response | None:
        return await payments.refund(self.world, self.random.choice(self.payments)) if self.payments else None

    async def ask_for_payout(self) -> httpx.Response:
        answer = await payouts.request(self.random.choice(self.providers), 150_00)
        if answer.is_success:
            self.payouts.append(answer.json()["id"])
        return answer

    async def review_payout(self) -> httpx.Response | None:
        action = self.random.choice(["send", "fail", "return"])
        payout_id = self.random.choice(self.payouts) if self.payouts else None
        return await payouts.review(self.world.admin, payout_id, action) if payout_id else None

    async def owe(self) -> None:
        """A provider comes to owe something, which the next earnings repay."""
        provider = self.random.choice(self.providers)
        due = ledger.debt(provider.id, "INR")
        async with self.platform.database.write() as session:
            balances = await ledger.lock(session, [due])
            if balances[due] > -400_00:
                fees = ledger.platform(AccountKind.COMMISSION, "INR")
                await ledger.transfer(session, "commission_due", due, fees, 20_00)

    async def read_one(self) -> httpx.Response | None:
        person = self.random.choice(self.everybody)
        unread = (await person.get("/api/v1/notifications", params={"unread": True})).json()["items"]
        if not unread:
            return None
        return await person.post(f"/api/v1/notifications/{self.random.choice(unread)['event']['id']}/read")

    async def read_all(self) -> httpx.Response:
        return await self.random.choice(self.everybody).post("/api/v1/notifications/read")


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_client_that_follows_the_events_sees_what_a_fresh_read_shows(
    world: World, platform: Platform, seed: int
) -> None:
    # Given people who have begun, each with an app on a phone and another on a tablet
    history = History(world, platform, seed)
    await history.begin()
    clients = [Client(person) for person in history.everybody for _ in range(2)]
    async with AsyncExitStack() as closing_time:
        for client in clients:
            closing_time.push_async_callback(client.cut)
        # When they do things, three at once, while apps are opened, are cut off, and come back
        waiting, away = list(clients), list[Client]()
        for round_number in range(STEPS // 3):
            at_once: list[Coroutine[Any, Any, Any]] = [history.move() for _ in range(3)]
            if waiting and history.random.random() < 0.6:
                at_once.append(waiting.pop().start())
            if away and history.random.random() < 0.5:
                at_once.append(away.pop().come_back())
            await asyncio.gather(*at_once)
            if history.random.random() < 0.3:
                client = history.random.choice([one for one in clients if one not in (*waiting, *away)] or clients)
                if client not in waiting and client not in away:
                    await client.cut()
                    away.append(client)
            if round_number % 4 == 3:
                # Then, at any time, every app that listens shows what the server knows
                await asyncio.gather(*(becomes_fresh(one) for one in clients if one not in (*waiting, *away)))
        for client in waiting:
            await client.start()
        for client in away:
            await client.come_back()
        await asyncio.gather(*(history.move() for _ in range(3)))
        # and in the end all of them do
        await asyncio.gather(*(becomes_fresh(client) for client in clients))
    assert sum(client.applied for client in clients) > STEPS // 2
    assert len(history.done) > 6, history.done
    await world.books_are_clean()


async def test_a_feed_in_which_much_became_read_at_once_is_fetched_anew(world: World) -> None:
    # Given an app whose feed has more unread events than an event names
    person = await world.person()
    client = Client(person)
    await world.execute(
        "WITH made AS (INSERT INTO events (id, name, subject_type, subject_id, payload) "
        "SELECT uuid7(), 'auth.verified', 'user', cast(:id AS uuid), "
        "jsonb_build_object('user_id', cast(:id AS text)) FROM generate_series(1, 120) RETURNING id, seq) "
        "INSERT INTO notifications (user_id, event_id, seq) SELECT cast(:id AS uuid), id, seq FROM made",
        id=str(person.id),
    )
    await client.start()
    assert client.lists.shown()["unread"] > 100
    # When all are marked on another device, then the app follows
    await person.post("/api/v1/notifications/read")
    await becomes_fresh(client)
    assert client.lists.shown()["unread"] == 0
    await client.cut()


async def test_what_the_database_writes_about_a_wallet_is_what_the_event_declares(
    world: World, platform: Platform
) -> None:
    # Given an entry that moves a wallet, and one that moves only what somebody owes
    owner = uuid4()
    clearing, due = ledger.platform(AccountKind.CLEARING, "INR"), ledger.debt(owner, "INR")
    async with platform.database.write() as session:
        entry_id = await ledger.transfer(session, "gift", clearing, ledger.wallet(owner, "INR"), 70_00)
    async with platform.database.write() as session:
        await ledger.lock(session, [due])
        await ledger.transfer(session, "fine", due, clearing, 30_00)
    # When earnings repay it in one entry
    async with platform.database.write() as session:
        earned = [ledger.Posting(ledger.wallet(owner, "INR"), 50_00)]
        await ledger.earn(session, "pay", [ledger.Posting(clearing, -50_00)], earned)
    # Then each is told once, in order, quietly, and to nobody but the owner
    told = sorted(await world.rows("events", subject_id=owner), key=lambda event: int(event["seq"]))
    changes = [Changed.model_validate(event["payload"]) for event in told]
    assert [event["name"] for event in told] == [Changed.name] * 3
    assert changes[0].entry_id == entry_id
    assert [(change.balance_minor, change.owed_minor) for change in changes] == [
        (70_00, None), (None, 30_00), (90_00, 0),
    ]  # fmt: skip
    assert all(event["id"].version == 7 for event in told)
    rows = await world.rows("notifications", user_id=owner)
    assert [row["quiet"] for row in rows] == [True] * 3


async def test_refused_entries_tell_nothing(world: World, platform: Platform) -> None:
    source, target = ledger.wallet(uuid4(), "INR"), ledger.platform(AccountKind.FEES, "INR")
    async with world.unchanged(), platform.database.write() as session:
        with pytest.raises(InsufficientFunds):
            await ledger.transfer(session, "too much", source, target, 1)
        await session.close()

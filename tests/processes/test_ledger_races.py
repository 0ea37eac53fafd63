"""The ledger under several processes at once: what is reversed thrice comes back once, and a key has one effect.

`LOCALBAZAAR_RACE_TRANSFERS=5000` and `LOCALBAZAAR_RACE_KEYS=100` are the whole tests.
"""

import asyncio
import multiprocessing
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final
from uuid import UUID, uuid4

import httpx
import pytest

from app.core.config import Settings, settings
from app.core.errors import Problem
from app.kernel import escrow, ledger
from app.kernel.ledger import AccountKind
from app.kernel.platform import Platform, open_platform
from tests.processes.servers import Server
from tests.support.world import Person, World

TRANSFERS: Final = int(os.environ.get("LOCALBAZAAR_RACE_TRANSFERS", "400"))
KEYS: Final = int(os.environ.get("LOCALBAZAAR_RACE_KEYS", "5"))
PROCESSES, WALLETS, REVERSALS, CALLS = 4, 80, 3, 100
FUNDS, OWES = 10_000_00, 100
AT_ONCE: Final = 10
"""Calls under way in each process; as many as it has connections."""

CLEARING: Final = ledger.platform(AccountKind.CLEARING, "INR")


def make(process: int, names: Sequence[str], owners: Sequence[UUID]) -> Counter[str]:
    """In one of the processes: its part of the transfers."""
    return asyncio.run(_in_turn(lambda platform: [transfer(platform, owners, n) for n in names[process::PROCESSES]]))


def take_back(process: int, names: Sequence[str]) -> Counter[str]:
    """In one of the processes: its part of the reversals; those of one transfer are for three different processes."""
    mine = [
        name for number, name in enumerate(names) for turn in range(REVERSALS) if (number + turn) % PROCESSES == process
    ]
    return asyncio.run(_in_turn(lambda platform: [reverse(platform, name) for name in mine]))


async def _in_turn(calls: Callable[[Platform], Sequence[Callable[[], Awaitable[object]]]]) -> Counter[str]:
    async with open_platform(settings()) as platform:
        return await at_once(calls(platform))


def transfer(platform: Platform, owners: Sequence[UUID], name: str) -> Callable[[], Awaitable[object]]:
    order = random.Random(name)
    source, target = (ledger.wallet(owner, "INR") for owner in order.sample(owners, 2))

    async def call() -> None:
        async with platform.database.write_single() as session:
            await ledger.transfer(session, "race", source, target, order.randint(1, 50), idempotency_key=name)

    return call


def reverse(platform: Platform, name: str) -> Callable[[], Awaitable[object]]:
    async def call() -> None:
        async with platform.database.write() as session:
            assert await ledger.reverse(session, name, actor_id=None, reason=None)

    return call


async def at_once(calls: Sequence[Callable[[], Awaitable[object]]]) -> Counter[str]:
    """How often each outcome was: "done", the code of a refusal, or what went wrong."""
    free, outcomes = asyncio.Semaphore(AT_ONCE), Counter[str]()

    async def one(call: Callable[[], Awaitable[object]]) -> None:
        async with free:
            try:
                await call()
                outcomes["done"] += 1
            except Problem as problem:
                outcomes[f"{problem.code}: {problem.__cause__!r}" if problem.status >= 500 else problem.code] += 1
            except Exception as error:
                outcomes[repr(error)] += 1

    await asyncio.gather(*(one(call) for call in calls))
    return outcomes


def summed(counted: Sequence["Future[Counter[str]]"]) -> Counter[str]:
    return sum((part.result() for part in counted), Counter[str]())


async def wealth(world: World, owners: Sequence[UUID]) -> dict[UUID, int]:
    """The wallet less the debt of each."""
    rows = [row for owner in owners for row in await world.rows("accounts", owner_id=owner)]
    return {owner: sum(row["balance"] for row in rows if row["owner_id"] == owner) for owner in owners}


@pytest.mark.timeout(900)
async def test_what_is_reversed_three_times_at_once_over_four_processes_comes_back_once(
    world: World, configured: Settings
) -> None:
    # Given wallets with money, of which every tenth owner owes something
    assert configured.database_url
    owners = [uuid4() for _ in range(WALLETS)]
    async with world.platform.database.write() as session:
        for number, owner in enumerate(owners):
            await ledger.transfer(session, "race_top_up", CLEARING, ledger.wallet(owner, "INR"), FUNDS)
            if number % 10 == 0:
                await escrow.charge_commission(session, ("race", uuid4()), owner, OWES, "INR")
    before = await wealth(world, owners)
    # When four processes make transfers between them, and then reverse each of them three times
    names = [f"race:{uuid4()}" for _ in range(TRANSFERS)]
    context, parts = multiprocessing.get_context("spawn"), range(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, context) as processes:
        made = await asyncio.to_thread(summed, [processes.submit(make, part, names, owners) for part in parts])
        began = time.monotonic()
        reversed_ = await asyncio.to_thread(summed, [processes.submit(take_back, part, names) for part in parts])
    print(f"{REVERSALS} reversals of each of {TRANSFERS} transfers in {time.monotonic() - began:.1f} s")
    # Then each was reversed once, and everybody has what they had before
    assert made == {"done": TRANSFERS}
    assert reversed_ == {"done": TRANSFERS, "already_posted": (REVERSALS - 1) * TRANSFERS}
    assert await wealth(world, owners) == before
    # and what came back to who owed something has repaid that
    for owner in owners[::10]:
        [debt] = await world.rows("accounts", id=ledger.debt(owner, "INR").id)
        assert -OWES <= debt["balance"] <= 0
    await world.books_are_clean()


@pytest.fixture
async def payee(world: World) -> AsyncIterator[Person]:
    """Somebody with an empty wallet; the books are clean when they have got what they were to get."""
    yield await world.person()
    await world.books_are_clean()


@pytest.mark.timeout(900)
async def test_a_hundred_calls_at_once_with_one_key_over_four_processes_have_one_effect(
    world: World, servers: list[Server], payee: Person
) -> None:
    path, told = f"/api/v1/admin/users/{payee.id}/top-ups", Counter[str]()

    async def top_up(server: Server, key: str, amount: int) -> httpx.Response:
        body = {"amount_minor": amount, "reason": "cash"}
        return await server.seen_by(world.admin).post(path, body, headers={"Idempotency-Key": key})

    for number in range(1, KEYS + 1):
        key = secrets.token_hex(16)
        answers = await asyncio.gather(*(top_up(servers[call % PROCESSES], key, number) for call in range(CALLS)))
        done = [answer for answer in answers if answer.status_code == 201]
        assert len({answer.content for answer in done}) == 1
        assert len([answer for answer in done if "idempotency-replayed" not in answer.headers]) == 1
        rest = [answer for answer in answers if answer.status_code != 201]
        assert {(answer.status_code, answer.json()["code"]) for answer in rest} <= {(409, "request_in_flight")}
        assert (await top_up(servers[0], key, number)).content == done[0].content
        told.update(answer.headers.get("idempotency-replayed", str(answer.status_code)) for answer in answers)
    print(f"{KEYS} keys, {CALLS} calls each: {dict(told)}")
    assert await world.balance(payee) == KEYS * (KEYS + 1) // 2
    assert len(await world.rows("entries", subject_id=payee.id)) == KEYS

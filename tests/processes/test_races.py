"""The races of leads.md over four server processes: 200 completions at one instant, 100 purchases at one instant."""

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar
from uuid import UUID

import pytest
from pydantic_core import from_json
from websockets.asyncio.client import ClientConnection

from app.core.actor import Actor
from app.core.config import Settings
from app.kernel.events import emit
from app.models.users import Role
from app.services.service_requests import purchase
from app.services.service_requests.events import SentBack
from tests.processes.servers import Server, buying, handing_in, hold, release
from tests.support.world import Person, World

ROUNDS = int(os.environ.get("LOCALBAZAAR_RACE_ROUNDS", "3"))
RACERS = 200
BUYERS, CAP, FEE_MINOR = 100, 5, 50_00

Result = TypeVar("Result")


async def a_few_at_a_time(work: Iterable[Awaitable[Result]], limit: int = 8) -> list[Result]:
    """Results in order, never more than `limit` at work: the pool of connections is small."""
    free = asyncio.Semaphore(limit)

    async def one(item: Awaitable[Result]) -> Result:
        async with free:
            return await item

    return await asyncio.gather(*(one(item) for item in work))


@pytest.fixture(scope="module")
async def racers(world: World) -> list[Person]:
    return await a_few_at_a_time(world.provider(funds_minor=2 * ROUNDS * FEE_MINOR) for _ in range(RACERS))


async def buy(world: World, provider: Person, request_id: str) -> None:
    """As the API does, without the HTTP."""
    async with world.platform.database.write() as session:
        await purchase.purchase(session, Actor(provider.id, frozenset({Role.PROVIDER})), UUID(request_id))


async def heard_until_marked(world: World, customer: Person, socket: ClientConnection) -> list[dict[str, Any]]:
    """Everything that came before a mark that is emitted now: what has not come by then does not come."""
    async with world.platform.database.write() as session:
        mark = SentBack(service_request_id=customer.id, reason="mark", status="IN_PROGRESS")
        await emit(session, mark, subject_type="service_request", subject_id=customer.id, to=[customer.id])
    heard = []
    async with asyncio.timeout(10):
        async for frame in socket:
            event = from_json(frame)
            if event.get("reason") == "mark":
                break
            heard.append(event)
    return heard


async def test_of_200_completions_at_one_instant_over_four_processes_one_wins(
    world: World, servers: list[Server], racers: list[Person]
) -> None:
    spent = []
    for _ in range(ROUNDS):
        # Given a request that 200 providers have bought, and its customer on a socket of one of the processes
        customer = await world.person()
        request_id = await world.request(servers[0].seen_by(customer))
        await a_few_at_a_time(buy(world, racer, request_id) for racer in racers)
        objects = set(await world.platform.storage.keys())
        async with servers[1].seen_by(customer).socket() as socket:
            requests = [
                (servers[i % 4], handing_in(racer, servers[i % 4], request_id)) for i, racer in enumerate(racers)
            ]
            held = await asyncio.gather(*(hold(server, request) for server, request in requests))

            # When all hand in their proof
            began = time.monotonic()
            answers = await release(held)
            spent.append(time.monotonic() - began)

            # Then one has won, and all the others are told so
            assert Counter(answer.status for answer in answers) == {200: 1, 409: RACERS - 1}
            assert {(a.body["code"], a.body["current_status"]) for a in answers if a.status == 409} == {
                ("already_completed", "COMPLETED")
            }
            winner = next(racer for racer, answer in zip(racers, answers, strict=True) if answer.status == 200)
            request = (await customer.get(f"/api/v1/service-requests/{request_id}")).json()
            assert (request["status"], request["completed_by"]) == ("COMPLETED", str(winner.id))
            # and the customer hears of it once
            heard = await heard_until_marked(world, customer, socket)
            assert [(event["name"], event["provider_id"]) for event in heard] == [
                ("service_request.completed", str(winner.id))
            ]
        # and there is one event, addressed once, and one for all the losers
        events = await world.rows("events", subject_id=UUID(request_id))
        [completed] = [event for event in events if event["name"] == "service_request.completed"]
        [lost] = [event for event in events if event["name"] == "service_request.lost"]
        [notification] = await world.rows("notifications", event_id=completed["id"], quiet=False)
        assert notification["user_id"] == customer.id
        told = {row["user_id"] for row in await world.rows("notifications", event_id=lost["id"], quiet=False)}
        assert told == {racer.id for racer in racers} - {winner.id}
        # and no loser's proof is kept
        kept = {request["proof_id"], f"{request['proof_id']}.thumbnail"}
        assert set(await world.platform.storage.keys()) - objects == kept
        owners = {str(row["id"]): row["owner_id"] for row in await world.rows("files", subject_id=UUID(request_id))}
        assert owners == {request["proof_id"]: winner.id}
        await world.books_are_clean()
    print(f"{ROUNDS} races of {RACERS}: {min(spent):.2f} to {max(spent):.2f} s each")


async def test_of_100_purchases_at_one_instant_over_four_processes_five_succeed(
    world: World, configured: Settings, servers: list[Server], racers: list[Person]
) -> None:
    for _ in range(ROUNDS):
        # Given a request with the usual cap, which the process of the tests gives it
        assert configured.lead_cap == CAP
        customer = await world.person()
        request_id = await world.request(customer)
        buyers = racers[:BUYERS]
        before = {buyer.id: await world.balance(buyer) for buyer in buyers}
        spread = list(zip(buyers, itertools.cycle(servers)))
        held = await asyncio.gather(*(hold(server, buying(buyer, server, request_id)) for buyer, server in spread))

        # When 100 buy it
        answers = await release(held)

        # Then five have it and have paid, and the others neither
        assert Counter((answer.status, answer.body.get("code")) for answer in answers) == {
            (201, None): CAP,
            (409, "lead_sold_out"): BUYERS - CAP,
        }
        won = {buyer.id for buyer, answer in zip(buyers, answers, strict=True) if answer.status == 201}
        leads = await world.rows("lead_purchases", service_request_id=UUID(request_id))
        assert {lead["provider_id"] for lead in leads} == won
        assert len(leads) == CAP
        paid = {buyer.id: before[buyer.id] - await world.balance(buyer) for buyer in buyers}
        assert paid == {buyer.id: FEE_MINOR if buyer.id in won else 0 for buyer in buyers}
        entries = [entry for lead in leads for entry in await world.rows("entries", subject_id=lead["id"])]
        assert [entry["kind"] for entry in entries] == ["lead_fee"] * CAP
        [request] = await world.rows("service_requests", id=UUID(request_id))
        assert request["buyers_count"] == CAP
        await world.books_are_clean()

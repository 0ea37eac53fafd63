"""`Idempotency-Key`: one effect, and the same bytes ever after (spec/README.md: Rules that hold everywhere)."""

import asyncio
import secrets
from typing import Any

import httpx
import pytest

from app.jobs.queue import prune_history
from tests.support.world import ANSWERS, HERE, Person, World

REQUESTS = "/api/v1/service-requests"


def key() -> str:
    return secrets.token_hex(16)


def wanted(world: World, **more: Any) -> dict[str, Any]:
    return {
        "service_id": str(world.services["plumbing"]), "description": "The tap drips.", "answers": ANSWERS,
        "address": "12 Karve Road", "position": HERE.model_dump(), **more,
    }  # fmt: skip


async def post(person: Person, path: str, body: Any, name: str) -> httpx.Response:
    return await person.post(path, body, headers={"Idempotency-Key": name})


@pytest.fixture(scope="module")
async def customer(world: World) -> Person:
    return await world.person()


async def top_up(world: World, person: Person, name: str, amount: int = 100) -> httpx.Response:
    body = {"amount_minor": amount, "reason": "cash"}
    return await post(world.admin, f"/api/v1/admin/users/{person.id}/top-ups", body, name)


async def test_a_replay_is_the_same_answer_to_the_byte(world: World, customer: Person) -> None:
    name = key()
    first = await post(customer, REQUESTS, wanted(world), name)
    assert first.status_code == 201
    async with world.unchanged():
        again = await post(customer, REQUESTS, wanted(world), name)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers


async def test_every_path_that_takes_a_key_replays(world: World, customer: Person) -> None:
    """Purchase, top-up, cancellation, application, a report's decision: what moves money or makes a subject."""
    provider, request_id = await world.provider(), await world.request(customer)
    lead = (await provider.post(f"{REQUESTS}/{await world.request(customer)}/purchase")).json()
    await provider.post(f"/api/v1/leads/{lead['id']}/report", {"reason": "spam", "note": "x"})
    application = {
        "business_name": "Pipes", "bio": "We mend.", "position": HERE.model_dump(), "service_radius_metres": 1000,
        "service_ids": [str(world.services["plumbing"])],
    }  # fmt: skip
    reason = {"reason": "because"}
    calls: list[tuple[Person, str, Any]] = [
        (provider, f"{REQUESTS}/{request_id}/purchase", None),
        (world.admin, f"/api/v1/admin/users/{customer.id}/top-ups", {"amount_minor": 5, "reason": "cash"}),
        (customer, f"{REQUESTS}/{request_id}/cancel", reason),
        (world.support, f"/api/v1/leads/{lead['id']}/accept-report", reason),
        (await world.person(), "/api/v1/me/applications", application),
    ]
    for person, path, body in calls:
        name = key()
        first = await post(person, path, body, name)
        assert first.is_success, first.text
        async with world.unchanged():
            again = await post(person, path, body, name)
        assert (again.status_code, again.content) == (first.status_code, first.content), path
    await world.books_are_clean()


async def test_the_same_key_for_another_request_is_refused(world: World, customer: Person) -> None:
    name = key()
    assert (await top_up(world, customer, name)).status_code == 201
    other = await world.person()
    for attempt in (
        top_up(world, customer, name, amount=101),  # another body
        top_up(world, other, name),  # another path
        post(world.admin, REQUESTS, wanted(world), name),
    ):
        async with world.unchanged():
            answer = await attempt
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_keys_belong_to_their_users(world: World, customer: Person) -> None:
    name = key()
    mine = await post(customer, REQUESTS, wanted(world), name)
    theirs = await post(await world.person(), REQUESTS, wanted(world), name)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


async def test_fifty_equal_calls_at_once_have_one_effect(world: World) -> None:
    # Given an account with a wallet
    person, name = await world.person(), key()
    # When fifty calls with one key come at once
    answers = await asyncio.gather(*(top_up(world, person, name) for _ in range(50)))
    # Then the money came once, and every other answer is the first one or "in flight"
    assert await world.balance(person) == 100
    done = [answer for answer in answers if answer.status_code == 201]
    assert done
    assert len({answer.content for answer in done}) == 1
    rest = [answer for answer in answers if answer.status_code != 201]
    assert {(answer.status_code, answer.json()["code"]) for answer in rest} <= {(409, "request_in_flight")}
    assert len(await world.rows("idempotency_keys", key=name)) == 1
    assert (await top_up(world, person, name)).content == done[0].content
    await world.books_are_clean()


async def test_fifty_equal_purchases_at_once_charge_once(world: World, customer: Person) -> None:
    provider, request_id, name = await world.provider(), await world.request(customer), key()
    path = f"{REQUESTS}/{request_id}/purchase"
    answers = await asyncio.gather(*(post(provider, path, None, name) for _ in range(50)))
    assert await world.balance(provider) == 95_000
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    rest = {(a.status_code, a.json()["code"]) for a in answers if a.status_code != 201}
    assert rest <= {(409, "request_in_flight")}


async def test_a_refusal_is_not_kept(world: World, customer: Person) -> None:
    """It had no effect, so that the same call may succeed later."""
    provider, request_id, name = await world.provider(funds_minor=0), await world.request(customer), key()
    path = f"{REQUESTS}/{request_id}/purchase"
    async with world.unchanged():
        refused = await post(provider, path, None, name)
    assert refused.json()["code"] == "insufficient_funds"
    await top_up(world, provider, key(), amount=5000)
    assert (await post(provider, path, None, name)).status_code == 201


@pytest.mark.parametrize("name", ["short", "x" * 129, "with space"])
async def test_a_key_that_is_none_is_refused(world: World, customer: Person, name: str) -> None:
    async with world.unchanged():
        answer = await customer.post(REQUESTS, wanted(world), headers={"Idempotency-Key": name})
    assert answer.status_code == 422


async def test_keys_are_forgotten_after_a_week(world: World, customer: Person) -> None:
    old, fresh = key(), key()
    for name in (old, fresh):
        await top_up(world, customer, name)
    await world.execute("UPDATE idempotency_keys SET created_at = now() - interval '8 days' WHERE key = :key", key=old)
    await prune_history(world.platform)
    assert [len(await world.rows("idempotency_keys", key=name)) for name in (old, fresh)] == [0, 1]

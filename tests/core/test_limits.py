"""Limits on tries: shared through Valkey, and kept by each process for itself while Valkey is away."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from app.core.config import Settings
from app.core.errors import TooManyRequests
from app.core.limits import Limits, origin


@pytest.fixture
async def limits(configured: Settings) -> AsyncIterator[Limits]:
    opened = Limits(configured)
    yield opened
    await opened.close()


@pytest.fixture
def key() -> str:
    """Somebody whose tries no other test counts."""
    return str(uuid4())


async def used_up(limits: Limits, allowance: str, key: str) -> TooManyRequests | None:
    try:
        await limits.hit(allowance, "test", key)
    except TooManyRequests as refusal:
        return refusal
    return None


async def test_tries_above_the_allowance_are_refused_with_the_time_to_wait(limits: Limits, key: str) -> None:
    # Given three tries used up
    for _ in range(3):
        assert await used_up(limits, "3/minute", key) is None
    # When a fourth comes, then it is told to wait, for a minute at most
    refusal = await used_up(limits, "3/minute", key)
    assert refusal is not None
    assert refusal.status == 429
    assert 50 <= int(refusal.headers["Retry-After"]) <= 61
    assert refusal.document()["retry_after_seconds"] == int(refusal.headers["Retry-After"])


async def test_one_key_does_not_use_up_another(limits: Limits) -> None:
    for _ in range(3):
        assert await used_up(limits, "1/minute", str(uuid4())) is None


async def test_processes_share_one_count(configured: Settings, limits: Limits, key: str) -> None:
    other = Limits(configured)
    assert await used_up(limits, "1/minute", key) is None
    assert await used_up(other, "1/minute", key) is not None
    await other.close()


async def test_tries_at_the_same_instant_are_counted_one_by_one(limits: Limits, key: str) -> None:
    refusals = await asyncio.gather(*(used_up(limits, "5/minute", key) for _ in range(20)))
    assert sum(refusal is None for refusal in refusals) == 5


async def test_tries_that_are_counted_together_are_answered_apart(limits: Limits) -> None:
    # Given many at the same instant, each with an allowance of its own, and half of them gone before the answer
    keys = [str(uuid4()) for _ in range(20)]
    tries = [asyncio.create_task(used_up(limits, f"{n}/minute", key)) for n, key in enumerate(keys)]
    await asyncio.sleep(0)
    for gone in tries[::2]:
        gone.cancel()
    # Then each that stayed got its own answer, and all but the one without any allowance counted once
    assert all(refusal is None for refusal in await asyncio.gather(*tries[1::2]))
    for n, key in enumerate(keys[1:], 1):
        answers = [await used_up(limits, f"{n}/minute", key) for _ in range(n)]
        assert [answer is None for answer in answers] == [True] * (n - 1) + [False]


async def test_the_wait_is_over_when_the_window_has_moved_on(limits: Limits, key: str) -> None:
    assert await used_up(limits, "1/1 second", key) is None
    assert await used_up(limits, "1/1 second", key) is not None
    began = time.monotonic()
    while await used_up(limits, "1/1 second", key) is not None:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.1)


async def test_of_several_allowances_each_holds(limits: Limits, key: str) -> None:
    for _ in range(2):
        assert await used_up(limits, "2/minute;3/hour", key) is None
    refusal = await used_up(limits, "2/minute;3/hour", key)
    assert refusal is not None
    assert int(refusal.headers["Retry-After"]) <= 61


@pytest.mark.parametrize("address", ["redis://127.0.0.1:9/0", "unix:///nowhere/valkey.sock?db=0"])
async def test_without_valkey_a_process_counts_for_itself(configured: Settings, address: str, key: str) -> None:
    # Given an address at which no Valkey listens
    limits = Limits(configured.model_copy(update={"redis_url": address}))
    # Then tries are neither all refused nor all let through
    assert await used_up(limits, "2/minute", key) is None
    assert await used_up(limits, "2/minute", key) is None
    refusal = await used_up(limits, "2/minute", key)
    assert refusal is not None
    assert 1 <= int(refusal.headers["Retry-After"]) <= 61
    await limits.close()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_of_one_customer_count_as_one(one: str, other: str) -> None:
    assert origin(one) == origin(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("192.0.2.7", "192.0.2.8"), ("2001:db8:1:2::1", "2001:db8:1:3::1"), ("::ffff:192.0.2.7", "::ffff:192.0.2.8")],
)
def test_addresses_of_different_customers_count_apart(one: str, other: str) -> None:
    assert origin(one) != origin(other)

"""Whatever people do, in any order and at once: the money of each order adds up, the tallies are what one would count,
and apps that follow the events show what a fresh read shows."""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.database import Statement
from app.core.money import PLATFORM
from tests.notifications.client import Client, becomes_fresh
from tests.support.world import World
from tests.work_orders.histories import OrderHistory

STEPS = int(os.environ.get("LOCALBAZAAR_ORDER_STEPS", "90"))
"""Moves of each history, three at a time."""
SEEDS = int(os.environ.get("LOCALBAZAAR_ORDER_SEEDS", "2"))

Counts = Mapping[str, tuple[int, Any]]

_TALLIES = Statement(
    text("""
WITH whose AS (SELECT cast(:side AS text) AS wanted, cast(:owner AS uuid) AS whoever), lines AS (
    SELECT measure, number, total FROM work_order_tallies, whose WHERE side = wanted AND owner_id = whoever
    UNION ALL
    SELECT line.* FROM work_order_tally_changes, whose, unnest(measures, numbers, totals) AS line
    WHERE CASE wanted WHEN 'advertiser' THEN advertiser_id = whoever WHEN 'booster' THEN booster_id = whoever
                      ELSE true END
)
SELECT measure, sum(number)::bigint AS number, sum(total) AS total FROM lines
GROUP BY measure HAVING sum(number) <> 0 OR sum(total) <> 0
""")
)

# From what was written down beside the tallies: the orders, the rounds of evidence, the audit trail.
_COUNTED = Statement(
    text("""
WITH mine AS (
    SELECT * FROM work_orders
    WHERE CASE cast(:side AS text) WHEN 'advertiser' THEN advertiser_id ELSE booster_id END = cast(:owner AS uuid)
), judged AS (
    SELECT subject_id, verdict, extract(epoch FROM reviewed_at - submitted_at) AS seconds,
           row_number() OVER (PARTITION BY subject_id, verdict ORDER BY number) AS nth
    FROM evidence_rounds WHERE verdict IS NOT NULL AND subject_id IN (SELECT id FROM mine)
), refused AS (
    SELECT subject_id, details ->> 'rejection_category' AS category,
           row_number() OVER (PARTITION BY subject_id ORDER BY id) AS nth
    FROM audit_trail WHERE action = 'reject' AND subject_id IN (SELECT id FROM mine)
)
SELECT 'status:' || status AS measure, count(*) AS number, 0::numeric AS total FROM mine GROUP BY status
UNION ALL
SELECT 'completed', count(*), sum(extract(epoch FROM completed_at - started_at)) FROM mine
WHERE completed_at IS NOT NULL AND started_at IS NOT NULL HAVING count(*) > 0
UNION ALL
SELECT 'earned:' || currency, count(*), sum(earned_minor) FROM mine WHERE earned_minor > 0 GROUP BY currency
UNION ALL
SELECT 'rated', count(*), sum(rating) FROM mine WHERE rating IS NOT NULL HAVING count(*) > 0
UNION ALL
SELECT 'approved', count(*), sum(seconds) FROM judged WHERE verdict = 'approved' HAVING count(*) > 0
UNION ALL
SELECT 'rejected:' || category, count(*), sum(seconds)
FROM judged JOIN refused USING (subject_id, nth) WHERE verdict = 'rejected' GROUP BY category
""")
)

# What each order has moved, by whose account it was.
_MOVED = Statement(
    text("""
SELECT orders.id, orders.price_minor, orders.earned_minor, orders.refunded_minor,
       coalesce(sum(amount) FILTER (WHERE owner_id = buyer_id AND accounts.kind IN ('wallet', 'debt')), 0) AS buyer,
       coalesce(sum(amount) FILTER (WHERE owner_id = booster_id AND accounts.kind IN ('wallet', 'debt')), 0) AS booster,
       coalesce(sum(amount) FILTER (WHERE accounts.kind = 'escrow'), 0) AS held,
       coalesce(sum(amount) FILTER (WHERE accounts.kind = 'commission'), 0) AS commission
FROM work_orders AS orders
JOIN entries ON entries.subject_id = orders.id
JOIN postings ON postings.entry_id = entries.id
JOIN accounts ON accounts.id = postings.account_id
WHERE orders.advertiser_id = cast(:advertiser AS uuid)
GROUP BY orders.id
""")
)


async def _counts(world: World, statement: Statement, side: str, owner: UUID) -> Counts:
    async with world.platform.database.read() as session:
        rows = await session.all(statement, side=side, owner=owner)
    return {row["measure"]: (row["number"], row["total"]) for row in rows}


async def tallies_are_true(history: OrderHistory, before: Counts) -> None:
    world, advertiser = history.world, history.sellers[0]
    for side, owners in (("advertiser", [advertiser]), ("booster", history.people)):
        for owner in owners:
            tallied = await _counts(world, _TALLIES, side, owner.id)
            assert tallied == await _counts(world, _COUNTED, side, owner.id), side
    # and the platform's have grown by what the only advertiser's are
    platform: Counter[str] = Counter()
    for measure, (number, _) in (await _counts(world, _TALLIES, "platform", PLATFORM)).items():
        platform[measure] = number - before.get(measure, (0, 0))[0]
    sold = await _counts(world, _TALLIES, "advertiser", advertiser.id)
    assert {measure: number for measure, number in platform.items() if number} == {
        measure: number for measure, (number, _) in sold.items()
    }


async def money_adds_up(history: OrderHistory) -> None:
    world = history.world
    async with world.platform.database.read() as session:
        rows = await session.all(_MOVED, advertiser=history.sellers[0].id)
    assert len(rows) == len(await history.orders())
    for row in rows:
        price, earned, refunded = row["price_minor"], row["earned_minor"], row["refunded_minor"]
        parts = [row[name] for name in ("buyer", "booster", "held", "commission")]
        if earned is None:
            assert parts == [-price, 0, price, 0]
        else:
            assert parts == [refunded - price, earned, 0, price - earned - refunded]
    await world.books_are_clean()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_in_any_history_money_adds_up_tallies_are_true_and_lists_stay_fresh(world: World, seed: int) -> None:
    # Given people, each with an app on two devices
    before = await _counts(world, _TALLIES, "platform", PLATFORM)
    history = OrderHistory(world, seed)
    await history.begin()
    everybody = [*history.people, *history.sellers]
    clients = [Client(person) for person in everybody for _ in range(2)]
    async with AsyncExitStack() as closing_time:
        for client in clients:
            closing_time.push_async_callback(client.cut)
        await asyncio.gather(*(client.start() for client in clients))
        # When they do things, three at once
        for round_number in range(STEPS // 3):
            await asyncio.gather(*(history.move() for _ in range(3)))
            if round_number % 10 == 9:
                # Then, at any time, every app shows what the server knows
                await asyncio.gather(*(becomes_fresh(client) for client in clients))
        await asyncio.gather(*(becomes_fresh(client) for client in clients))
    # and nothing was lost on the way
    await tallies_are_true(history, before)
    await money_adds_up(history)
    # and it was a history, with several kinds of moves: people get into each other's way, more so on a busy machine
    assert len(history.done) > 4, history.done

"""Many keys, each used by many calls at once: one payment for each key."""

import asyncio
import os
import secrets

import httpx
import pytest

from tests.payments.steps import AMOUNT, PAYMENTS
from tests.support.world import World

KEYS = int(os.environ.get("LOCALBAZAAR_PAYMENT_KEYS", "10"))
CALLS = int(os.environ.get("LOCALBAZAAR_PAYMENT_KEY_CALLS", "20"))
AT_ONCE = 64


@pytest.mark.timeout(3600)
async def test_each_key_makes_one_payment_however_many_calls_come_at_once(world: World) -> None:
    person = await world.person()
    keys = [secrets.token_hex(16) for _ in range(KEYS)]
    free = asyncio.Semaphore(AT_ONCE)

    async def call(key: str) -> httpx.Response:
        async with free:
            body = {"purpose": "top_up", "amount_minor": AMOUNT}
            return await person.post(PAYMENTS, body, headers={"Idempotency-Key": key})

    calls = [(key, call(key)) for _ in range(CALLS) for key in keys]
    answers = list(zip((key for key, _ in calls), await asyncio.gather(*(one for _, one in calls)), strict=True))
    ids = set()
    for key in keys:
        mine = [answer for name, answer in answers if name == key]
        [content] = {answer.content for answer in mine if answer.status_code == 201}
        rest = {(answer.status_code, answer.json()["code"]) for answer in mine if answer.status_code != 201}
        assert rest <= {(409, "request_in_flight")}
        ids.add(httpx.Response(201, content=content).json()["id"])
    assert {str(row["id"]) for row in await world.rows("payments", payer_id=person.id)} == ids
    assert len(ids) == KEYS
    in_flight = sum(answer.status_code == 409 for _, answer in answers)
    print(f"{KEYS} keys x {CALLS} calls: {len(ids)} payments, {in_flight} in flight")

"""One customer may have so many open requests: the next one is refused, also when all come at once."""

import asyncio

import pytest

from app.core.config import settings
from app.services.service_requests import creation
from tests.service_requests.conftest import PATH, succeed
from tests.support.world import World

LIMIT = 3


@pytest.fixture(autouse=True)
def _limited(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = settings().model_copy(update={"service_requests_open_per_customer": LIMIT})
    monkeypatch.setattr(creation, "settings", lambda: limited)


async def test_of_a_crowd_of_requests_no_more_than_the_limit_are_opened(world: World) -> None:
    # Given a customer without requests
    customer = await world.person()
    # When twenty are posted at once
    payload = world.request_payload()
    answers = await asyncio.gather(*(customer.post(PATH, payload) for _ in range(20)))
    # Then as many as may be open are, and the others are refused with the limit
    assert sorted(answer.status_code for answer in answers) == [201] * LIMIT + [409] * (20 - LIMIT)
    refused = next(answer for answer in answers if answer.status_code == 409).json()
    assert (refused["code"], refused["limit"]) == ("too_many_open_requests", LIMIT)
    assert len(await world.rows("service_requests", customer_id=customer.id)) == LIMIT


async def test_who_closes_one_may_open_another(world: World) -> None:
    customer = await world.person()
    first, *_ = [await world.request(customer) for _ in range(LIMIT)]
    async with world.unchanged():
        assert (await customer.post(PATH, world.request_payload())).status_code == 409
    await succeed(customer.post(f"{PATH}/{first}/cancel", {"reason": "I mended it myself"}))
    await succeed(customer.post(PATH, world.request_payload()))

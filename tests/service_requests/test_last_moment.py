"""Whoever bought in the very last moment is told like everybody else how the request went on."""

import asyncio
from uuid import UUID

import pytest

from app.core.actor import Actor
from app.models.service_requests import ServiceRequestStatus as Status
from app.models.users import Role
from app.services.service_requests import purchase
from tests.service_requests.conftest import PATH, Cast
from tests.support.world import World


@pytest.mark.parametrize("action", ["complete", "cancel"])
async def test_a_buyer_of_the_last_moment_is_told(world: World, cast: Cast, action: str) -> None:
    request_id = await cast.request(Status.PURCHASED)
    body = {"proof_id": await cast.winner.upload()} if action == "complete" else {"reason": "mended"}
    who, event = {
        "complete": (cast.winner, "service_request.lost"),
        "cancel": (cast.customer, "service_request.cancelled"),
    }[action]
    # Given a third buyer, whose purchase is not committed yet
    async with world.platform.database.write() as session:
        await purchase.purchase(session, Actor(cast.matching.id, frozenset({Role.PROVIDER})), UUID(request_id))
        # When the request is completed or cancelled, which has to wait for that
        ending = asyncio.create_task(who.post(f"{PATH}/{request_id}/{action}", body))
        await world.waits(1)
    assert (await ending).status_code == 200
    # Then the third one hears of it too
    assert dict(await world.told(request_id))[event] >= {cast.purchaser.id, cast.matching.id}

"""Steps that tests of webhooks share: endpoints, events for their owners, attempts, and the clock."""

from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import text

from app.core.database import Statement
from app.jobs import webhooks
from app.kernel.events import Event, emit
from app.services.webhook_endpoints import spreading
from tests.support.receiver import Received
from tests.support.world import Person, World

DAY = 24 * 3600
ENDPOINTS = "/api/v1/webhook-endpoints"
_NEWEST = (
    "UPDATE relay_cursors SET (xid, seq) = (SELECT xid, seq FROM events ORDER BY xid DESC, seq DESC LIMIT 1)"
    " WHERE consumer = 'webhooks'"
)
_HORIZON = Statement(text("SELECT pg_snapshot_xmin(s) = pg_snapshot_xmax(s) FROM pg_current_snapshot() AS s"))
_DUE_IN = Statement(
    text(
        "SELECT extract(epoch FROM min(due_at) - now())::float8 FROM webhook_deliveries"
        " WHERE endpoint_id = cast(:id AS uuid) AND status = 'PENDING'"
    )
)


class _Numbered(Event):
    number: int


class Hooked(_Numbered):
    name: ClassVar = "hook_test.happened"
    messages: ClassVar = {"en": "Number {number} happened.", "hi": "संख्या {number} हुई।"}


class Other(_Numbered):
    name: ClassVar = "hook_test_other.happened"
    messages: ClassVar = {"en": "Something else happened."}


async def only_what_comes(world: World) -> None:
    """What earlier tests left behind is sent nowhere."""
    await world.execute("DELETE FROM webhook_deliveries")
    await world.execute("DELETE FROM webhook_endpoints")
    await world.execute(_NEWEST)


async def register(owner: Person, url: str, *types: str, **more: Any) -> dict[str, Any]:
    """A new endpoint, with its secret."""
    answer = await owner.post(ENDPOINTS, {"url": url, "types": list(types or ("hook_test.*",))} | more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def happen(world: World, owner: Person, *numbers: int, event: type[_Numbered] = Hooked) -> list[str]:
    """Events for the owner, spread to the endpoints; their ids."""
    async with world.platform.database.write() as session:
        subject = uuid4()
        for number in numbers:
            await emit(session, event(number=number), subject_type="test", subject_id=subject, to=[owner.id])
    await spread(world)
    return [str(row["id"]) for row in await world.rows("events", subject_id=subject)]


async def spread(world: World) -> None:
    """Until every event so far has become its deliveries."""
    async with world.platform.database.read() as session:
        while not await session.scalar(_HORIZON):
            pass
    while await spreading.spread(world.platform):
        pass


async def send_due(world: World) -> int:
    return await webhooks.send_due(world.platform)


async def deliveries(owner: Person, endpoint: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    answer = await owner.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def read(owner: Person, endpoint: dict[str, Any]) -> dict[str, Any]:
    return dict((await owner.get(f"{ENDPOINTS}/{endpoint['id']}")).json())


async def pass_time(world: World, endpoint: dict[str, Any], seconds: float) -> None:
    """Turn the clock for one endpoint: all that is stored about it happened, and is due, so much earlier."""
    values = {"id": UUID(endpoint["id"]), "seconds": seconds}
    ago = "cast(:seconds AS double precision) * interval '1 second'"
    await world.execute(
        f"UPDATE webhook_deliveries SET due_at = due_at - {ago}, give_up_at = give_up_at - {ago},"
        f" created_at = created_at - {ago} WHERE endpoint_id = :id",
        **values,
    )
    await world.execute(
        f"UPDATE webhook_endpoints SET failing_since = failing_since - {ago}, created_at = created_at - {ago},"
        f" previous_secret_until = previous_secret_until - {ago} WHERE id = :id",
        **values,
    )


async def seconds_until_due(world: World, endpoint: dict[str, Any]) -> float | None:
    """How long until the next attempt; None when nothing waits."""
    async with world.platform.database.read() as session:
        found: float | None = await session.scalar(_DUE_IN, id=UUID(endpoint["id"]))
    return found


def by_id(received: list[Received]) -> Iterator[str]:
    return (one.headers["webhook-id"] for one in received)

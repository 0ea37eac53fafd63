"""What integrators' programs ask: the event log with an API key, and webhook endpoints."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from app.core.security import digest, opaque_token
from app.models.api_keys import Scope
from app.services.api_keys.keys import MARK
from bench.paths.asking import COUNT, Question, holder, person
from bench.paths.town import Town, in_turn

_DELIVERED: Final = 200
_KEY: Final = """
INSERT INTO api_keys (id, user_id, name, prefix, key_hash, scopes) VALUES (uuidv7(), $1, 'bench', 'lb_bench', $2, $3)
"""
# Switched off, so that nothing is sent anywhere while others are measured.
_ENDPOINTS: Final = """
WITH made AS (
    INSERT INTO webhook_endpoints (id, owner_id, url, types, description, status, disabled_reason, sealed_secret)
    SELECT uuidv7(), owner_id, 'https://hooks.example.com/' || n, '{*}', '', 'DISABLED', 'by_hand', ''
    FROM unnest($1::uuid[]) AS owner_id, generate_series(1, 3) n
    RETURNING id, owner_id
), sent AS (
    INSERT INTO webhook_deliveries (endpoint_id, event_id, event_name, status, give_up_at, claims, tries)
    SELECT id, uuidv7(), 'service_request.sent_back', 'DELIVERED', now() + interval '1 day', 1, 1
    FROM made, generate_series(1, $2::int)
)
SELECT id, owner_id FROM made
"""


class _Endpoint(NamedTuple):
    id: UUID
    owner_id: UUID


async def questions(town: Town) -> Sequence[Question]:
    world = town.world
    some = in_turn(world.crowd, COUNT)
    own = await _key(town, world.crowd[0].id, Scope.EVENTS_READ)
    every = await _key(town, (await town.admin()).id, Scope.EVENTS_READ_ALL)
    rows = await town.fetch(_ENDPOINTS, [each.id for each in world.providers], _DELIVERED)
    endpoints = [_Endpoint(**row) for row in rows][:COUNT]
    owner, user = person(world, "owner_id"), person(world, "user_id")
    one = "webhook-endpoints/{id}"
    return [
        Question("own events", holder(own).get("events"), some),
        Question("own events of a family", holder(own).get("events?types=work_order.*"), some),
        Question("everybody's events", holder(every).get("events"), some),
        Question("everybody's events of a family", holder(every).get("events?types=work_order.*"), some),
        Question("own API keys", user.get("me/api-keys"), some),
        Question("webhook endpoints", owner.get("webhook-endpoints"), endpoints),
        Question("read an endpoint", owner.get(one), endpoints),
        Question("its deliveries", owner.get(f"{one}/deliveries"), endpoints),
        Question("failed deliveries", owner.get(f"{one}/deliveries?status=FAILED"), endpoints),
    ]


async def _key(town: Town, user_id: UUID, scope: Scope) -> str:
    key = f"{MARK}{opaque_token()}"
    await town.fetch(_KEY, user_id, digest(key), [scope])
    return key

"""One's own account: sessions, what one was told, and by which ways one is told."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from app.core.security import digest, opaque_token
from bench.paths.asking import COUNT, NOBODY, Question, person
from bench.paths.town import Town, in_turn

_REFRESH: Final = """
INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
SELECT hash, session_id, now() + interval '1 hour' FROM unnest($1::bytea[], $2::uuid[]) AS token (hash, session_id)
"""
_EVENTS: Final = """
SELECT DISTINCT ON (user_id) user_id, event_id AS id FROM notifications WHERE user_id = any ($1::uuid[])
"""


class _Token(NamedTuple):
    refresh_token: str


class _Told(NamedTuple):
    user_id: UUID
    id: UUID


async def questions(town: Town) -> Sequence[Question]:
    world = town.world
    customers, providers, crowd = (in_turn(people, COUNT) for people in (world.customers, world.providers, world.crowd))
    tokens = [_Token(opaque_token()) for _ in crowd]
    hashes = [digest(token.refresh_token) for token in tokens]
    await town.fetch(_REFRESH, hashes, [each.session_id for each in world.crowd[:COUNT]])
    told = [_Told(**row) for row in await town.fetch(_EVENTS, [each.user_id for each in crowd])]
    user, provider = person(world, "user_id"), person(world, "user_id", "provider")
    chosen = {"preferences": [{"family": "service_request", "channel": "mail", "wanted": True}]}
    preferences = "me/notification-preferences"
    return [
        Question("account", user.get("me"), customers),
        Question("own sessions", user.get("auth/sessions"), customers),
        Question("refresh the tokens", NOBODY.post("auth/refresh", lambda token: token._asdict()), tokens),
        Question("provider profile", provider.get("me/provider"), providers),
        Question("own applications", user.get("me/applications"), customers),
        Question("socket ticket", user.post("ws/tickets"), customers),
        Question("feed", user.get("notifications"), crowd),
        Question("feed, after much has happened", user.get("notifications"), customers),
        Question("mark one as read", user.post("notifications/{id}/read"), told),
        Question("mark the feed as read", user.post("notifications/read"), crowd),
        Question("notification preferences", user.get(preferences), customers),
        Question("choose preferences", user.put(preferences, chosen), customers),
        Question("own devices", user.get("me/devices"), customers),
    ]

"""API keys: shown once, open what their scopes name and nothing else, and end at once on every process."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.config import Settings
from app.core.security import digest
from app.kernel.platform import Platform
from app.models.users import Role
from app.services.api_keys.checking import LiveKeys
from tests.support.world import Person, World
from tests.users.steps import instance

KEYS = "/api/v1/me/api-keys"
EVENTS = "/api/v1/events"
REASON = {"reason": "For the test."}


async def made(person: Person, *scopes: str, **more: Any) -> dict[str, Any]:
    answer = await person.post(KEYS, {"name": "Books", "scopes": list(scopes or ("events:read",))} | more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def asks(http: httpx.AsyncClient, key: str, path: str = EVENTS) -> httpx.Response:
    return await http.get(path, headers={"Authorization": f"Bearer {key}"})


async def test_a_key_is_shown_once_and_stored_as_a_hash_only(world: World) -> None:
    # Given somebody who makes a key
    person = await world.person()
    key = await made(person)
    assert key["key"].startswith(f"{key['prefix']}_")
    assert len(key["key"]) - len(key["prefix"]) > 43
    # Then it opens what its scope names
    assert (await asks(world.http, key["key"])).status_code == 200
    # And the list shows all but the key, which is nowhere in the database
    (listed,) = (await person.get(KEYS)).json()
    assert listed == {name: value for name, value in key.items() if name != "key"}
    (row,) = await world.rows("api_keys", id=UUID(key["id"]))
    assert row["key_hash"] == digest(key["key"])
    assert key["key"] not in str(row)
    # And the owner is told, without the key
    ((name, heard),) = await world.told(key["id"])
    assert (name, heard) == ("api_key.created", {person.id})
    assert key["key"] not in str(await world.rows("events", subject_id=UUID(key["id"])))


async def test_ordinary_routes_refuse_keys(world: World) -> None:
    key = await made(await world.person(), "events:read", "webhooks:manage")
    for path in ("/api/v1/me", KEYS, "/api/v1/notifications", "/api/v1/wallet", "/api/v1/events/stream"):
        async with world.unchanged():
            answer = await asks(world.http, key["key"], path)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), path


async def test_a_key_makes_no_keys(world: World) -> None:
    key = await made(await world.person(), "events:read", "webhooks:manage")
    async with world.unchanged():
        answer = await world.http.post(
            KEYS,
            json={"name": "More", "scopes": ["events:read"]},
            headers={"Authorization": f"Bearer {key['key']}"},
        )
    assert answer.status_code == 401


@pytest.mark.parametrize(("scope", "path"), [("webhooks:manage", EVENTS), ("events:read", "/api/v1/webhook-endpoints")])
async def test_a_scope_that_the_key_does_not_hold_is_refused(world: World, scope: str, path: str) -> None:
    key = await made(await world.person(), scope)
    answer = await asks(world.http, key["key"], path)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_required")


async def test_an_access_token_is_no_key(world: World) -> None:
    person = await world.person()
    assert (await person.get(EVENTS)).status_code == 401


@pytest.mark.parametrize("spoilt", ["lb_", "lb_00000000_", "lb_" + "x" * 60, "lb_\N{SNOWMAN}"])
async def test_what_is_no_key_is_refused(world: World, spoilt: str) -> None:
    headers = [(b"authorization", f"Bearer {spoilt}".encode())]
    answer = await world.http.get(EVENTS, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_one_changed_character_makes_it_another_key(world: World) -> None:
    key = (await made(await world.person()))["key"]
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert (await asks(world.http, changed)).status_code == 401


async def seconds_until_refused(http: httpx.AsyncClient, key: str) -> float:
    began = time.monotonic()
    while (await asks(http, key)).status_code != 401:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_revoked_key_stops_at_once_at_every_instance(world: World, configured: Settings) -> None:
    async with instance(configured) as other:
        # Given a key that two instances know
        person = await world.person()
        key = await made(person)
        assert (await asks(world.http, key["key"])).status_code == 200
        assert (await asks(other.http, key["key"])).status_code == 200
        # When its owner revokes it at the first
        assert (await person.call("DELETE", f"{KEYS}/{key['id']}")).status_code == 200
        # Then the first refuses the very next request, and the other soon after
        assert (await asks(world.http, key["key"])).status_code == 401
        assert await seconds_until_refused(other.http, key["key"]) <= 1.5
        assert (await person.get(KEYS)).json() == []
        assert (await person.call("DELETE", f"{KEYS}/{key['id']}")).status_code == 404


async def test_a_lost_hint_costs_a_second_and_no_more(world: World) -> None:
    person = await world.person()
    key = await made(person)
    assert (await asks(world.http, key["key"])).status_code == 200
    await world.execute("UPDATE api_keys SET revoked_at = now() WHERE id = cast(:id AS uuid)", id=key["id"])
    assert await seconds_until_refused(world.http, key["key"]) <= 1.5


@pytest.mark.parametrize("action", ["suspend", "ban"])
async def test_keys_of_a_suspended_owner_stop_at_once(world: World, action: str) -> None:
    person = await world.person()
    key = await made(person)
    assert (await asks(world.http, key["key"])).status_code == 200
    assert (await world.admin.post(f"/api/v1/admin/users/{person.id}/{action}", REASON)).status_code == 200
    assert (await asks(world.http, key["key"])).status_code == 401


async def test_strangers_neither_see_nor_revoke_a_key(world: World) -> None:
    key = await made(await world.person())
    stranger = await world.person()
    async with world.unchanged():
        answer = await stranger.call("DELETE", f"{KEYS}/{key['id']}")
    assert (answer.status_code, (await stranger.get(KEYS)).json()) == (404, [])
    assert (await asks(world.http, key["key"])).status_code == 200


async def test_an_expired_key_opens_nothing_and_is_listed_no_more(world: World) -> None:
    person = await world.person()
    soon = datetime.now(UTC) + timedelta(hours=1)
    key = await made(person, expires_at=soon.isoformat())
    await world.execute("UPDATE api_keys SET expires_at = now() WHERE id = cast(:id AS uuid)", id=key["id"])
    assert (await asks(world.http, key["key"])).status_code == 401
    assert (await person.get(KEYS)).json() == []


async def test_a_key_that_would_have_expired_is_not_made(world: World) -> None:
    person = await world.person()
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    async with world.unchanged():
        answer = await person.post(KEYS, {"name": "Old", "scopes": ["events:read"], "expires_at": past})
    assert (answer.status_code, answer.json()["code"]) == (422, "expiry_passed")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_admins_make_keys_that_see_everything(world: World, role: Role) -> None:
    person = await world.person(role)
    async with world.unchanged():
        answer = await person.post(KEYS, {"name": "All", "scopes": ["events:read_all"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


async def test_seeing_everything_ends_with_the_role(world: World) -> None:
    # Given an admin's key for everything
    person = await world.person(Role.ADMIN)
    key = await made(person, "events:read_all")
    assert (await asks(world.http, key["key"])).status_code == 200
    # When the role goes
    await world.execute("DELETE FROM user_roles WHERE user_id = :id AND role = 'admin'", id=person.id)
    # Then the key opens nothing, within a second
    began = time.monotonic()
    while (await asks(world.http, key["key"])).status_code != 403:
        assert time.monotonic() - began <= 1.5
        await asyncio.sleep(0.01)


async def test_of_many_at_once_no_more_are_made_than_an_account_may_have(world: World, platform: Platform) -> None:
    person = await world.person()
    limit = platform.settings.api_keys_per_user
    body = {"name": "One of many", "scopes": ["events:read"]}
    answers = await asyncio.gather(*(person.post(KEYS, body) for _ in range(limit + 8)))
    assert sorted(answer.status_code for answer in answers) == [201] * limit + [409] * 8
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"too_many_api_keys"}
    assert len((await person.get(KEYS)).json()) == limit


async def test_the_last_use_is_noted_aside_from_the_requests(world: World, platform: Platform) -> None:
    # Given a key that a process has let through
    person = await world.person()
    key = await made(person)
    keys = LiveKeys(platform)
    await keys.key(key["key"])
    (listed,) = (await person.get(KEYS)).json()
    assert listed["last_used_at"] is None
    # When the process stores what was used
    await keys.note_uses()
    # Then the owner sees it
    (listed,) = (await person.get(KEYS)).json()
    noted = listed["last_used_at"]
    assert noted is not None
    # And a use right after is not stored again
    await keys.key(key["key"])
    await keys.note_uses()
    assert (await person.get(KEYS)).json()[0]["last_used_at"] == noted


async def test_a_key_has_an_allowance_and_is_told_what_is_left(world: World, configured: Settings) -> None:
    key = (await made(await world.person()))["key"]
    async with instance(configured.model_copy(update={"api_key_requests": "3/minute"})) as tight:
        answers = [await asks(tight.http, key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers[:3]] == ["2", "1", "0"]
    assert answers[0].headers["RateLimit-Limit"] == "3"
    assert 0 < int(answers[0].headers["RateLimit-Reset"]) <= 61
    assert int(answers[3].headers["Retry-After"]) > 0

"""Registering webhook endpoints and looking after them: the owner's alone, bounded, with secrets that nobody reads."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.kernel.platform import Platform
from app.services.webhook_endpoints import endpoints as service
from tests.api_keys.test_api_keys import made
from tests.support.world import Person, World
from tests.webhook_endpoints.steps import ENDPOINTS, happen, only_what_comes, read, register, send_due

URL = "http://127.0.0.1:9/hook"
NOWHERE = UUID(int=1)


async def test_an_endpoint_is_registered_read_changed_and_deleted(world: World) -> None:
    owner = await world.person()
    made = await register(owner, URL, "service_request.*", "lead.purchased", description="Books")
    assert made["secret"].startswith("whsec_")
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert (await owner.get(ENDPOINTS)).json() == [shown]
    assert await read(owner, made) == shown
    assert (shown["status"], shown["types"], shown["failing_since"]) == (
        "ENABLED",
        ["lead.purchased", "service_request.*"],
        None,
    )
    # When it is changed in part
    changed = (await owner.call("PATCH", f"{ENDPOINTS}/{made['id']}", json={"types": ["*"]})).json()
    assert (changed["types"], changed["url"], changed["description"]) == (["*"], URL, "Books")
    # And deleted
    assert (await owner.call("DELETE", f"{ENDPOINTS}/{made['id']}")).status_code == 200
    assert (await owner.get(ENDPOINTS)).json() == []
    assert (await owner.get(f"{ENDPOINTS}/{made['id']}")).status_code == 404


async def test_the_owner_is_told_where_events_of_the_account_go(world: World) -> None:
    # Given somebody at whose signed-in device another person sits
    owner = await world.person()
    made = await register(owner, URL)
    path = f"{ENDPOINTS}/{made['id']}"
    # When an endpoint was registered, changed in other things, and sent elsewhere
    for change in ({"description": "Harmless"}, {"url": URL}, {"url": f"{URL}/elsewhere"}):
        assert (await owner.call("PATCH", path, json=change)).status_code == 200
    # Then the owner has heard of both addresses, and nothing else
    feed = [item["event"] for item in (await owner.get("/api/v1/notifications")).json()["items"]]
    assert [(event["name"], event["url"]) for event in feed if "webhook_endpoint_id" in event] == [
        ("webhook_endpoint.moved", f"{URL}/elsewhere"),
        ("webhook_endpoint.registered", URL),
    ]


async def test_the_secret_is_shown_once_and_sealed_where_it_is_stored(world: World, platform: Platform) -> None:
    made = await register(await world.person(), URL)
    (row,) = await world.rows("webhook_endpoints", id=UUID(made["id"]))
    assert made["secret"] not in str(row)
    assert platform.seals.open(row["sealed_secret"], row["id"]) == made["secret"]


async def calls(person: Person, endpoint_id: str | UUID) -> list[httpx.Response]:
    """Everything that can be done with an endpoint."""
    path = f"{ENDPOINTS}/{endpoint_id}"
    return [
        await person.get(path),
        await person.call("PATCH", path, json={"description": "Mine now"}),
        await person.call("DELETE", path),
        await person.post(f"{path}/disable"),
        await person.post(f"{path}/enable"),
        await person.post(f"{path}/secret"),
        await person.get(f"{path}/deliveries"),
        await person.post(f"{path}/deliveries/{NOWHERE}/replay"),
    ]


async def test_a_strangers_endpoint_is_not_there(world: World) -> None:
    owner = await world.person()
    made = await register(owner, URL)
    before = await world.rows("webhook_endpoints", id=UUID(made["id"]))
    for person in (await world.person(), world.admin, world.support):
        async with world.unchanged():
            answers = await calls(person, made["id"])
        assert [answer.status_code for answer in answers] == [404] * len(answers)
        assert (await person.get(ENDPOINTS)).json() == []
    assert await world.rows("webhook_endpoints", id=UUID(made["id"])) == before


async def test_a_key_with_the_scope_manages_its_owners_endpoints(world: World) -> None:
    owner = await world.person()
    key = await made(owner, "webhooks:manage")
    headers = {"Authorization": f"Bearer {key['key']}"}
    answer = await world.http.post(ENDPOINTS, json={"url": URL, "types": ["*"]}, headers=headers)
    assert answer.status_code == 201
    assert int(answer.headers["RateLimit-Remaining"]) > 0
    assert [item["id"] for item in (await owner.get(ENDPOINTS)).json()] == [answer.json()["id"]]
    # And nobody else's
    other = await register(await world.person(), URL)
    async with world.unchanged():
        refused = await world.http.delete(f"{ENDPOINTS}/{other['id']}", headers=headers)
    assert refused.status_code == 404


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"types": []}, "validation_failed"),
        ({"types": ["nonsense"]}, "validation_failed"),
        ({"types": ["nonsense.happened"]}, "event_type_unknown"),
        ({"types": ["*"] * 51}, "validation_failed"),
        ({"url": "ftp://127.0.0.1/"}, "validation_failed"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "url_refused"),
        ({"url": "https://user:secret@example.com/"}, "url_refused"),
        ({"url": "https://" + "a" * 2000}, "validation_failed"),
        ({"url": "http://10.0.0.1/"}, "url_refused"),
        ({"description": "x" * 201}, "validation_failed"),
        ({"secret": "whsec_mine"}, "validation_failed"),
    ],
)
async def test_what_makes_no_sense_is_refused(world: World, changed: dict[str, Any], code: str) -> None:
    owner = await world.person()
    async with world.unchanged():
        answer = await owner.post(ENDPOINTS, {"url": URL, "types": ["*"]} | changed)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_an_address_is_checked_when_it_is_changed_too(world: World) -> None:
    owner = await world.person()
    made = await register(owner, URL)
    answer = await owner.call("PATCH", f"{ENDPOINTS}/{made['id']}", json={"url": "https://192.168.0.1/"})
    assert (answer.status_code, answer.json()["code"]) == (422, "url_refused")
    assert (await read(owner, made))["url"] == URL


async def test_of_many_at_once_no_more_are_registered_than_an_account_may_have(
    world: World, platform: Platform
) -> None:
    owner = await world.person()
    limit = platform.settings.webhook_endpoints_per_user
    answers = await asyncio.gather(*(owner.post(ENDPOINTS, {"url": URL, "types": ["*"]}) for _ in range(limit + 8)))
    assert sorted(answer.status_code for answer in answers) == [201] * limit + [409] * 8
    assert len((await owner.get(ENDPOINTS)).json()) == limit


async def test_a_disabled_endpoint_gets_nothing_and_an_enabled_one_what_happens_from_then_on(world: World) -> None:
    await only_what_comes(world)
    owner = await world.person()
    made = await register(owner, URL)
    path = f"{ENDPOINTS}/{made['id']}"
    disabled = (await owner.post(f"{path}/disable")).json()
    assert (disabled["status"], disabled["disabled_reason"]) == ("DISABLED", "by_hand")
    again = await owner.post(f"{path}/disable")
    assert (again.status_code, again.json()["allowed_actions"]) == (409, ["enable"])
    await happen(world, owner, 1)
    assert await send_due(world) == 0
    assert (await owner.post(f"{path}/enable")).json()["status"] == "ENABLED"
    (event_id,) = await happen(world, owner, 2)
    assert [str(row["event_id"]) for row in await world.rows("webhook_deliveries")] == [event_id]


async def test_secrets_are_sealed_anew_under_the_first_key(world: World, platform: Platform) -> None:
    owner = await world.person()
    made = await register(owner, URL)
    rotated = (await owner.post(f"{ENDPOINTS}/{made['id']}/secret")).json()
    (before,) = await world.rows("webhook_endpoints", id=UUID(made["id"]))
    assert await service.reseal(platform) >= 1
    (after,) = await world.rows("webhook_endpoints", id=UUID(made["id"]))
    for column, secret in (("sealed_secret", rotated["secret"]), ("sealed_previous_secret", made["secret"])):
        assert after[column] != before[column]
        assert platform.seals.open(after[column], UUID(made["id"])) == secret

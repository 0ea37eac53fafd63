"""The account as its owner sees and changes it."""

import httpx
import pytest

from tests.support.world import World
from tests.users.steps import eventually


async def test_the_account_shows_what_was_signed_up_with(world: World) -> None:
    person = await world.person(name="Asha Rao", language="hi")
    me = (await person.get("/api/v1/me")).json()
    assert me["created_at"].endswith(("Z", "+00:00"))
    del me["created_at"]
    assert me == {
        "id": str(person.id), "name": "Asha Rao", "email": person.email, "phone": person.phone, "status": "ACTIVE",
        "language": "hi", "roles": ["customer"], "requested_role": "customer",
    }  # fmt: skip


async def test_name_and_language_change_one_by_one(world: World) -> None:
    person = await world.person(name="Asha")
    changed = (await person.call("PATCH", "/api/v1/me", json={"name": "  Asha Rao "})).json()
    assert (changed["name"], changed["language"]) == ("Asha Rao", "en")
    changed = (await person.call("PATCH", "/api/v1/me", json={"language": "hi"})).json()
    assert (changed["name"], changed["language"]) == ("Asha Rao", "hi")
    assert (await person.get("/api/v1/me")).json() == changed


async def test_a_new_language_words_the_feed_at_once(world: World) -> None:
    # Given a feed in English
    person = await world.person()

    async def sentences() -> list[str]:
        return [item["event"]["message"] for item in (await person.get("/api/v1/notifications")).json()["items"]]

    assert "Your account is active." in await sentences()
    # When the language changes, then the very next look is in Hindi
    await person.call("PATCH", "/api/v1/me", json={"language": "hi"})
    assert "आपका खाता सक्रिय हो गया है।" in await sentences()


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""}, {"name": " "}, {"name": "n" * 201}, {"name": "nul\x00"}, {"language": "tlh"},
        {"email": "new@mail.localbazaar.in"}, {"phone": "+919876543210"}, {"status": "ACTIVE"}, {"roles": ["admin"]},
        {"id": "1"}, {"password": "another fine password 8"},
    ],
    ids=str,
)  # fmt: skip
async def test_nothing_else_can_be_changed_this_way(world: World, body: dict[str, object]) -> None:
    person = await world.person()
    before = await world.rows("users", id=person.id)
    async with world.unchanged():
        assert (await person.call("PATCH", "/api/v1/me", json=body)).status_code == 422
    assert await world.rows("users", id=person.id) == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/me"), ("PATCH", "/api/v1/me"), ("POST", "/api/v1/me/contact-changes"),
        ("POST", "/api/v1/me/contact-changes/confirm"), ("POST", "/api/v1/me/applications"),
        ("GET", "/api/v1/me/provider"), ("PATCH", "/api/v1/me/provider"), ("PUT", "/api/v1/me/provider/services"),
        ("GET", "/api/v1/wallet"), ("GET", "/api/v1/wallet/entries"), ("GET", "/api/v1/notifications"),
        ("POST", "/api/v1/notifications/read"), ("POST", "/api/v1/auth/logout"),
        ("POST", "/api/v1/auth/logout-everywhere"), ("GET", "/api/v1/auth/sessions"),
        ("DELETE", "/api/v1/auth/sessions/01890000-0000-7000-8000-000000000000"),
    ],
)  # fmt: skip
async def test_strangers_have_no_account(http: httpx.AsyncClient, world: World, method: str, path: str) -> None:
    async with world.unchanged():
        answer = await http.request(method, path, json={})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_what_was_never_sent_is_not_shown(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/dev/messages", params={"to": "nobody@mail.localbazaar.in"})).json() == []


@pytest.mark.usefixtures("working")
async def test_a_reader_of_hindi_gets_codes_in_hindi(http: httpx.AsyncClient, world: World) -> None:
    person = await world.person(language="hi")
    await http.post("/api/v1/auth/password-reset", json={"email": person.email})

    async def subjects() -> list[str]:
        messages = (await http.get("/api/v1/dev/messages", params={"to": person.email})).json()
        return [message["subject"] for message in messages]

    assert await eventually(subjects) == ["आपका लोकलबाज़ार कोड"]

"""Finding what is on sale: by currency, price, advertiser and words, page by page."""

import secrets
from typing import Any

import pytest

from app.models.users import Role
from tests.advertised_services.steps import OWN, SERVICES, offer
from tests.support.world import Person, World


async def titles(world: World, advertiser: Person, **params: Any) -> list[str]:
    """What is found of one advertiser's."""
    answer = await world.http.get(SERVICES, params={"advertiser_id": str(advertiser.id), **params})
    assert answer.status_code == 200, answer.text
    return [item["title"] for item in answer.json()["items"]]


async def test_currency_and_price_narrow_the_list(world: World) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    for title, price_minor, currency in (("A", 100, "GOLD"), ("B", 200, "GOLD"), ("C", 300, "GOLD"), ("D", 200, "INR")):
        await offer(advertiser, title=title, price_minor=price_minor, currency=currency)
    assert await titles(world, advertiser) == ["D", "C", "B", "A"]
    assert await titles(world, advertiser, currency="INR") == ["D"]
    assert await titles(world, advertiser, currency="GOLD", price_from_minor=200) == ["C", "B"]
    assert await titles(world, advertiser, currency="GOLD", price_to_minor=200) == ["B", "A"]
    assert await titles(world, advertiser, currency="GOLD", price_from_minor=200, price_to_minor=200) == ["B"]
    assert await titles(world, advertiser, currency="GOLD", price_from_minor=201, price_to_minor=200) == []


async def test_words_are_found_in_title_and_description(world: World) -> None:
    advertiser, mark = await world.person(Role.ADVERTISER), secrets.token_hex(6)
    await offer(advertiser, title=f"Mythic run {mark}", description="Necrotic Wake, in time.")
    await offer(advertiser, title="Raid clear", description=f"Eight bosses {mark}. Not in time.")
    assert await titles(world, advertiser, words=mark) == ["Raid clear", f"Mythic run {mark}"]
    assert await titles(world, advertiser, words=f"{mark} necrotic") == [f"Mythic run {mark}"]
    assert await titles(world, advertiser, words=f"{mark} -mythic") == ["Raid clear"]
    assert await titles(world, advertiser, words='"eight bosses"') == ["Raid clear"]
    # Over all advertisers, too
    found = (await world.http.get(SERVICES, params={"words": mark, "limit": 1})).json()
    assert ([item["title"] for item in found["items"]], found["next_cursor"] is None) == (["Raid clear"], False)


@pytest.mark.parametrize("words", ["'", "& | ! ( ) :*", "\\", '"', "a" * 100, "बूस्ट", "%_", "-", "or or or"])
async def test_no_words_break_the_search(world: World, words: str) -> None:
    assert (await world.http.get(SERVICES, params={"words": words})).status_code == 200


@pytest.mark.parametrize(
    "params",
    [
        {"words": ""}, {"words": "w" * 101}, {"words": "a\x00b"}, {"currency": "gold"}, {"price_from_minor": 1},
        {"price_to_minor": 1}, {"currency": "GOLD", "price_to_minor": -1}, {"advertiser_id": "rohan"}, {"limit": 101},
        {"cursor": "?"}, {"sort": "price"}, {"currency": "GOLD", "price_to_minor": 10**19},
    ],
    ids=str,
)  # fmt: skip
async def test_filters_that_make_no_sense_are_refused(world: World, params: dict[str, Any]) -> None:
    assert (await world.http.get(SERVICES, params=params)).status_code == 422


async def test_the_list_comes_in_pages_the_newest_first(world: World) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    made = [(await offer(advertiser, title=f"Run {number}"))["id"] for number in range(5)]
    for path, params in ((SERVICES, {"advertiser_id": str(advertiser.id)}), (OWN, {})):
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await advertiser.get(path, params={"limit": 2, **params, **cursor})).json()
            found += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == made[::-1]


async def test_the_own_list_has_every_state_and_can_be_narrowed(world: World) -> None:
    advertiser = await world.person(Role.ADVERTISER)
    active, paused = await offer(advertiser, title="A"), await offer(advertiser, title="P")
    await advertiser.post(f"{SERVICES}/{paused['id']}/pause")
    own = (await advertiser.get(OWN)).json()["items"]
    assert [(item["id"], item["status"]) for item in own] == [(paused["id"], "PAUSED"), (active["id"], "ACTIVE")]
    narrowed = (await advertiser.get(OWN, params={"status": "PAUSED"})).json()["items"]
    assert [item["id"] for item in narrowed] == [paused["id"]]
    assert (await (await world.person()).get(OWN)).json()["items"] == []

"""Until a provider buys, nothing tells who the customer is or where exactly (leads.md)."""

import io
import json
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from app.schemas.base import Position
from tests.service_requests.conftest import PATH, Cast, succeed
from tests.support.world import Person, World

SECRET = Position(latitude=18.5123456, longitude=73.8098765)
ADDRESS = "Flat 7, Secret Villa"


@pytest.fixture(scope="module")
async def secretive(world: World) -> Person:
    return await world.person(name="Zubeida Incognito")


async def post(world: World, customer: Person, **more: Any) -> str:
    return await world.request(customer, at=SECRET, **({"address": ADDRESS} | more))


def secrets_of(customer: Person) -> list[str]:
    return ["Zubeida", "Incognito", customer.email, customer.phone, customer.phone[-8:], str(customer.id), ADDRESS,
            "Secret Villa", "18.512", "73.809", "18.5123456", "73.8098765"]  # fmt: skip


async def test_nothing_tells_who_or_where_before_the_purchase(world: World, cast: Cast, secretive: Person) -> None:
    # Given a request, and a provider who matches it
    provider = await world.provider()
    request_id = await post(world, secretive)
    # When they look everywhere: the request, the open leads, the feed, the raw events, a refusal
    seen = [
        await provider.get(f"{PATH}/{request_id}"),
        await provider.get("/api/v1/leads/open"),
        await provider.get("/api/v1/notifications"),
        await provider.post(f"{PATH}/{request_id}/start"),
    ]
    texts = [answer.text for answer in seen]
    texts += [json.dumps(event["payload"]) for event in await world.rows("events", subject_id=UUID(request_id))]
    # Then they see the request in each, and none of the secrets in any
    assert all(request_id in text for text in (texts[0], texts[1], texts[2], texts[4]))
    for text in texts:
        assert [secret for secret in secrets_of(secretive) if secret in text] == []
    # and the position is there, rounded to a hundredth of a degree
    for shown in (seen[0].json(), next(lead for lead in seen[1].json()["items"] if lead["id"] == request_id)):
        assert (shown["latitude"], shown["longitude"]) == (18.51, 73.81)
    assert seen[0].json()["position_is_exact"] is False


async def test_the_distance_is_that_to_the_rounded_position(world: World, secretive: Person) -> None:
    # Given two requests that round to the same position, one of them exactly there
    provider = await world.provider()
    exact = await post(world, secretive)
    rounded = await post(world, secretive, position={"latitude": 18.51, "longitude": 73.81})
    # When the provider lists open leads, then both are equally far away
    leads = (await provider.get("/api/v1/leads/open", params={"limit": 100})).json()["items"]
    distances = {lead["id"]: lead["distance_metres"] for lead in leads}
    assert distances[exact] == distances[rounded]


async def test_the_purchase_unlocks_contact_and_place(world: World, secretive: Person) -> None:
    provider = await world.provider()
    request_id = await post(world, secretive)
    await succeed(provider.post(f"{PATH}/{request_id}/purchase"))
    shown = (await provider.get(f"{PATH}/{request_id}")).json()
    (lead,) = (await provider.get("/api/v1/leads")).json()["items"]
    for source in (shown, lead):
        assert source["customer"] == {
            "id": str(secretive.id), "name": "Zubeida Incognito", "phone": secretive.phone, "email": secretive.email,
        }  # fmt: skip
        assert source["address"] == ADDRESS
        assert (source["latitude"], source["longitude"]) == (SECRET.latitude, SECRET.longitude)
    assert (shown["purchased"], shown["position_is_exact"]) == (True, True)
    # The lead is bought: it is not on offer any more
    offered = (await provider.get("/api/v1/leads/open", params={"limit": 100})).json()["items"]
    assert request_id not in {lead["id"] for lead in offered}


async def test_losers_do_not_see_the_winners_proof(world: World) -> None:
    customer, request_id, (winner, loser) = await world.completed(buyers=2)
    for person, sees in ((customer, True), (winner, True), (world.manager, True), (loser, False)):
        shown = (await person.get(f"{PATH}/{request_id}")).json()
        assert (shown["proof_id"] is not None) == sees
    assert (await loser.get("/api/v1/notifications")).text.count("proof") == 0


async def test_a_photo_does_not_tell_where_it_was_taken(world: World, secretive: Person) -> None:
    # Given a photo whose camera wrote down the place, and a comment behind the pixels
    picture = Image.new("RGB", (60, 40), "green")
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010E] = "Secret Villa"
    exif.get_ifd(0x8825).update({1: "N", 2: (18.0, 30.0, 44.4), 3: "E", 4: (73.0, 48.0, 35.5)})
    content = io.BytesIO()
    picture.save(content, "JPEG", exif=exif, comment=b"Secret Villa")
    hidden = content.getvalue() + b"Secret Villa"
    assert Image.open(io.BytesIO(hidden)).getexif().get_ifd(0x8825)
    photo_id = await secretive.upload("photo", hidden)
    await post(world, secretive, photo_ids=[photo_id])
    # When a provider who has not bought opens it
    link = (await (await world.provider()).get(f"/api/v1/files/{photo_id}")).json()
    shown = (await world.http.get(link["url"].removeprefix(world.platform.settings.public_url))).content
    # Then the picture is there, upright, and nothing else
    opened = Image.open(io.BytesIO(shown))
    assert opened.size == (40, 60)
    assert dict(opened.getexif()) == {}
    assert b"Secret" not in shown
    assert len(shown) == link["size_bytes"]

"""A wallet's statement on paper: asked for, written by a job, read by its owner alone."""

from typing import Any
from uuid import UUID

import pytest

from app.services.wallets import statement_requests
from tests.support.world import Person, World
from tests.users.steps import eventually

STATEMENTS = "/api/v1/wallet/statements"
PERIOD = {"from": "2026-01-01T00:00:00+05:30"}


async def ready(world: World, person: Person) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await person.get("/api/v1/notifications")).json()["items"]
    return [item for item in items if item["event"]["name"] == "wallet.statement_ready"]


@pytest.mark.usefixtures("working")
async def test_a_statement_is_written_and_its_owner_reads_it(world: World) -> None:
    # Given somebody with money
    person = await world.provider(funds_minor=123_45)
    # When they ask for the statement of this year
    answer = await person.post(STATEMENTS, PERIOD)
    assert answer.status_code == 202, answer.text
    file_id = answer.json()["file_id"]
    # Then they are told once it is there, and it is a PDF

    async def told() -> bool:
        return bool(await ready(world, person))

    await eventually(told, within=20)
    (item,) = await ready(world, person)
    assert item["event"]["file_id"] == file_id
    link = (await person.get(f"/api/v1/files/{file_id}")).json()["url"]
    content = (await world.http.get(link.replace(world.platform.settings.public_url, ""))).content
    assert content.startswith(b"%PDF-")
    # And nobody else gets it
    stranger = await world.person()
    assert (await stranger.get(f"/api/v1/files/{file_id}")).status_code == 404


@pytest.mark.parametrize(
    "payload",
    [{}, {"from": "2020-01-01T00:00:00Z"}, {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
     {"from": "2026-01-01T00:00:00"}, PERIOD | {"currency": "rupees"}, PERIOD | {"owner_id": "x"}],
)  # fmt: skip
async def test_a_period_that_makes_no_sense_is_refused(world: World, payload: dict[str, Any]) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await person.post(STATEMENTS, payload)).status_code == 422


async def test_more_movements_than_paper_holds_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_requests, "STATEMENT_LIMIT", 1)
    person = await world.provider(funds_minor=100_00)
    body = {"amount_minor": 1, "reason": "more"}
    assert (await world.admin.post(f"/api/v1/admin/users/{person.id}/top-ups", body)).status_code == 201
    async with world.unchanged():
        answer = await person.post(STATEMENTS, PERIOD)
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (422, "statement_too_long", 1)
    assert await world.rows("files", owner_id=UUID(str(person.id))) == []

"""The catalogue: 45 services in two languages, and the answers that fit their questions."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.core.errors import NotFound
from app.schemas.catalogue import Option, Question, Service
from app.services.catalogue import administration, queries
from app.services.catalogue.queries import AnswersRefused, check_answers
from tests.support.world import World


def offered(*questions: Question) -> Service:
    return Service(
        id=uuid4(), slug="s", category="c", name_en="S", name_hi="स", description_en="S", description_hi="स",
        questions=list(questions), lead_fee_minor=0,
    )  # fmt: skip


def question(key: str, kind: Any, *, required: bool = False) -> Question:
    options = [Option(value=value, label_en=value, label_hi=value) for value in ("small", "large")]
    return Question(
        key=key, label_en=key, label_hi=key, kind=kind, required=required, options=options if kind == "choice" else []
    )


async def services(http: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    answer = await http.get("/api/v1/services", params=params)
    assert answer.status_code == 200
    listed: list[dict[str, Any]] = answer.json()
    return listed


@pytest.mark.usefixtures("world")
async def test_there_are_45_services_each_in_english_and_hindi(http: httpx.AsyncClient) -> None:
    listed = await services(http)
    assert len(listed) == len({service["slug"] for service in listed}) == 45
    for service in listed:
        for field in ("name", "description"):
            assert service[f"{field}_en"].isascii()
            assert any("\u0900" <= letter <= "\u097f" for letter in service[f"{field}_hi"])
        assert service["lead_fee_minor"] > 0


@pytest.mark.usefixtures("world")
async def test_every_question_can_be_answered(http: httpx.AsyncClient) -> None:
    for service in await services(http):
        keys = [asked["key"] for asked in service["questions"]]
        assert len(keys) == len(set(keys)), service["slug"]
        for asked in service["questions"]:
            assert asked["label_en"]
            assert asked["label_hi"]
            assert (asked["kind"] == "choice") == bool(asked["options"]), (service["slug"], asked["key"])
            values = [option["value"] for option in asked["options"]]
            assert len(values) == len(set(values))


@pytest.mark.usefixtures("world")
async def test_services_are_listed_by_category(http: httpx.AsyncClient) -> None:
    categories = (await http.get("/api/v1/categories")).json()
    listed = await services(http)
    assert {service["category"] for service in listed} == {category["slug"] for category in categories}
    for category in categories:
        some = await services(http, category=category["slug"])
        assert some == [service for service in listed if service["category"] == category["slug"]]
        assert some
    assert await services(http, category="no-such-category") == []


@pytest.mark.usefixtures("world")
async def test_the_catalogue_may_be_cached_for_a_minute(http: httpx.AsyncClient) -> None:
    for path in ("/api/v1/services", "/api/v1/categories"):
        assert (await http.get(path)).headers["cache-control"] == "public, max-age=60"


async def test_a_category_of_an_unlikely_length_is_a_422(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/services", params={"category": "c" * 65})).status_code == 422


async def test_filling_the_catalogue_again_changes_nothing(world: World) -> None:
    before = [await world.rows("services"), await world.rows("categories")]
    async with world.unchanged(), world.platform.database.write() as session:
        await administration.fill(session)
    assert [await world.rows("services"), await world.rows("categories")] == before


async def test_filling_mends_what_was_changed_and_keeps_the_ids(world: World) -> None:
    await world.execute("UPDATE services SET name_en = 'Broken' WHERE slug = 'plumbing'")
    async with world.platform.database.write() as session:
        await administration.fill(session)
    (row,) = await world.rows("services", slug="plumbing")
    assert row["id"] == world.services["plumbing"]
    assert row["name_en"] != "Broken"


async def test_an_unknown_service_is_not_found(world: World) -> None:
    async with world.platform.database.read() as session:
        with pytest.raises(NotFound):
            await queries.service(session, uuid4())


@pytest.mark.parametrize(
    ("kind", "answer", "fits"),
    [
        ("text", "words", True), ("text", "", True), ("text", 1, False), ("text", None, False), ("text", ["a"], False),
        ("number", 3, True), ("number", 2.5, True), ("number", -1, True), ("number", "3", False),
        ("number", True, False), ("number", None, False), ("number", {}, False),
        ("boolean", True, True), ("boolean", False, True), ("boolean", 1, False), ("boolean", "true", False),
        ("choice", "small", True), ("choice", "medium", False), ("choice", "Small", False), ("choice", 1, False),
        ("choice", ["small"], False), ("choice", {"value": "small"}, False), ("choice", None, False),
    ],
)  # fmt: skip
def test_an_answer_is_of_its_questions_kind(kind: str, answer: Any, fits: bool) -> None:
    service = offered(question("asked", kind))
    if fits:
        check_answers(service, {"asked": answer})
        return
    with pytest.raises(AnswersRefused) as refused:
        check_answers(service, {"asked": answer})
    assert refused.value.extra == {"questions": ["asked"]}


def test_required_questions_are_answered_and_others_may_be() -> None:
    service = offered(question("needed", "text", required=True), question("wished", "number"))
    check_answers(service, {"needed": "yes"})
    check_answers(service, {"needed": "yes", "wished": 2})
    with pytest.raises(AnswersRefused) as refused:
        check_answers(service, {"wished": 2})
    assert refused.value.extra == {"questions": ["needed"]}


def test_blanks_are_no_answer_to_a_required_question() -> None:
    check_answers(offered(question("wished", "text")), {"wished": ""})
    with pytest.raises(AnswersRefused):
        check_answers(offered(question("needed", "text", required=True)), {"needed": " "})


def test_answers_to_questions_that_nobody_asked_are_refused() -> None:
    with pytest.raises(AnswersRefused) as refused:
        check_answers(offered(question("asked", "text")), {"asked": "x", "more": "y", "even_more": "z"})
    assert refused.value.extra == {"questions": ["even_more", "more"]}


def test_a_service_without_questions_takes_no_answers() -> None:
    check_answers(offered(), {})
    with pytest.raises(AnswersRefused):
        check_answers(offered(), {"anything": 1})

"""Every refusal has a code of its own, words for people, a fitting status, and a page that its `type` refers to."""

import http as codes

import httpx
import pytest

from app.core.errors import (
    Conflict,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    Problem,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)
from app.routers.problems import known
from tests.contract.operations import DOCUMENT
from tests.contract.refusals import refused
from tests.support.world import World

FAMILIES: dict[type[Problem], int] = {
    NotFound: 404,
    Unauthenticated: 401,
    Forbidden: 403,
    Conflict: 409,
    PayloadTooLarge: 413,
    UnsupportedMedia: 415,
    Unprocessable: 422,
    TooManyRequests: 429,
    Unavailable: 503,
}


def kinds(parent: type[Problem] = Problem) -> list[type[Problem]]:
    return [parent, *(kind for child in parent.__subclasses__() for kind in kinds(child))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.code)
def test_every_problem_is_told_apart(kind: type[Problem]) -> None:
    # given
    others = [other for other in kinds() if other is not kind]
    # then
    assert kind.code not in {other.code for other in others}
    assert kind.title not in {other.title for other in others}
    assert kind.code == kind.code.lower().strip()
    assert kind.code.replace("_", "").isalpha()
    assert kind.title[0].isupper()
    assert kind.title.endswith(".")
    assert codes.HTTPStatus(kind.status).value >= 400
    assert all(kind.status == status for family, status in FAMILIES.items() if issubclass(kind, family))


def test_what_a_problem_adds_does_not_hide_what_all_have() -> None:
    # given
    refusal = NotFound("Why.", status="OPEN", code="x", title="x", type="x", detail="x", more=1)
    # when
    document = refusal.document()
    # then
    assert document.pop("more") == 1
    assert document == NotFound("Why.").document()


async def test_the_type_of_a_problem_refers_to_its_description(http: httpx.AsyncClient) -> None:
    for code, kind in known().items():
        # when
        answer = await http.get(f"/problems/{code}")
        # then
        assert answer.status_code == 200
        described = answer.json()
        assert (described["code"], described["status"], described["title"]) == (code, kind.status, kind.title)


@pytest.mark.parametrize("code", ["none", "NOT_FOUND", "__class__", "about:blank", "not_found%00", "%FF"])
async def test_unknown_codes_have_no_description(code: str, http: httpx.AsyncClient) -> None:
    # when
    answer = await http.get(f"/problems/{code}")
    # then
    assert refused(answer, 404) == "not_found"


def test_every_operation_documents_its_refusals_as_problems() -> None:
    # given
    reference = {"$ref": "#/components/schemas/ProblemDocument"}
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            refusals = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            if path in {"/healthz", "/readyz"}:
                continue
            # then
            assert {"413", "422", "503"} <= refusals.keys(), (method, path)
            assert "401" in refusals or "security" not in operation, (method, path)
            for status, answer in refusals.items():
                assert answer["content"] == {"application/problem+json": {"schema": reference}}, (method, path, status)


async def test_an_illegal_transition_names_the_status_of_the_thing_and_that_of_http(world: World) -> None:
    # given
    customer, request_id, _ = await world.completed()
    assert (await customer.post(f"/api/v1/service-requests/{request_id}/approve")).status_code == 200
    # when
    answer = await customer.post(f"/api/v1/service-requests/{request_id}/cancel", {"reason": "too late"})
    # then
    assert refused(answer, 409) == "illegal_transition"
    assert answer.json()["current_status"] == "APPROVED"
    assert answer.json()["allowed_actions"] == []


async def test_keys_that_make_requests_happen_once_are_headers(world: World) -> None:
    # given
    person = await world.person()
    payload = {"amount_minor": 500, "reason": "for the test"}
    key = {"Idempotency-Key": "the-same-key"}
    # when
    first, second = [
        await world.admin.post(f"/api/v1/admin/users/{person.id}/top-ups", payload, headers=key) for _ in range(2)
    ]
    # then
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotency-replayed"] == "true"
    assert await world.balance(person) == 500
    taken = [
        given["in"]
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for given in operation.get("parameters", [])
        if given["name"].casefold().endswith("key")
    ]
    assert set(taken) == {"header"}
    assert len(taken) >= 6

"""Refusals: each a problem document with a stable code of its own."""

from collections.abc import Iterator

import httpx
import pytest

from app.core.errors import Conflict, NotFound, Problem, TooManyRequests, Unauthenticated, Unavailable
from app.main import create_app


def every(problem: type[Problem]) -> Iterator[type[Problem]]:
    """The class and its descendants, of the product only: tests declare some too."""
    if problem.__module__.startswith("app."):
        yield problem
    for narrower in problem.__subclasses__():
        yield from every(narrower)


def test_a_problem_says_what_rfc_9457_asks_for() -> None:
    document = Conflict("The lead is sold out.", cap=5).document()
    assert document == {
        "type": "/problems/conflict",
        "title": "The current state does not allow this.",
        "status": 409,
        "code": "conflict",
        "detail": "The lead is sold out.",
        "cap": 5,
    }


def test_a_problem_without_detail_has_no_empty_one() -> None:
    assert "detail" not in NotFound().document()


def test_refusals_carry_the_headers_of_their_status() -> None:
    assert Unauthenticated().headers == {"WWW-Authenticate": "Bearer"}
    assert TooManyRequests(17).headers == {"Retry-After": "17"}
    assert TooManyRequests(-3).headers == {"Retry-After": "1"}
    assert Unavailable().headers == {"Retry-After": "1"}


def test_no_two_refusals_share_a_code() -> None:
    create_app()  # imports all of them
    declared = [problem for problem in every(Problem) if "code" in vars(problem)]
    codes = [problem.code for problem in declared]
    assert len(declared) > 20
    assert sorted(codes) == sorted(set(codes))


def test_every_refusal_has_a_status_that_means_one() -> None:
    create_app()
    assert {problem.status for problem in every(Problem)} <= {
        400,
        401,
        403,
        404,
        405,
        409,
        413,
        415,
        422,
        429,
        500,
        503,
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("GET", "/api/v1/me", 401, "unauthenticated"),
        ("POST", "/api/v1/auth/login", 422, "validation_failed"),
    ],
)
async def test_what_the_framework_refuses_is_a_problem_document_too(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "code"} <= answer.json().keys()
    assert (answer.json()["status"], answer.json()["code"]) == (status, code)


async def test_a_refused_payload_is_named_by_place_and_never_shown(http: httpx.AsyncClient) -> None:
    body = {"email": "not an address", "password": "hunter2-hunter2", "extra": "x"}
    answer = await http.post("/api/v1/auth/login", json=body)
    assert answer.status_code == 422
    assert {tuple(error["where"]) for error in answer.json()["errors"]} == {("body", "email"), ("body", "extra")}
    assert "hunter2" not in answer.text
    assert "not an address" not in answer.text


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"email": "\\ud800"}', b"[" * 5000, b"null", b'"text"', b""])
async def test_a_body_that_cannot_be_read_is_a_422(http: httpx.AsyncClient, content: bytes) -> None:
    answer = await http.post("/api/v1/auth/login", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_failed"

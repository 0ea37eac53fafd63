"""Every operation of the OpenAPI document, with generated requests: what it answers is what it says that it answers."""

import gc
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.strategies import SearchStrategy
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation.hypothesis.builder import (
    InvalidHeadersExampleMark,
    MissingPathParameters,
    UnserializablePayloadMark,
)
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.routers.problems import known
from tests.contract.operations import DOCUMENT, OPERATIONS, Operation
from tests.contract.stage import Stage

CASES = int(os.environ.get("LOCALBAZAAR_CONTRACT_CASES", "200"))
"""Requests for each operation: those at the edges of what its schemas allow, and random ones for the rest of them."""
RANDOM = 25
"""As many are random in any case."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CODES = known().keys()

AVAILABLE_PROVIDERS["each_by_itself"] = HypothesisProvider
"""As Hypothesis draws by default, but no case is made from an earlier one: they come sooner, and fewer are the same."""
AS_DOCUMENTED = settings(
    backend="each_by_itself",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

LEFT_OUT = (InvalidHeadersExampleMark, MissingPathParameters, UnserializablePayloadMark)
"""How it marks a test whose operation it could not make every kind of request for."""

api = schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT)))
api.config.phases.coverage.unexpected_methods = set()  # see test_hostile_connections.py


@pytest.fixture(scope="session")
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture(autouse=True)
def rarely_collected() -> Iterator[None]:
    """To make a case leaves so much behind that a sixth of the time went into looking through it."""
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    yield
    gc.set_threshold(*usual)


@pytest.fixture(autouse=True)
def taken_as_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemathesis makes strategies anew for each case. To check that they are well made, as Hypothesis does for people
    who write theirs by hand, took a seventh of the time that it takes to draw; the cases are the same without."""
    monkeypatch.setattr(SearchStrategy, "validate", lambda strategy: None)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_an_operation_answers_as_documented(
    operation: Operation, stage: Stage, far_address: str, client: requests.Session
) -> None:
    sent = 0

    def answers_as_documented(case: "schemathesis.Case[Any]") -> None:
        nonlocal sent
        sent += 1
        # given a generated request by anybody of the cast, about things that exist more often than not
        caller = stage.next_caller()
        if stage.is_lifelike():
            case.path_parameters = stage.path(case.path_parameters)
            case.query = stage.lifelike(case.query)
            case.body = stage.lifelike(case.body)
        # when
        response = case.call(far_address, client, caller.headers if caller else None)
        stage.heard(response.status_code, response.request.headers.get("Authorization"))
        # then
        case.validate_response(response, CHECKS)
        if response.status_code >= 400 and case.operation.path != "/readyz":
            assert response.headers["content-type"] == ["application/problem+json"]
            assert response.json()["code"] in CODES

    _send(operation, answers_as_documented, settings(AS_DOCUMENTED, phases=[Phase.explicit]))
    _send(
        operation,
        answers_as_documented,
        settings(AS_DOCUMENTED, phases=[Phase.generate], max_examples=max(RANDOM, CASES - sent)),
    )
    assert sent >= CASES


def _send(operation: Operation, test: Callable[["schemathesis.Case[Any]"], None], how: settings) -> None:
    """Every case of the operation that there is in these phases."""
    # Made here, not by `api.parametrize()`: at collection each worker would make the cases of all operations.
    [made] = get_all_tests(
        schema=api.include(path=operation.path, method=operation.method),
        test_func=test,
        settings=how,
        given_kwargs=None,
    )
    assert isinstance(made, Ok), made
    _, send_all = made.ok()
    send_all()
    assert not [mark.attr_name for mark in LEFT_OUT if mark.is_set(send_all)]

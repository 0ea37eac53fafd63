"""Every operation of the OpenAPI document, with generated requests: what it answers is what it says that it answers."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.routers.problems import known
from tests.contract.operations import DOCUMENT, ENDLESS
from tests.contract.stage import Stage

EXAMPLES = int(os.environ.get("LOCALBAZAAR_CONTRACT_EXAMPLES", "25"))
"""Random requests for each operation, besides those at the edges of what its schemas allow."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CODES = known().keys()

api = schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT))).exclude(path=ENDLESS)
api.config.phases.coverage.unexpected_methods = set()  # see test_hostile_connections.py


@pytest.fixture(scope="session")
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@api.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_an_operation_answers_as_documented(
    case: "schemathesis.Case[Any]", stage: Stage, far_address: str, client: requests.Session
) -> None:
    # given a generated request by anybody of the cast, about things that exist more often than not
    caller = stage.next_caller()
    if stage.is_lifelike():
        case.path_parameters = stage.path(case.path_parameters)
        case.query = stage.lifelike(case.query)
        case.body = stage.lifelike(case.body)
    # when
    response = case.call(far_address, client, caller.headers if caller else None)
    stage.heard(response.status_code)
    # then
    case.validate_response(response, CHECKS)
    if response.status_code >= 400 and case.operation.path != "/readyz":
        assert response.headers["content-type"] == ["application/problem+json"]
        assert response.json()["code"] in CODES

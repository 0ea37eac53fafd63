"""The documented shape of every event is the one in which it is sent."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from app.kernel import event_schemas
from app.kernel.events import Event, declared, envelope
from app.main import create_app
from tests.contract.operations import sample

PRODUCT = [event for event in declared() if event.__module__.startswith("app.")]


@pytest.mark.parametrize("event", PRODUCT, ids=lambda event: event.name)
def test_an_envelope_has_the_documented_members(event: type[Event]) -> None:
    webhook = event_schemas.event_webhooks()[event.name]["post"]
    schema = webhook["requestBody"]["content"]["application/json"]["schema"]
    payload = {name: sample(part, {}) for name, part in schema["properties"].items() if name in event.model_fields}
    row = {"id": uuid4(), "name": event.name, "payload": payload, "created_at": datetime.now(UTC)}
    sent = envelope(row, "en")
    assert sent.keys() == set(schema["required"])
    assert envelope(row, "en", quiet=True).keys() == schema["properties"].keys()
    for name in ("name", "type", "event"):
        assert schema["properties"][name]["const"] == sent[name]
    assert "$ref" not in str(schema)


def test_the_document_has_every_event_as_a_webhook_with_its_headers() -> None:
    document = create_app().openapi()
    webhooks: dict[str, Any] = document["webhooks"]
    assert {event.name for event in PRODUCT} <= webhooks.keys()
    operation = webhooks["service_request.created"]["post"]
    headers = {parameter["name"]: parameter["in"] for parameter in operation["parameters"]}
    assert headers == dict.fromkeys(("webhook-id", "webhook-timestamp", "webhook-signature"), "header")
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["service_request_id"]["format"] == "uuid"
    ids = [operation["post"]["operationId"] for operation in webhooks.values()]
    assert len(set(ids)) == len(ids)


def test_what_a_field_refers_to_stands_in_its_place() -> None:
    definitions = {"A": {"items": {"$ref": "#/$defs/B"}}, "B": {"type": "string"}}
    assert event_schemas._inlined({"$ref": "#/$defs/A"}, definitions) == {"items": {"type": "string"}}

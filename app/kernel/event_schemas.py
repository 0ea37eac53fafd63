"""Events as JSON Schema, for documents that other programs read: AsyncAPI, the webhooks of OpenAPI."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_jsonable_python

from app.kernel.events import Event, declared, message

_EXAMPLE_ID: Final = "019bf0f1-8c00-7000-8000-000000000001"
_EXAMPLE_MOMENT: Final = "2026-01-29T10:30:00Z"
_EXAMPLES: Final[dict[str, Any]] = {
    "uuid": _EXAMPLE_ID,
    "date-time": _EXAMPLE_MOMENT,
    "date": "2026-01-29",
    "uri": "https://example.org/",
    "email": "asha@example.org",
    "string": "words",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "null": None,
}
_LEFT_OUT: Final = "…"

_TEXT: Final = {"type": "string"}
_HEADERS: Final = {
    "webhook-id": "The event's id, the same however often it is sent: drop what you have had.",
    "webhook-timestamp": "When this attempt was signed, in seconds since 1970.",
    "webhook-signature": "`v1,` and the base64 of the HMAC-SHA256 over `<id>.<timestamp>.<body>`; one for each secret.",
}
_ANSWERS: Final = {
    "2XX": {"description": "Taken. Anything else, a redirect too, is tried again."},
}

Schema = dict[str, Any]


def envelope_schema(event: type[Event], ref_template: str = "#/$defs/{model}") -> tuple[Schema, dict[str, Schema]]:
    """The schema of an event's envelope, as it leaves the platform on every channel, and what it refers to.

    What it refers to, by name, belongs where `ref_template` points; the schemas of events that are flat have nothing of
    the kind. Members may join later, so the envelope is open.
    """
    own = event.model_json_schema(mode="serialization", ref_template=ref_template)
    definitions: dict[str, Schema] = own.pop("$defs", {})
    aggregate = event.name.partition(".")[0]
    properties = {
        "id": {"type": "string", "format": "uuid", "description": "Unique for ever: drop duplicates by it."},
        "name": {"type": "string", "const": event.name},
        "type": {"type": "string", "const": f"{aggregate}_update"},
        "event": {"type": "string", "const": event.name.replace(".", "_").upper()},
        "timestamp": {"type": "string", "format": "date-time"},
        **own["properties"],
        "message": {"type": "string", "description": "One sentence in the reader's language."},
    }
    required = list(properties)
    properties["quiet"] = {"type": "boolean", "const": True, "description": "It notifies nobody: lists follow it."}
    schema = {"title": event.name, "type": "object", "properties": properties, "required": required}
    if event.__doc__:
        schema["description"] = " ".join(event.__doc__.split())
    return schema, definitions


def envelope_example(event: type[Event]) -> dict[str, Any]:
    """An envelope of this event with made-up values, which its schema accepts."""
    schema, definitions = envelope_schema(event)
    found: dict[str, Any] = example(schema, definitions)
    return found | {"message": message(event.name, _Shown(found), "en")}


class _Shown(dict[str, Any]):
    """Values for a sentence; one that is missing is left out of it."""

    def __missing__(self, _: str) -> str:
        return _LEFT_OUT


def example(schema: Schema, definitions: dict[str, Schema] | None = None) -> Any:
    """A made-up value for a schema: its own example or constant, else the plainest of its type."""
    definitions = definitions or {}
    if "$ref" in schema:
        return example(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return example(schema[key][0], definitions)
    match schema.get("type"):
        case "object":
            properties: dict[str, Schema] = schema.get("properties", {})
            return {name: example(part, definitions) for name, part in properties.items()}
        case "array":
            return [example(schema["items"], definitions)] if "items" in schema else []
        case kind:
            return _EXAMPLES.get(schema.get("format", ""), _EXAMPLES.get(kind or "null"))


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with what it refers to in the place of the reference, which would point nowhere elsewhere."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(part, definitions) for key, part in schema.items()}


def event_webhooks() -> dict[str, Any]:
    """The `webhooks` of an OpenAPI document: every declared event as it is sent to an integrator's endpoint."""
    return {event.name: {"post": _webhook(event)} for event in declared()}


def _webhook(event: type[Event]) -> dict[str, Any]:
    headers = [
        {"name": name, "in": "header", "required": True, "description": text, "schema": _TEXT}
        for name, text in _HEADERS.items()
    ]
    schema, definitions = envelope_schema(event)
    content = {"application/json": {"schema": _inlined(schema, definitions)}}
    described: dict[str, Any] = to_jsonable_python(
        {
            "operationId": f"webhook_{event.name.replace('.', '_')}",
            "summary": event.messages["en"],
            "tags": ["webhooks"],
            "parameters": headers,
            "requestBody": {"required": True, "content": content},
            "responses": _ANSWERS,
        }
    )
    return described

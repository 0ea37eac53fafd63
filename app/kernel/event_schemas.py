"""Declared events as schemas: the one envelope in which each of them leaves the platform."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_jsonable_python

from app.kernel.events import Event, declared

_TEXT: Final = {"type": "string"}
_HEADERS: Final = {
    "webhook-id": "The event's id, the same however often it is sent: drop what you have had.",
    "webhook-timestamp": "When this attempt was signed, in seconds since 1970.",
    "webhook-signature": "`v1,` and the base64 of the HMAC-SHA256 over `<id>.<timestamp>.<body>`; one for each secret.",
}
_ANSWERS: Final = {
    "2XX": {"description": "Taken. Anything else, a redirect too, is tried again."},
}


def envelope_schema(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of the event's envelope, complete in itself."""
    own = event.model_json_schema(mode="serialization")
    fields = _inlined(own.get("properties", {}), own.get("$defs", {}))
    properties = {
        "id": {**_TEXT, "format": "uuid", "description": "Unique for ever."},
        "name": {"const": event.name},
        "type": {"const": f"{event.name.partition('.')[0]}_update"},
        "event": {"const": event.name.replace(".", "_").upper()},
        "timestamp": {**_TEXT, "format": "date-time"},
        **fields,
        "message": {**_TEXT, "description": "One sentence in the reader's language."},
    }
    schema = {"title": event.name, "type": "object", "properties": properties, "required": list(properties)}
    return schema | ({"description": " ".join(event.__doc__.split())} if event.__doc__ else {})


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
    content = {"application/json": {"schema": envelope_schema(event)}}
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

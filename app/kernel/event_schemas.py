"""Events as JSON Schema, for documents that other programs read: AsyncAPI, the webhooks of OpenAPI."""

from typing import Any, Final

from app.kernel.events import Event, message

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
    schema = {"title": event.name, "type": "object", "properties": properties, "required": list(properties)}
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

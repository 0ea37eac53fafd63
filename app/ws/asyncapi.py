"""The AsyncAPI 3.0 document of the socket, made from the frames, the declared events and the table of closing codes."""

from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from app.kernel.event_schemas import Schema, envelope_example, envelope_schema, example
from app.kernel.events import declared
from app.ws.protocol import CLIENT_FRAMES, CLOSINGS, SERVER_FRAMES, Frame

ADDRESS: Final = "/ws/notifications/"
_CHANNEL: Final = "notifications"
_SCHEMAS: Final = "#/components/schemas/{model}"
_DESCRIPTION: Final = """Events as they happen, and what the parties of a subject see of each other.

Every event that was committed and addressed to the user arrives at least once: after a reconnect send `resume`, wait
for `resumed`, and drop duplicates by `id`. Envelopes of events alone have a member `event`; every other frame has its
`type`. Unknown members are to be ignored. The same stream of events, as Server-Sent Events, is at
`/api/v1/events/stream`.
"""
_SECURITY: Final = {
    "ticket": {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": "A single-use ticket of `POST /api/v1/ws/tickets`, thirty seconds old at most. For pages.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "The subprotocols `bearer` and the access token itself (`Sec-WebSocket-Protocol: bearer, eyJ…`); the "
            "server chooses `bearer`. For apps."
        ),
    },
}


@cache
def document(public_url: str, version: str) -> dict[str, Any]:
    """The document of a server with this address; whoever calls does not change it."""
    schemas: dict[str, Schema] = {}
    messages: dict[str, dict[str, Any]] = {}
    for frame in (*CLIENT_FRAMES, *SERVER_FRAMES):
        schemas[frame.__name__] = _frame_schema(frame)
        messages[frame.__name__] = _message(frame.__name__, schemas[frame.__name__], frame_example(frame))
    for event in declared():
        schemas[event.name], definitions = envelope_schema(event, _SCHEMAS)
        schemas |= definitions
        messages[event.name] = _message(event.name, schemas[event.name], envelope_example(event))
    said = [frame.__name__ for frame in CLIENT_FRAMES]
    server = urlsplit(public_url)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "LocalBazaar", "version": version, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {
            "this": {
                "host": server.netloc,
                "protocol": "wss" if server.scheme == "https" else "ws",
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY],
            }
        },
        "channels": {_CHANNEL: _channel(messages)},
        "operations": {
            "receiveFrames": _operation("receive", "What a client may say.", said),
            "sendFrames": _operation("send", "What the server answers and tells.", [f.__name__ for f in SERVER_FRAMES]),
            "sendEvents": _operation("send", "Events of the user.", [event.name for event in declared()]),
        },
        "components": {"messages": messages, "schemas": schemas, "securitySchemes": _SECURITY},
    }


def _channel(messages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    codes = [{"code": code, "meaning": c.meaning, "remedy": c.remedy} for code, c in sorted(CLOSINGS.items())]
    table = "\n".join(f"- {entry['code']}: {entry['meaning']} → {entry['remedy']}" for entry in codes)
    ticket = {"type": "string", "description": _SECURITY["ticket"]["description"]}
    return {
        "address": ADDRESS,
        "description": f"Closing codes:\n\n{table}\n",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": {"type": "object", "properties": {"ticket": ticket}}}},
        "x-closing-codes": codes,
    }


def _operation(action: str, summary: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{_CHANNEL}"},
        "messages": [{"$ref": f"#/channels/{_CHANNEL}/messages/{name}"} for name in names],
    }


def _frame_schema(frame: type[Frame]) -> Schema:
    schema = frame.model_json_schema()
    # What tells frames of the server apart is a default where they are made; on the line it is always there.
    schema["required"] = [
        name for name, field in frame.model_fields.items() if field.is_required() or field.default is not None
    ]
    if frame in SERVER_FRAMES:
        del schema["additionalProperties"]  # only what clients send is closed
    return schema


def frame_example(frame: type[Frame]) -> Any:
    """A made-up frame of this kind."""
    return example(_frame_schema(frame))


def _message(name: str, schema: Schema, shown: Any) -> dict[str, Any]:
    made = {
        "name": name,
        "payload": {"$ref": _SCHEMAS.format(model=name)},
        "examples": [{"name": "made_up", "payload": shown}],
    }
    if description := schema.get("description"):
        made |= {"summary": description.partition("\n\n")[0], "description": description}
    return made

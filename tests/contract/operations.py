"""The operations of the OpenAPI document, and payloads made from their schemas."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from app.main import create_app

DOCUMENT: Final[dict[str, Any]] = create_app().openapi()
PATTERNS: Final = {
    "^[0-9]{6}$": "123456",
    r"^https?://[!-\[\]-~]+$": "http://127.0.0.1:8000/wallet",
    "^[A-Z]{3,8}$": "INR",
    "^[a-z0-9-]+$": "a-region",
    "^[A-Z]{4}0[A-Z0-9]{6}$": "HDFC0001234",
    "^[0-9]{9,18}$": "123456789012",
    "^[A-Za-z0-9/_.-]{4,64}$": "UTR-2026/001",
    "^[0-9A-Za-z -]+$": "411038",
    "^[A-Za-z0-9_-]{87}=?$": (
        "BOaLizGdwZ5pEOnnkZMqulZdSYYH1lkUAGWK_qs1-dpnP3DJ2fLKaYMSIXfF1ITUZc_smqQMCLWznS7O73-cdFA"
    ),
    "^[A-Za-z0-9_-]{22}(==)?$": "Z" * 21 + "g",
}
FORMATS: Final = {
    "uuid": "0190a0a0-0000-7000-8000-000000000000",
    "email": "somebody@mail.localbazaar.in",
    "date-time": "2026-11-20T10:00:00+05:30",
    "password": "correct horse battery 7",
}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    declared: Mapping[str, Any]

    @property
    def label(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def body(self) -> dict[str, Any] | None:
        """The schema of the JSON that it takes."""
        content: dict[str, Any] = self.declared.get("requestBody", {}).get("content", {})
        return content["application/json"]["schema"] if "application/json" in content else None

    @property
    def takes_key(self) -> bool:
        """It is for programs alone, which come with an API key instead of an access token."""
        return bool(self.declared.get("security") == [{"api_key": []}])

    def parameters(self, place: str) -> list[str]:
        return [given["name"] for given in self.declared.get("parameters", []) if given["in"] == place]

    def url(self, ids: Mapping[str, list[str]]) -> str:
        """The path about things that exist."""
        return self.path.format_map({name: ids[name][0] for name in self.parameters("path")})


ENDLESS: Final = "/api/v1/events/stream"
"""Its answer goes on until somebody leaves: see tests/ws/test_stream.py."""
OPERATIONS: Final = [
    Operation(method.upper(), path, declared)
    for path, methods in DOCUMENT["paths"].items()
    for method, declared in methods.items()
    if path != ENDLESS
]
TAKING_JSON: Final = [operation for operation in OPERATIONS if operation.body]


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself: behind references, the one beside null, the first of several forms."""
    while "$ref" in schema or "anyOf" in schema or "oneOf" in schema:
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        else:
            forms = schema["anyOf"] if "anyOf" in schema else schema["oneOf"]
            schema = next(one for one in forms if one.get("type") != "null")
    return schema


def sample(schema: Mapping[str, Any], known: Mapping[str, Any], name: str = "") -> Any:
    """A value that fits the schema; what is `known` by name is taken from there, null only where it may be."""
    may_be_null = any(form.get("type") == "null" for form in schema.get("anyOf", ()))
    schema = resolved(schema)
    if name in known and (known[name] is not None or may_be_null):
        return known[name]
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            parts: Mapping[str, Any] = schema.get("properties", {})
            # An example says which of the members go together.
            names = schema["examples"][0] if "examples" in schema else parts
            return {key: sample(parts[key], known, key) for key in names}
        case "array":
            return [sample(schema["items"], known)]
        case "integer" | "number":
            return int(schema.get("minimum", schema.get("exclusiveMinimum", 0))) + 1
        case "boolean":
            return True
        case _:
            return _text(schema)


def _text(schema: Mapping[str, Any]) -> str:
    if "examples" in schema:
        return str(schema["examples"][0])
    if "pattern" in schema:
        return PATTERNS[schema["pattern"]]
    if "format" in schema:
        return FORMATS[schema["format"]]
    return FORMATS["password"][: schema.get("maxLength", 100)]


def with_each_leaf(value: Any, replacement: Any) -> Iterator[Any]:
    """The payload again and again, each time with another of its leaves replaced."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            for changed in with_each_leaf(part, replacement):
                yield value | {key: changed}
    elif isinstance(value, list) and value:
        for changed in with_each_leaf(value[0], replacement):
            yield [changed, *value[1:]]
    else:
        yield replacement


async def at_once(calls: Iterable[Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """All of them, many at the same time."""
    places = asyncio.Semaphore(16)

    async def one(call: Awaitable[httpx.Response]) -> httpx.Response:
        async with places:
            return await call

    return await asyncio.gather(*(one(call) for call in calls))

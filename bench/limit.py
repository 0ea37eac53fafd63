"""The limit: what Python, one process of it, can do with the product's own statements and nothing else.

Raw ASGI and asyncpg run the SQL text of the product with the same parameters and answer documents of the same shape.
There is no token, no validation, no masking, no pool to speak of: whatever the product takes longer is its own cost.
"""

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from enum import Enum
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin
from uuid import UUID

import uvicorn
from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json
from typing_extensions import TypedDict

from app.core.config import settings
from app.core.database import Statement, connect
from app.core.ids import uuid7
from app.core.pagination import NEWEST, next_cursor
from app.kernel.lifecycle_sql import compile_transition
from app.schemas.base import Page
from app.schemas.service_requests import ServiceRequest, ServiceRequestState
from app.services.service_requests import queries
from app.services.service_requests.lifecycle import LIFECYCLE, Action

PAGE: Final = 20

Answer = Callable[["Pool", str, str, bytes], Awaitable[bytes]]


class Pool:
    """As many connections as the product has, handed out without any check."""

    def __init__(self) -> None:
        self._idle: asyncio.LifoQueue[Any] = asyncio.LifoQueue()

    async def open(self) -> None:
        configured = settings()
        for _ in range(configured.database_pool_size):
            self._idle.put_nowait(await connect(configured))

    async def run(self, method: str, sql: str, arguments: list[Any]) -> Any:
        connection = await self._idle.get()
        try:
            return await getattr(connection, method)(sql, *arguments)
        finally:
            self._idle.put_nowait(connection)


class _Prepared:
    """The text of a statement, and which value each of its parameters is."""

    def __init__(self, statement: Statement, *names: str) -> None:
        self.sql = statement.sql
        # The statement itself says which name goes where; what is not named here is a constant of its own.
        marks = {name: object() for name in names}
        sources = list(marks.values())
        self._order: list[int] = []
        for argument in statement.arguments(marks):
            if argument not in sources[: len(names)]:
                sources.append(argument)
                self._order.append(len(sources) - 1)
            else:
                self._order.append(sources.index(argument))
        self._constants = tuple(sources[len(names) :])

    def arguments(self, *values: Any) -> list[Any]:
        """The values of the names, in the order in which those were declared, in the statement's own order."""
        sources = values + self._constants
        return [sources[index] for index in self._order]


_READ = _Prepared(queries._READ, "actor_id", "actor_roles", "request_id")
_LIST = _Prepared(queries._own(False), "actor_id", "before", "rows")
_COMPLETE = _Prepared(
    compile_transition(LIFECYCLE.declared, LIFECYCLE.declared.transitions[Action.COMPLETE]),
    "actor_id", "subject_id", "proof_id", "notes", "reason", "event_0_id", "event_1_id",
)  # fmt: skip
_STATE: Final = tuple(ServiceRequestState.model_fields)


def _encoder(model: type[BaseModel]) -> Callable[[Any], bytes]:
    """Writes dicts of the shape of the product's model as JSON, which is faster than finding out what they hold."""
    encode: Callable[[Any], bytes] = TypeAdapter(_dict_like(model)).serializer.to_json
    return encode


def _dict_like(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {name: _dict_like(field.annotation) for name, field in annotation.model_fields.items()}
        return TypedDict(annotation.__name__, fields)  # type: ignore[operator]  # made while running
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return str
    if isinstance(annotation, UnionType):
        return Union[tuple(_dict_like(part) for part in get_args(annotation))]  # noqa: UP007 - made while running
    if get_origin(annotation) is list:
        return list[tuple(_dict_like(part) for part in get_args(annotation))]  # type: ignore[misc]  # as above
    return annotation


_encode_request = _encoder(ServiceRequest)
_encode_page = _encoder(Page[ServiceRequest])
_encode_state = _encoder(ServiceRequestState)


def _shaped(row: Any) -> dict[str, Any]:
    document = dict(row)
    document["customer"] = {name: document.pop(f"customer_{name}") for name in ("id", "name", "phone", "email")}
    return document


async def _read(pool: Pool, actor: str, request: str, _: bytes) -> bytes:
    row = await pool.run("fetchrow", _READ.sql, _READ.arguments(UUID(actor), ["customer"], UUID(request)))
    return _encode_request(_shaped(row))


async def _list(pool: Pool, actor: str, *_: object) -> bytes:
    rows = await pool.run("fetch", _LIST.sql, _LIST.arguments(UUID(actor), NEWEST, PAGE + 1))
    return _encode_page({"items": [_shaped(row) for row in rows[:PAGE]], "next_cursor": next_cursor(rows, PAGE)})


async def _complete(pool: Pool, actor: str, request: str, body: bytes) -> bytes:
    sent = from_json(body)
    arguments = _COMPLETE.arguments(
        UUID(actor), UUID(request), UUID(sent["proof_id"]), sent.get("notes"), None, uuid7(), uuid7()
    )
    row = await pool.run("fetchrow", _COMPLETE.sql, arguments)
    return _encode_state({name: row[name] for name in _STATE})


_ANSWERS: Final[dict[str, Answer]] = {"read": _read, "list": _list, "complete": _complete}


class Limit:
    """`/<what>/<actor>/<request>`."""

    def __init__(self) -> None:
        self._pool = Pool()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        body = b"{}"
        if scope["path"] != "/healthz":
            _, what, actor, request = scope["path"].split("/")
            sent = (await receive())["body"] if scope["method"] == "POST" else b""
            body = await _ANSWERS[what](self._pool, actor, request, sent)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        await self._pool.open()
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        os._exit(0)


def main() -> None:
    """Serve on the inherited socket whose number is the only argument, with the settings of `localbazaar serve`."""
    config = uvicorn.Config(
        Limit(), loop="uvloop", http="httptools", ws="none", access_log=False, log_level="warning", server_header=False
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()

"""What the limit is made of: connections without a check, statements without their names, answers without a model."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from types import GenericAlias, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from app.core.config import settings
from app.core.connections import connect
from app.core.database import Statement


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

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection with a transaction, which is committed when the block ends."""
        connection = await self._idle.get()
        try:
            await connection.execute("BEGIN")
            yield connection
            await connection.execute("COMMIT")
        finally:
            self._idle.put_nowait(connection)


class Prepared:
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


def encoder(model: type[BaseModel]) -> Callable[[Any], bytes]:
    """Writes dicts of the shape of the product's model as JSON, which is faster than finding out what they hold."""
    encode: Callable[[Any], bytes] = TypeAdapter(_dict_like(model)).serializer.to_json
    return encode


def _dict_like(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {name: _dict_like(field.annotation) for name, field in annotation.model_fields.items()}
        return TypedDict(annotation.__name__, fields)  # type: ignore[operator]  # to mypy it is no call, as it cannot read the names
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return str
    if isinstance(annotation, UnionType):
        return Union[tuple(_dict_like(part) for part in get_args(annotation))]  # noqa: UP007 - `|` takes no tuple
    if get_origin(annotation) is list:
        return GenericAlias(list, tuple(_dict_like(part) for part in get_args(annotation)))
    return annotation

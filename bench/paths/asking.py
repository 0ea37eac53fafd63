"""How one path is asked: by whom, and about what. What a path is asked about is a named tuple, whose fields fill it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from app.core.ids import uuid7
from bench.flows import as_person
from bench.stage import request
from bench.world import World

COUNT: Final = 50
"""How often a path is asked. The slowest of so few is what is shown as their p99."""

MakeRequest = Callable[[Any], bytes]
Body = Any
"""What is sent as JSON, or as it is if it is bytes; or what makes that of what the request is about."""


class Question(NamedTuple):
    """One path: what it is called, how it is asked, and about what, once about each."""

    name: str
    make: MakeRequest
    about: Sequence[Any]


@dataclass(frozen=True)
class Asker:
    """Whose requests these are: what they bear may follow from what they are about."""

    bearer: Callable[[Any], str | None]

    def get(self, path: str) -> MakeRequest:
        """`path` is one of the API's, or begins with a slash; fields of what it is about stand in braces."""
        return self._ask("GET", path)

    def post(self, path: str, body: Body = None, *, once: bool = False) -> MakeRequest:
        """With `once`, under an `Idempotency-Key` of its own."""
        return self._ask("POST", path, body, once=once)

    def put(self, path: str, body: Body) -> MakeRequest:
        return self._ask("PUT", path, body)

    def upload(self, path: str, boundary: str, body: bytes) -> MakeRequest:
        """A form, whose parts the boundary divides."""
        return self._ask("POST", path, body, content_type=f"multipart/form-data; boundary={boundary}")

    def _ask(
        self, method: str, path: str, body: Body = None, *, once: bool = False, content_type: str = "application/json"
    ) -> MakeRequest:
        whole = path if path.startswith("/") else f"/api/v1/{path}"

        def make(about: Any) -> bytes:
            return request(
                method,
                whole.format(**about._asdict()),
                bearer=self.bearer(about),
                body=body(about) if callable(body) else body,
                key=uuid7() if once else None,
                content_type=content_type,
            )

        return make


def person(world: World, field: str, *roles: str) -> Asker:
    """Whom this field of what it is about names, a customer who has these roles too."""
    return Asker(lambda about: as_person(world, getattr(about, field), *roles))


def holder(key: str) -> Asker:
    """Whoever holds this API key."""
    return Asker(lambda _: key)


NOBODY: Final = Asker(lambda _: None)
REASON: Final = {"reason": "it took too long"}

"""The outermost layer, plain ASGI: bounds every request body before anything reads it, and answers 413 as a problem."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.config import Settings
from app.core.errors import PayloadTooLarge
from app.routers.problems import answer

_FORM_OVERHEAD_BYTES = 64 * 1024
_UPLOAD_PATHS = frozenset({"/api/v1/files", "/api/v1/service-request/complete"})


class Edge:
    """Pure ASGI: no task and no copy for the requests that fit."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._json_limit = settings.json_body_limit_bytes
        self._upload_limit = settings.video_limit_bytes + _FORM_OVERHEAD_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            return await self._app(scope, receive, send)
        limit = self._upload_limit if scope["path"] in _UPLOAD_PATHS else self._json_limit
        declared = _content_length(scope)
        if declared is not None and declared > limit:
            return await answer(PayloadTooLarge(limit_bytes=limit))(scope, receive, send)
        if declared is not None:
            return await self._app(scope, receive, send)  # the server holds the client to what it declared
        await self._app(scope, _counting(receive, limit), send)


def _counting(receive: Receive, limit: int) -> Receive:
    """A body of unknown length: count it as it comes."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            # An HTTPException, because the framework lets those through while it reads a body.
            raise HTTPException(PayloadTooLarge.status)
        return message

    return counted


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None

"""The outermost layer, plain ASGI: bounds every request body before anything reads it, and answers 413 as a problem.

Large bodies are read from nobody who is not signed in.
"""

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.config import Settings
from app.core.errors import PayloadTooLarge, Problem, Unauthenticated
from app.routers.dependencies import bearer_token
from app.routers.problems import answer

_FORM_OVERHEAD_BYTES = 64 * 1024
_UPLOAD_PATHS = frozenset({"/api/v1/files", "/api/v1/service-request/complete"})
_DIGITS_LIMIT = 18
_PAGES = ("/docs", "/redoc")
_PAGE_HEADERS = {
    # The pages start themselves with a script of their own text; everything else must come from here.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Edge:
    """Pure ASGI: no task and no copy for the requests that fit."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._json_limit = settings.json_body_limit_bytes
        self._upload_limit = settings.video_limit_bytes + _FORM_OVERHEAD_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["path"].startswith(_PAGES):
            send = _as_page(send)
        if scope["method"] == "GET":
            return await self._app(scope, receive, send)
        limit = self._json_limit
        if scope["path"] in _UPLOAD_PATHS:
            limit = self._upload_limit
            if scope["method"] == "POST" and (refusal := await _refusal(scope)):
                return await answer(refusal)(scope, receive, send)
        declared = _content_length(scope)
        if declared is not None and declared > limit:
            return await answer(PayloadTooLarge(limit_bytes=limit))(scope, receive, send)
        if declared is not None:
            return await self._app(scope, receive, send)  # the server holds the client to what it declared
        await self._app(scope, _counting(receive, limit), send)


async def _refusal(scope: Scope) -> Problem | None:
    """Why nothing that this caller sends is read: a form of a hundred megabytes is first written down, and only then
    does its route ask who sent it."""
    token = bearer_token(Request(scope))
    if token is None:
        return Unauthenticated()
    try:
        await scope["app"].state.sessions.actor(token)
    except Problem as refusal:
        return refusal
    return None


def _as_page(send: Send) -> Send:
    """The documentation runs scripts: nothing foreign, and in nobody's frame. A page may be stricter by itself."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _PAGE_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded


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
    """What the request declares; None if it declares nothing that can be relied upon, so that the body is counted."""
    declared: int | None = None
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            # Python refuses to convert thousands of digits.
            declared = int(value) if value.isdigit() and len(value) <= _DIGITS_LIMIT else None
    return declared

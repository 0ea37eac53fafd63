"""Every refusal leaves as an RFC 9457 document: our own, the framework's, and the unforeseen."""

from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from app.core.errors import NotFound, PayloadTooLarge, Problem, Unprocessable
from app.kernel.idempotency import Replay
from app.schemas.base import ProblemDocument

_log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"

_NAMES = {
    400: "The request was refused.",
    401: "Sign in first.",
    403: "The caller may not do this.",
    404: "There is no such thing here, or not for this caller.",
    409: "The current state does not allow this.",
    413: "The body is too large.",
    415: "This kind of content is not accepted here.",
    422: "The payload does not fit.",
    429: "Too many requests; see `Retry-After`.",
    503: "A part of the service is away; see `Retry-After`. `outcome_unknown`: it may have been carried out.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a path, for OpenAPI."""
    return {
        status: {
            "description": _NAMES[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in sorted({*statuses, 413, 422, 503})
    }


def answer(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.document(), problem.status, problem.headers, media_type=MEDIA_TYPE)


class MethodNotAllowed(Problem):
    """The header `Allow` names the methods that the path answers."""

    status, code, title = 405, "method_not_allowed", "This path does not answer this method."


class Internal(Problem):
    """A fault of the service, not of the request."""

    status, code, title = 500, "internal", "Something broke; it was logged."


def known() -> dict[str, type[Problem]]:
    """Every kind of problem that the service can answer with, by code."""
    found: dict[str, type[Problem]] = {}
    waiting: list[type[Problem]] = [Problem]
    while waiting:
        kind = waiting.pop()
        found[kind.code] = kind
        waiting += kind.__subclasses__()
    return dict(sorted(found.items()))


async def _problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - registered for this class only
    if problem.status >= 500:
        _log.warning("refused", code=problem.code, cause=repr(problem.__cause__))
    return answer(problem)


async def _framework(request: Request, error: Exception) -> Response:
    """A refusal that the framework made, before any of our code ran or on its own."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    match error.status_code:
        case 404:
            return answer(NotFound())
        case 400:
            return answer(Unprocessable("The body could not be read."))
        case 405:
            return answer(MethodNotAllowed(headers={"Allow": ", ".join(_methods(request)) or "GET, HEAD"}))
        case 413:
            return answer(PayloadTooLarge())
        case status:
            document = {"type": "about:blank", "title": error.detail, "status": status, "code": f"http_{status}"}
            return JSONResponse(document, status, error.headers, media_type=MEDIA_TYPE)


def _methods(request: Request) -> list[str]:
    """All that the path answers: the framework names those of its first route only."""
    fitting = (
        route.methods or ()
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    )
    return sorted({method for methods in fitting for method in methods})


async def _validation(_: Request, error: Exception) -> Response:
    """Where and why, but never the value: it may be a password, or text that cannot even be written back."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    errors = [
        {
            "where": [str(part).encode("utf-8", "replace").decode()[:100] for part in item["loc"]],
            "why": item["msg"][:300],
        }
        for item in error.errors()[:50]
    ]
    return answer(Unprocessable(errors=errors))


async def _replay(_: Request, stored: Exception) -> Response:
    assert isinstance(stored, Replay)  # noqa: S101 - registered for this class only
    return Response(stored.body, stored.status_code, {"Idempotency-Replayed": "true"}, media_type="application/json")


async def _unforeseen(request: Request, error: Exception) -> Response:
    _log.error("unforeseen", path=request.scope["path"], method=request.method, exc_info=error)
    return answer(Internal())


def install(app: FastAPI) -> None:
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Replay, _replay)
    app.add_exception_handler(Exception, _unforeseen)


__all__ = ["MEDIA_TYPE", "ProblemDocument", "answer", "documented", "install", "known"]

"""What the fakes of Stripe and Razorpay have in common: they serve as much as the adapters use, over a real socket.

Messages and shapes are those of the real ones. They check what the real ones check: keys, idempotency, expiry, and that
no more goes back than was paid. A fake can be told to misbehave for the next requests.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Body = dict[str, Any]


class Fault(StrEnum):
    HANG = "hang"
    """Takes the request and does nothing, for ever."""
    LOSE_THE_ANSWER = "lose the answer"
    """Does the work, and never answers."""
    DRIP = "drip"
    """Answers byte by byte, without an end."""
    BROKEN = "broken"
    BUSY = "busy"
    CONFLICT = "conflict"
    UNDER_WAY = "under way"
    MOVED = "moved"
    GARBAGE = "garbage"
    NO_OBJECT = "no object"
    EMPTY_OBJECT = "empty object"
    STRANGE_ERROR = "strange error"
    DEEP = "deep"


_MISBEHAVED: dict[Fault, Callable[[], Response]] = {
    Fault.BROKEN: lambda: JSONResponse({"error": {"type": "api_error", "code": "SERVER_ERROR"}}, 500),
    Fault.BUSY: lambda: JSONResponse({"error": {"code": "BAD_REQUEST_ERROR", "message": "Too many requests"}}, 429),
    Fault.CONFLICT: lambda: JSONResponse({"error": {"code": "BAD_REQUEST_ERROR", "message": "In progress"}}, 409),
    Fault.UNDER_WAY: lambda: JSONResponse({"error": {"code": "GATEWAY_ERROR", "message": "Wait"}}, 503),
    Fault.MOVED: lambda: JSONResponse({"error": {"code": "BAD_REQUEST_ERROR"}}, 302, headers={"Location": "/"}),
    Fault.GARBAGE: lambda: Response("<html>Bad gateway</html>", 200, media_type="text/html"),
    Fault.NO_OBJECT: lambda: JSONResponse([1, 2, 3]),
    Fault.EMPTY_OBJECT: lambda: JSONResponse({}),
    Fault.STRANGE_ERROR: lambda: JSONResponse({"error": ["not", "an", "object"]}, 500),
    Fault.DEEP: lambda: Response("[" * 100_000, 200, media_type="application/json"),
}


class Refused(Exception):
    def __init__(self, status: int, error: Body) -> None:
        super().__init__(error)
        self.status, self.error = status, error


class FakeProvider:
    """What both have in common. `fault` holds for all requests until it is taken back."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.faultless: set[str] = set()
        """Methods that work nevertheless."""
        self.requests: list[str] = []
        """Method and path of each that arrived."""
        self.abandoned = 0
        """How many of those that were never answered the client has given up."""
        self.app = Starlette(
            routes=[Route(path, self._serve(handler), methods=[method]) for method, path, handler in self.handlers()]
        )

    def handlers(self) -> list[tuple[str, str, Callable[[Request, bytes], Body]]]:
        raise NotImplementedError

    def check_key(self, request: Request) -> None:
        raise NotImplementedError

    def _serve(self, handler: Callable[[Request, bytes], Body]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            self.requests.append(f"{request.method} {request.url.path}")
            body = await request.body()
            fault = None if request.method in self.faultless else self.fault
            if misbehaved := _MISBEHAVED.get(fault) if fault else None:
                return misbehaved()
            if fault is Fault.DRIP:
                return StreamingResponse(_drip(), media_type="application/json")
            if fault is Fault.HANG:
                return await self._never(request)
            try:
                self.check_key(request)
                done: Response = JSONResponse(handler(request, body))
            except Refused as refused:
                done = JSONResponse({"error": refused.error}, refused.status)
            return await self._never(request) if fault is Fault.LOSE_THE_ANSWER else done

        return answer

    async def _never(self, request: Request) -> Response:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.abandoned += 1
        return Response(status_code=499)


async def _drip() -> AsyncIterator[bytes]:
    with anyio.move_on_after(5):
        while True:
            yield b" "
            await anyio.sleep(0.05)


def unique(prefix: str) -> str:
    """An id as a provider makes them."""
    return prefix + secrets.token_hex(8)

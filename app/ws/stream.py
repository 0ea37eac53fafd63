"""`/api/v1/events/stream`: the same stream as the socket's, as Server-Sent Events (realtime.md: Socket)."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

from app.core.errors import Conflict
from app.core.tasks import run_together
from app.routers.dependencies import bearer_token
from app.routers.problems import documented
from app.ws import protocol
from app.ws.endpoint import authenticate
from app.ws.hub import Connection, Hub

router = APIRouter(tags=["me"])

_CLOSING_SECONDS: Final = 5
_HEARTBEAT: Final = b":\n\n"
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy must not gather what is to arrive at once
]


class TooManyStreams(Conflict):
    code, title = "too_many_streams", "As many sockets and streams as one account may have open are open."


def encode(frame: Mapping[str, Any]) -> bytes:
    """Events as messages with their id, which the client sends back as `Last-Event-ID`; the rest as named events."""
    head = f"id: {frame['id']}" if "id" in frame else f"event: {frame['type']}"
    return head.encode() + b"\ndata: " + to_json(frame) + b"\n\n"


class EventStream(Response):
    """An answer that goes on until the client leaves, its session ends, it does not read, or the server ends."""

    def __init__(self, hub: Hub, connection: Connection, last_event_id: UUID | None, heartbeat_seconds: float) -> None:
        super().__init__()
        self._hub, self._connection = hub, connection
        self._last_event_id, self._heartbeat = last_event_id, heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = self._connection
        self._hub.join(connection)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if self._last_event_id is not None:
                code = await self._hub.resume(connection, self._last_event_id)
                if code is not None:
                    connection.push(protocol.error(code))
            await self._run(receive, send)
        finally:
            self._hub.leave(connection)
        # Whoever does not read does not take the end either; then the server closes the line.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(send(_part(b"", more=False)), _CLOSING_SECONDS)

    async def _run(self, receive: Receive, send: Send) -> None:
        await run_together(self._write(send), _left(receive), _end(self._connection))

    async def _write(self, send: Send) -> None:
        """Frames as they come, and a comment now and then, by which both sides learn that the line is dead."""
        connection = self._connection
        while connection.closing is None:
            connection.stalled_since = time.monotonic()
            while connection.frames and connection.closing is None:
                await send(_part(connection.frames.pop(0)))
                connection.stalled_since = time.monotonic()
            connection.stalled_since = None
            self._hub.has_room_again(connection)
            try:
                await asyncio.wait_for(connection.filled(), self._heartbeat)
            except TimeoutError:
                await send(_part(_HEARTBEAT))


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _end(connection: Connection) -> None:
    await connection.over


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/api/v1/events/stream",
    response_class=StreamingResponse,
    responses=documented(401, 409) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream(
    request: Request,
    ticket: Annotated[
        str | None, Query(max_length=200, description="As for the socket; or send the access token.")
    ] = None,
    last_event_id: Annotated[
        UUID | None, Header(alias="Last-Event-ID", description="Everything since this event comes first.")
    ] = None,
) -> EventStream:
    """The account's events as they happen, for clients that speak no WebSocket. See `docs/events.md`."""
    platform, hub = request.app.state.platform, request.app.state.hub
    actor, session_id = await authenticate(platform, request.app.state.sessions, ticket, bearer_token(request))
    if hub.connections_of(actor.user_id) >= platform.settings.sockets_per_user:
        raise TooManyStreams()
    connection = Connection(actor, session_id, encode)
    return EventStream(hub, connection, last_event_id, platform.settings.socket_heartbeat_seconds)

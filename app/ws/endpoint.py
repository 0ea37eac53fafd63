"""`/ws/notifications/`: who may open it, what it understands, how it ends (realtime.md: Socket)."""

import asyncio
import contextlib
import time
from uuid import UUID

from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import Receive, Scope, Send

from app.core.actor import Actor
from app.core.config import Settings
from app.core.errors import Problem, Unauthenticated
from app.core.tasks import end
from app.kernel.platform import Platform
from app.services.notifications import tickets
from app.services.users.sessions import LiveSessions
from app.ws import protocol
from app.ws.hub import Connection, Hub
from app.ws.operations import Operations
from app.ws.topics import Follower

PATH = "/ws/notifications/"
_BEARER = "bearer"
_ERRORS_FORGIVEN = 10
_CLOSING_SECONDS = 5
_GONE = (WebSocketDisconnect, RuntimeError)
"""What sending raises when the other side has left, or the closing frame is already out."""


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Events for one user, live and since a given one. See `docs/events.md`."""
    socket = WebSocket(scope, receive, send)
    state = socket.app.state
    platform: Platform = state.platform
    hub: Hub = state.hub
    offered: list[str] = socket.scope["subprotocols"]
    # Accepted first, because a refusal before that reaches clients as a bare 403 without its code.
    await socket.accept(subprotocol=_BEARER if _BEARER in offered else None)
    if not _origin_allowed(socket.headers.get("origin"), platform.settings):
        return await _refuse(socket, protocol.FORBIDDEN_ORIGIN, "this origin may not open sockets")
    try:
        token = offered[1] if len(offered) == 2 and offered[0] == _BEARER else None
        ticket = socket.query_params.get("ticket")
        actor, session_id = await authenticate(platform, state.sessions, ticket, token)
    except Unauthenticated as refusal:
        return await _refuse(socket, protocol.BAD_AUTHENTICATION, refusal.code)
    except Problem as problem:
        # Not the client's fault, and no reason for it to sign in again.
        return await _refuse(socket, protocol.TRY_AGAIN, problem.code)
    # Nothing is awaited from the count to the joining, so sockets that open at once do not slip past it together.
    if hub.connections_of(actor.user_id) >= platform.settings.sockets_per_user:
        return await _refuse(socket, protocol.TOO_MANY_SOCKETS, "too many sockets of one user")
    # Nobody asks for them again, and they would hold the token for as long as the socket lives.
    scope["headers"].clear()
    scope.clear()
    del token, ticket, offered
    connection = Connection(actor, session_id)
    operations = Operations(hub, state.topics, state.acknowledgements, connection, platform.settings)
    await _serve(socket, hub, connection, operations, platform.settings)


async def _refuse(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(*_GONE):
        await socket.close(code, reason)


async def authenticate(
    platform: Platform, sessions: LiveSessions, ticket: str | None, token: str | None
) -> tuple[Actor, UUID]:
    """By ticket or by an access token, and by nothing that a browser sends on its own."""
    actor = None
    if ticket is not None:
        redeemed = await tickets.redeem(platform, ticket)
        actor = await sessions.look_up(redeemed.user_id, redeemed.session_id)
    elif token is not None:
        actor = await sessions.actor(token)
    if actor is None or actor.session_id is None:
        raise Unauthenticated()
    return actor, actor.session_id


def _origin_allowed(origin: str | None, settings: Settings) -> bool:
    """Apps send no origin; a page must come from our own address or from one in the settings."""
    return origin is None or settings.allows_origin(origin)


async def _serve(
    socket: WebSocket, hub: Hub, connection: Connection, operations: Operations, settings: Settings
) -> None:
    """Read and write until one side has had enough. The hub's first look puts the frame `ready` before all others."""
    hub.join(connection)
    tasks = [
        asyncio.create_task(_write(socket, hub, connection, operations.follower)),
        asyncio.create_task(_read(socket, connection, operations, settings)),
    ]
    for task in tasks:
        task.add_done_callback(connection.end)
    try:
        await connection.over
        if connection.closing is not None:
            await _close(socket, connection.closing)
    finally:
        operations.leave()
        await end(*tasks)
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, _GONE):
            raise error


async def _write(socket: WebSocket, hub: Hub, connection: Connection, follower: Follower) -> None:
    """Frames as they come, and what passes on topics when no other waits.

    `send` waits while the reader does not read; the hub sees since when.
    """
    while connection.closing is None:
        await connection.filled()
        while connection.closing is None:
            frame = connection.frames.pop(0) if connection.frames else follower.take()
            if frame is None:
                break
            connection.stalled_since = time.monotonic()
            await socket.send_text(frame.decode())
            connection.stalled_since = None
        hub.has_room_again(connection)


async def _close(socket: WebSocket, code: int) -> None:
    with contextlib.suppress(TimeoutError, *_GONE):  # whoever does not read does not take the closing frame either
        await asyncio.wait_for(socket.close(code, "resume" if code == protocol.TOO_SLOW else None), _CLOSING_SECONDS)


async def _read(socket: WebSocket, connection: Connection, operations: Operations, settings: Settings) -> None:
    """Carry out the client's frames; too many of them, or too many that make no sense, close the socket."""
    recent: list[float] = []
    errors = 0
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        recent.append(time.monotonic())
        while recent[0] < recent[-1] - 60:
            recent.pop(0)
        problem = await operations.carry_out(message.get("text"))
        if problem is not None:
            errors += problem["code"] in protocol.NONSENSE
            connection.push(problem)
        if errors > _ERRORS_FORGIVEN or len(recent) > settings.socket_frames_a_minute:
            return connection.close(protocol.ABUSE)

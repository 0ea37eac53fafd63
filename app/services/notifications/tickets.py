"""Tickets: single-use, 30 seconds, so that no token ever stands in a socket's address (realtime.md: Socket)."""

from typing import Any, NamedTuple
from uuid import UUID

from app.core.actor import Actor
from app.core.errors import Unauthenticated
from app.core.security import digest, opaque_token
from app.kernel.platform import Platform
from app.schemas.notifications import Ticket


class Redeemed(NamedTuple):
    user_id: UUID
    session_id: UUID


def _key(ticket: str) -> str:
    return f"ws:ticket:{digest(ticket).hex()}"


async def issue(platform: Platform, actor: Actor) -> Ticket:
    """A ticket for the actor's session; only its hash is kept."""
    ticket, seconds = opaque_token(), int(platform.settings.ticket_seconds)
    async with platform.valkey.commands() as client:
        await client.set(_key(ticket), f"{actor.user_id}:{actor.session_id}", ex=seconds)
    return Ticket(ticket=ticket, expires_in=seconds)


async def redeem(platform: Platform, ticket: str) -> Redeemed:
    """Spend the ticket: of two that come with it at once, GETDEL lets one in."""
    async with platform.valkey.commands() as client:
        value: Any = await client.getdel(_key(ticket))
    if value is None:
        raise Unauthenticated("The ticket is unknown, spent or expired.")
    user_id, _, session_id = value.decode().partition(":")
    return Redeemed(UUID(user_id), UUID(session_id))

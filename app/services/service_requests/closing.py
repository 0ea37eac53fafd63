"""How a request ends: approved, sent back into the race, cancelled, or expired (leads.md)."""

from uuid import UUID

from app.core.actor import CLOCK, Actor
from app.core.database import Session
from app.kernel import deadlines
from app.schemas.service_requests import ServiceRequestState
from app.services.service_requests import completion, leads, queries
from app.services.service_requests.lifecycle import LIFECYCLE, Action


async def approve(session: Session, actor: Actor, request_id: UUID) -> ServiceRequestState:
    """The customer accepts the work; only now is anybody assigned: the winner. `NothingToApprove` without one."""
    return ServiceRequestState.model_validate(dict(await LIFECYCLE.advance(session, request_id, Action.APPROVE, actor)))


async def send_back(session: Session, actor: Actor, request_id: UUID, reason: str) -> ServiceRequestState:
    """The customer does not accept the work: the race is open again for all purchasers."""
    row = await LIFECYCLE.advance(session, request_id, Action.SEND_BACK, actor, reason=reason, send_back_reason=reason)
    return ServiceRequestState.model_validate(dict(row))


async def reopen_or_start(session: Session, actor: Actor, request_id: UUID, reason: str) -> ServiceRequestState:
    """What `IN_PROGRESS` means on the documented status path: a customer sends back, a purchaser starts."""
    request = await queries.read(session, actor, request_id)
    if request.purchased:
        return await completion.start(session, actor, request_id)
    return await send_back(session, actor, request_id, reason)


async def cancel(session: Session, actor: Actor, request_id: UUID, reason: str) -> ServiceRequestState:
    """The customer calls it off; buyers who had not begun to work get their fee back, in this transaction."""
    row = await LIFECYCLE.advance(session, request_id, Action.CANCEL, actor, reason=reason, cancel_reason=reason)
    await leads.refund_unworked(session, request_id, actor, "the request was cancelled")
    return ServiceRequestState.model_validate(dict(row))


async def expire(session: Session, request_id: UUID) -> None:
    """The clock: nothing happened for 30 days. Unworked leads are refunded."""
    await LIFECYCLE.advance(session, request_id, Action.EXPIRE, CLOCK)
    await leads.refund_unworked(session, request_id, CLOCK, "the request expired")


deadlines.when_due("service_request", "expire", expire)

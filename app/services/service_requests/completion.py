"""The race: many purchasers hand in proof at the same instant, one of them wins (leads.md: Race)."""

from typing import BinaryIO
from uuid import UUID

from app.core.actor import Actor
from app.core.database import Session
from app.core.errors import Problem
from app.kernel import files
from app.kernel.platform import Platform
from app.models.files import FilePurpose
from app.schemas.service_requests import ServiceRequestState
from app.services.service_requests.lifecycle import LIFECYCLE, Action, AlreadyCompleted


async def complete(
    session: Session, platform: Platform, actor: Actor, request_id: UUID, proof_id: UUID, notes: str | None
) -> ServiceRequestState:
    """The first purchaser to hand in proof becomes `completed_by`; every later one gets `AlreadyCompleted`.

    One statement decides: it locks the row, compares the status and writes everything that follows from winning. Behind
    it stand the check `service_requests_winner_while_won` and the trigger `service_requests_one_winner`. A loser's
    proof is removed from the storage. `session` runs single statements, so that none of hundreds of losers holds one
    connection while it waits for another. Raises also `NotFound`, `NotAPurchaser`, `ProofRefused`.
    """
    try:
        row = await LIFECYCLE.advance(session, request_id, Action.COMPLETE, actor, proof_id=proof_id, notes=notes)
    except AlreadyCompleted:
        await files.discard(platform, actor, proof_id)
        raise
    return ServiceRequestState.model_validate(dict(row))


async def hand_in(
    session: Session,
    platform: Platform,
    actor: Actor,
    request_id: UUID,
    content: BinaryIO,
    size: int,
    notes: str | None,
) -> ServiceRequestState:
    """Upload the proof and complete in one go, as the documented path of the client apps does."""
    proof = await files.store(platform, actor, FilePurpose.PROOF, content, size)
    try:
        return await complete(session, platform, actor, request_id, proof.id, notes)
    except Problem:
        await files.discard(platform, actor, proof.id)
        raise


async def start(session: Session, actor: Actor, request_id: UUID) -> ServiceRequestState:
    """A purchaser says that the work has begun."""
    return ServiceRequestState.model_validate(dict(await LIFECYCLE.advance(session, request_id, Action.START, actor)))

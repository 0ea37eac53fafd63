"""What moves a work order and no money: assignment, work, evidence, review, rejection, dispute, rating."""

from typing import Any
from uuid import UUID

from app.core.actor import Actor
from app.core.database import Session
from app.schemas.evidence import SubmitEvidence
from app.schemas.work_orders import RejectEvidence, WorkOrderState
from app.services.work_orders.lifecycle import LIFECYCLE, Action


async def step(session: Session, actor: Actor, order_id: UUID, action: Action, **given: Any) -> WorkOrderState:
    """Take a transition that is one statement; who may, and what it records, is in the table (`lifecycle.py`)."""
    return WorkOrderState.model_validate(dict(await LIFECYCLE.advance(session, order_id, action, actor, **given)))


async def submit(session: Session, actor: Actor, order_id: UUID, given: SubmitEvidence) -> WorkOrderState:
    """Hand in a round of evidence, which nobody can change any more. `EvidenceRefused` for what are no own images."""
    return await step(session, actor, order_id, Action.SUBMIT, image_ids=given.image_ids, evidence_notes=given.notes)


async def reject(session: Session, actor: Actor, order_id: UUID, given: RejectEvidence) -> WorkOrderState:
    """The evidence does not show that the work is done: the booster may hand in again; the money stays held."""
    return await step(
        session,
        actor,
        order_id,
        Action.REJECT,
        reason=given.reason,
        rejection_reason=given.reason,
        rejection_category=given.category.value,
    )


async def dispute(session: Session, actor: Actor, order_id: UUID, reason: str) -> WorkOrderState:
    """Nothing moves any more, the money neither, until support has resolved it."""
    return await step(session, actor, order_id, Action.DISPUTE, reason=reason, dispute_reason=reason)

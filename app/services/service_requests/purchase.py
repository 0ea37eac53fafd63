"""Buying a lead: cap, fee and weekly budget hold under concurrency (leads.md: Purchase)."""

from uuid import UUID

from sqlalchemy import bindparam, select

from app.core.actor import Actor
from app.core.database import Session, Statement
from app.core.ids import uuid7
from app.kernel import ledger
from app.models.ledger import AccountKind
from app.models.providers import providers
from app.models.service_requests import service_requests
from app.schemas.service_requests import Lead
from app.services.service_requests import leads
from app.services.service_requests.lifecycle import LIFECYCLE, Action

# One provider's purchases queue up here, so that the weekly budget is compared with all that were made before.
_LOCK_PROVIDER = Statement(
    select(providers.c.id).where(providers.c.id == bindparam("provider_id")).with_for_update(key_share=True)
)
_LOCK_REQUEST = Statement(
    select(service_requests.c.id)
    .where(service_requests.c.id == bindparam("service_request_id"))
    .with_for_update(key_share=True)
)


async def lock(session: Session, provider_id: UUID, request_id: UUID) -> None:
    """Take what `purchase` locks before the wallet, for a transaction that moves money in that wallet first."""
    await session.first(_LOCK_PROVIDER, provider_id=provider_id)
    await session.first(_LOCK_REQUEST, service_request_id=request_id)


async def purchase(session: Session, actor: Actor, request_id: UUID) -> Lead:
    """Buy the right to answer a request, from the wallet. The contact details unlock with it.

    Locks, always in this order: the provider, the request (its `buyers_count` is compared and raised under that lock;
    the check `service_requests_cap_holds` stands behind it), the wallet. Raises `NotFound`, `NotMatching`,
    `AlreadyPurchased` (also from the constraint `lead_purchases_once`), `LeadSoldOut`, `WeeklyBudgetReached`,
    `InsufficientFunds`, `IllegalTransition`.
    """
    await session.first(_LOCK_PROVIDER, provider_id=actor.user_id)
    request = await LIFECYCLE.advance(session, request_id, Action.PURCHASE, actor)
    lead = await leads.LIFECYCLE.create(
        session,
        actor,
        {
            "id": uuid7(),
            "service_request_id": request_id,
            "provider_id": actor.user_id,
            "region_id": request["region_id"],
            "fee_minor": request["fee_minor"],
            "currency": request["currency"],
        },
    )
    if lead["fee_minor"] > 0:
        await ledger.transfer(
            session,
            "lead_fee",
            ledger.wallet(actor.user_id, lead["currency"]),
            ledger.platform(AccountKind.FEES, lead["currency"]),
            lead["fee_minor"],
            idempotency_key=leads.fee_key(lead["id"]),
            subject=("lead", lead["id"]),
            actor_id=actor.id,
        )
    return Lead.model_validate(dict(lead))

"""A lead bought by checkout: the payment reaches the provider's wallet and is spent on the lead in one transaction."""

from uuid import UUID

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Session
from app.models.payments import PaymentPurpose
from app.services.payments.purposes import Price, Purpose, register
from app.services.service_requests import purchase, queries
from app.services.service_requests.lifecycle import LIFECYCLE, Action


async def price(session: ReadSession, actor: Actor, request_id: UUID) -> Price:
    """The fee that was frozen on the request; raises what a purchase from the wallet would raise now."""
    await LIFECYCLE.check(session, request_id, Action.PURCHASE, actor)
    request = await queries.read(session, actor, request_id)
    return Price(request.fee_minor, request.currency)


async def lock(session: Session, payment: Row) -> None:
    """The provider and the request, before the wallet."""
    await purchase.lock(session, payment["payer_id"], payment["subject_id"])


async def fulfil(session: Session, payment: Row) -> None:
    """Buy the lead. If that is not possible any more (sold out, cancelled), its refusal sends the money back."""
    await purchase.purchase(session, Actor(payment["payer_id"]), payment["subject_id"])


register(PaymentPurpose.LEAD, Purpose(price, lock, fulfil))

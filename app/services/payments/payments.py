"""Opening payments: created in a transaction, then the provider is asked outside of any (money.md)."""

from uuid import UUID

from sqlalchemy import Double, Text, bindparam, cast, func, select

from app.adapters.payments.port import Order, ProviderRefused
from app.core.actor import CLOCK, Actor
from app.core.config import Settings, origin_of, settings
from app.core.database import ReadSession, Row, Session, Statement
from app.core.errors import Conflict, NotFound, Unprocessable
from app.core.ids import uuid7
from app.core.pagination import decode, newest
from app.kernel import deadlines
from app.kernel.platform import Platform
from app.models.payments import PaymentPurpose, payments
from app.schemas.base import Page, page_of
from app.schemas.payments import AllPayments, CreatePayment, Payment, PaymentPage, ReviewedPayment
from app.services.payments.lifecycle import LIFECYCLE, Action
from app.services.payments.providers import asking
from app.services.payments.purposes import PURPOSES, Price


class AmountTooLarge(Unprocessable):
    code, title = "amount_too_large", "This is more than may be paid at once."


class CurrencyRefused(Unprocessable):
    code, title = "currency_refused", "Payments are taken in the platform's own currency."


class ReturnUrlRefused(Unprocessable):
    code, title = "return_url_refused", "The return address is neither this service nor an allowed origin."


class NothingToPay(Conflict):
    code, title = "nothing_to_pay", "This costs nothing."


class CheckoutRefused(Conflict):
    """The payment provider does not take this payment; `reason` is its own."""

    code, title = "checkout_refused", "The payment provider does not take this payment."


# Its age by the database's clock: a server whose own is wrong would open checkouts that are over at once.
_age = cast(func.extract("epoch", func.now() - payments.c.created_at), Double).label("age_seconds")
_OWN = Statement(
    select(*payments.c, _age).where(
        payments.c.id == bindparam("payment_id"), payments.c.payer_id == bindparam("payer_id")
    )
)
_behind = select(*payments.c).where(payments.c.id < bindparam("before"))
_MINE = Statement(newest(_behind.where(payments.c.payer_id == bindparam("payer_id")), payments.c.id))
_ALL = Statement(newest(_behind, payments.c.id))
_IN_STATUS = Statement(newest(_behind.where(payments.c.status == bindparam("status", type_=Text)), payments.c.id))


async def create(session: Session, platform: Platform, actor: Actor, wanted: CreatePayment) -> Payment:
    """A payment to be made; nothing is asked of the provider yet, so that this can happen once for each key.

    Raises `TooManyRequests`, `AmountTooLarge`, `CurrencyRefused`, `ReturnUrlRefused`, `NothingToPay`, and whatever
    keeps the actor from buying the subject.
    """
    knobs = platform.settings
    await platform.limits.hit(knobs.payments_per_payer, "payment", str(actor.user_id))
    price = await _price(session, actor, wanted)
    if price.currency != knobs.currency:
        raise CurrencyRefused(currency=knobs.currency)
    if price.amount_minor <= 0:
        raise NothingToPay()
    if price.amount_minor > knobs.wallet_top_up_limit_minor:
        raise AmountTooLarge(limit_minor=knobs.wallet_top_up_limit_minor)
    row = await LIFECYCLE.create(
        session,
        actor,
        {
            "id": uuid7(),
            "payer_id": actor.user_id,
            "purpose": wanted.purpose.value,
            "subject_id": wanted.subject_id,
            "provider": knobs.payment_provider.value,
            "amount_minor": price.amount_minor,
            "currency": price.currency,
            "return_url": _return_url(wanted, knobs),
        },
    )
    return Payment.model_validate(dict(row))


async def _price(session: ReadSession, actor: Actor, wanted: CreatePayment) -> Price:
    if wanted.purpose is PaymentPurpose.TOP_UP or wanted.subject_id is None:
        return Price(wanted.amount_minor or 0, wanted.currency)
    return await PURPOSES[wanted.purpose].price(session, actor, wanted.subject_id)


def _return_url(wanted: CreatePayment, knobs: Settings) -> str:
    """Only to where the payer came from: an address of somebody else's would make the checkout a trap."""
    if wanted.return_url is None:
        return knobs.public_url
    try:
        is_ours = knobs.allows_origin(origin_of(wanted.return_url))
    except ValueError as error:  # brackets around what is no address
        raise ReturnUrlRefused() from error
    if not is_ours:
        raise ReturnUrlRefused()
    return wanted.return_url


async def open_checkout(platform: Platform, actor: Actor, payment_id: UUID) -> Payment:
    """Have the provider open its page, and answer where it is; asked again, the same page.

    No transaction is open while the provider is asked. It knows the payment by our id, so dying in between, or two
    calls at once, open one page. Raises `NotFound`, `IllegalTransition`, `CheckoutRefused`, `ProviderAway`.
    """
    async with platform.database.read() as session:
        row = await session.first(_OWN, payment_id=payment_id, payer_id=actor.user_id)
        if row is None:
            raise NotFound()
        await LIFECYCLE.check(session, payment_id, Action.OPEN, actor)
    if row["checkout_url"] is not None:
        return Payment.model_validate(dict(row))
    try:
        async with asking(platform, row["provider"]) as provider:
            checkout = await provider.open_checkout(_order(row))
    except ProviderRefused as refused:
        async with platform.database.write_single() as writing:
            await LIFECYCLE.advance(writing, payment_id, Action.FAIL, actor, failure=str(refused)[:500])
        raise CheckoutRefused(reason=str(refused)[:500]) from refused
    async with platform.database.write_single() as writing:
        opened = await LIFECYCLE.advance(
            writing,
            payment_id,
            Action.OPEN,
            actor,
            checkout_url=checkout.url,
            checkout_reference=checkout.reference,
        )
    return Payment.model_validate(dict(opened))


def _order(row: Row) -> Order:
    return Order(
        payment_id=row["id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        description="LocalBazaar wallet" if row["purpose"] == PaymentPurpose.TOP_UP else "LocalBazaar lead",
        return_url=row["return_url"],
        expires_in_seconds=max(1, int(settings().payment_checkout_seconds - row["age_seconds"])),
    )


async def cancel(session: Session, actor: Actor, payment_id: UUID) -> Payment:
    """The payer gives it up. Money that arrives nevertheless goes back by itself."""
    return Payment.model_validate(dict(await LIFECYCLE.advance(session, payment_id, Action.CANCEL, actor)))


async def read(session: ReadSession, actor: Actor, payment_id: UUID) -> Payment:
    """One of the actor's own; `NotFound` for anybody else's."""
    row = await session.first(_OWN, payment_id=payment_id, payer_id=actor.user_id)
    if row is None:
        raise NotFound()
    return Payment.model_validate(dict(row))


async def own(session: ReadSession, actor: Actor, page: PaymentPage) -> Page[Payment]:
    """The actor's payments, newest first."""
    rows = await session.all(_MINE, payer_id=actor.user_id, before=decode(page.cursor), rows=page.limit + 1)
    return page_of(rows, page.limit, lambda row: Payment.model_validate(dict(row)))


async def everybodys(session: ReadSession, page: AllPayments) -> Page[ReviewedPayment]:
    """All payments, or those in one state, newest first, for admins."""
    statement = _IN_STATUS if page.status else _ALL
    status = statement.known(status=page.status)
    rows = await session.all(statement, **status, before=decode(page.cursor), rows=page.limit + 1)
    return page_of(rows, page.limit, lambda row: ReviewedPayment.model_validate(dict(row)))


async def expire(session: Session, payment_id: UUID) -> None:
    """The clock: nobody has paid in time."""
    await LIFECYCLE.advance(session, payment_id, Action.EXPIRE, CLOCK)


deadlines.when_due("payment", "expire", expire)

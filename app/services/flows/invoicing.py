"""Which event is to be documented, and how: what was sold, to whom, for how much (money.md: Invoices and receipts).

A job of its own issues the document, not the sale's transaction: all sales of the platform would queue up behind its
counter there. A further kind of sale is one more line of `DOCUMENTED`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select

from app.core.config import settings
from app.core.database import Row, Session, Statement
from app.kernel.lifecycle import constant
from app.models.catalogue import services
from app.models.ledger import AccountKind, accounts, postings
from app.models.payments import payments
from app.models.providers import providers
from app.models.service_requests import lead_purchases, service_requests
from app.models.users import users
from app.models.work_orders import WorkOrderStatus, work_orders
from app.schemas.invoices import Invoice, InvoiceKind, InvoiceLine
from app.services.invoices.issuing import Buyer, Sale, Seller, credit, find, issue, the_platform
from app.services.payments.events import Succeeded
from app.services.service_requests.events import LeadPurchased, LeadRefunded
from app.services.wallets.events import ToppedUp
from app.services.work_orders.events import Completed, Overridden, Resolved

_LEAD = Statement(
    select(
        lead_purchases.c.fee_minor,
        lead_purchases.c.currency,
        lead_purchases.c.provider_id,
        providers.c.business_name,
        users.c.language,
        services.c.name_en,
        services.c.name_hi,
    )
    .join(service_requests, service_requests.c.id == lead_purchases.c.service_request_id)
    .join(services, services.c.id == service_requests.c.service_id)
    .join(providers, providers.c.id == lead_purchases.c.provider_id)
    .join(users, users.c.id == lead_purchases.c.provider_id)
    .where(lead_purchases.c.id == bindparam("lead_id"))
)
_TOP_UP = Statement(
    select(users.c.id, users.c.name, users.c.language, postings.c.amount, postings.c.currency)
    .select_from(postings)
    .join(accounts, accounts.c.id == postings.c.account_id)
    .join(users, users.c.id == accounts.c.owner_id)
    .where(
        postings.c.entry_id == bindparam("entry_id"),
        accounts.c.kind == constant(AccountKind.WALLET),
        postings.c.amount > 0,
    )
)
_PAYMENT = Statement(
    select(
        users.c.id,
        users.c.name,
        users.c.language,
        payments.c.captured_minor.label("amount"),
        payments.c.captured_currency.label("currency"),
    )
    .join(users, users.c.id == payments.c.payer_id)
    .where(payments.c.id == bindparam("payment_id"), payments.c.fulfilled_at.is_not(None))
)
_advertisers = users.alias("advertisers")
# Locked, so that the documents of a completion and of its override are made one after the other, whichever comes first.
_WORK_ORDER = Statement(
    select(
        work_orders.c.status,
        work_orders.c.title,
        work_orders.c.currency,
        (work_orders.c.price_minor - work_orders.c.refunded_minor).label("sold_minor"),
        work_orders.c.advertiser_id,
        _advertisers.c.name.label("advertiser_name"),
        users.c.id.label("buyer_id"),
        users.c.name,
        users.c.language,
    )
    .join(users, users.c.id == work_orders.c.buyer_id)
    .join(_advertisers, _advertisers.c.id == work_orders.c.advertiser_id)
    .where(work_orders.c.id == bindparam("order_id"))
    .with_for_update(key_share=True, of=work_orders)
)
_WORK_ORDER_PREFIX: Final = "WO"
_LEAD_WORDS: Final = {"en": "Lead: {name_en}", "hi": "लीड: {name_hi}"}
_TOP_UP_WORDS: Final = {"en": "Money added to the wallet", "hi": "वॉलेट में जोड़ी गई राशि"}


async def _invoice_lead(session: Session, lead_id: UUID) -> Invoice | None:
    """The invoice for a lead's fee; None for a free one."""
    lead = await session.first(_LEAD, lead_id=lead_id)
    if lead is None or not lead["fee_minor"]:
        return None
    sale = Sale(
        ("lead", lead_id),
        Buyer(lead["provider_id"], lead["business_name"], lead["language"]),
        [_one(_LEAD_WORDS[lead["language"]].format_map(lead), lead["fee_minor"])],
        lead["currency"],
    )
    return await issue(
        session, InvoiceKind.INVOICE, the_platform(), sale, tax_basis_points=settings().invoice_tax_basis_points
    )


async def _credit_lead(session: Session, lead_id: UUID) -> Invoice | None:
    """The credit note for a fee that came back. Its invoice is issued first if its own job has not come to it yet."""
    invoice = await _invoice_lead(session, lead_id)
    return None if invoice is None else await credit(session, invoice)


async def _receipt_top_up(session: Session, entry_id: UUID) -> Invoice | None:
    return await _receipt(session, ("entry", entry_id), await session.first(_TOP_UP, entry_id=entry_id))


async def _receipt_payment(session: Session, payment_id: UUID) -> Invoice | None:
    return await _receipt(session, ("payment", payment_id), await session.first(_PAYMENT, payment_id=payment_id))


async def _receipt(session: Session, subject: tuple[str, UUID], received: Row | None) -> Invoice | None:
    """The receipt for money that came into a wallet: nothing is sold, so nothing is taxed."""
    if received is None:
        return None
    sale = Sale(
        subject,
        Buyer(received["id"], received["name"], received["language"]),
        [_one(_TOP_UP_WORDS[received["language"]], received["amount"])],
        received["currency"],
    )
    return await issue(session, InvoiceKind.RECEIPT, the_platform(), sale, tax_basis_points=0)


async def _document_work_order(session: Session, order_id: UUID) -> Invoice | None:
    """The advertiser's invoice for what the buyer paid in the end; None if that is nothing.

    Money of the house is no tender that could be taxed: what was sold for it is acknowledged by a receipt.
    """
    order = await session.first(_WORK_ORDER, order_id=order_id)
    if order is None or not order["sold_minor"]:
        return None
    kind = _kind_for(order)
    sale = Sale(
        ("work_order", order_id),
        Buyer(order["buyer_id"], order["name"], order["language"]),
        [_one(order["title"], order["sold_minor"])],
        order["currency"],
    )
    return await issue(
        session,
        kind,
        Seller(order["advertiser_id"], _WORK_ORDER_PREFIX, order["advertiser_name"]),
        sale,
        tax_basis_points=settings().invoice_tax_basis_points if kind is InvoiceKind.INVOICE else 0,
    )


def _kind_for(order: Row) -> InvoiceKind:
    return InvoiceKind.INVOICE if order["currency"] == settings().currency else InvoiceKind.RECEIPT


async def _document_override(session: Session, order_id: UUID) -> Invoice | None:
    """The document of an order that counts as completed after all, or the credit note for one that does not any more.

    An override comes once: nothing is invoiced again after a credit note.
    """
    order = await session.first(_WORK_ORDER, order_id=order_id)
    if order is None or order["status"] != WorkOrderStatus.CANCELLED:
        return await _document_work_order(session, order_id)
    document = await find(session, _kind_for(order), ("work_order", order_id))
    return None if document is None else await credit(session, document)


def _one(description: str, amount_minor: int) -> InvoiceLine:
    return InvoiceLine(description=description, quantity=1, unit_minor=amount_minor, amount_minor=amount_minor)


DOCUMENTED: Final[Mapping[str, Callable[[Session, UUID], Awaitable[Invoice | None]]]] = {
    LeadPurchased.name: _invoice_lead,
    LeadRefunded.name: _credit_lead,
    ToppedUp.name: _receipt_top_up,
    Succeeded.name: _receipt_payment,
    Completed.name: _document_work_order,
    Resolved.name: _document_work_order,
    Overridden.name: _document_override,
}
"""By the name of the event, what makes the document for its subject: once, however often it is called."""


async def document(session: Session, event: str, subject_id: UUID) -> Invoice | None:
    """Issue the document for what an event tells of the subject; None if it was free of charge."""
    return await DOCUMENTED[event](session, subject_id)

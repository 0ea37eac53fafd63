"""The sandbox: a payment provider that happens to live in this server, so that a person can click through a checkout.

Its books are its own, it is spoken to through the port only, and what happened on its pages is told by signed webhooks,
as Stripe does. Only its hosted pages (`routers/sandbox.py`) take steps here themselves.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from sqlalchemy import ColumnElement, Double, Text, bindparam, case, func, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.adapters.payments.port import Checkout, Notice, Order, ProviderAway, ProviderRefused, RefundOrder
from app.adapters.payments.sandbox_webhooks import SEND, EventType, SandboxSignatures, compose, translate
from app.core.config import Settings
from app.core.database import Database, ReadSession, Row, Session, Statement
from app.core.errors import NotFound, Unavailable
from app.core.ids import uuid7
from app.core.security import opaque_token
from app.models.sandbox import SandboxCheckoutStatus, SandboxRefundStatus, sandbox_checkouts, sandbox_refunds

Enqueue = Callable[[Session, Sequence[tuple[str, bytes]]], Awaitable[None]]
"""Queues jobs in the session's transaction (`kernel/jobs.py`)."""

DECLINED: Final = "The payer's bank declined the payment."

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_HOST: Final = re.compile(r"[a-z0-9.-]+|[0-9a-f:.]*:[0-9a-f:.]*")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]")


class CheckoutState(StrEnum):
    """What the page shows: the status, or that the time is over."""

    OPEN = "OPEN"
    PAID = "PAID"
    DECLINED = "DECLINED"
    ABANDONED = "ABANDONED"
    EXPIRED = "EXPIRED"


_OUTCOMES: Final = {CheckoutState.PAID: "paid", CheckoutState.DECLINED: "declined"}


@dataclass(frozen=True, slots=True)
class HostedCheckout:
    """A checkout as its payer sees it."""

    token: str
    payment_id: UUID
    amount_minor: int
    currency: str
    description: str
    return_url: str
    state: CheckoutState
    reference: str | None

    @property
    def way_back(self) -> str:
        """The return address, told how it went: paid, declined, or else abandoned."""
        parts = urlsplit(self.return_url)
        told = urlencode({"payment": self.payment_id, "outcome": _OUTCOMES.get(self.state, "abandoned")})
        return parts._replace(query=f"{parts.query}&{told}" if parts.query else told).geturl()

    @property
    def return_origin(self) -> str:
        """Where the return address leads, as a source in a content security policy."""
        parts = urlsplit(self.return_url)
        return f"{parts.scheme}://{parts.netloc.removesuffix(':')}"


_table = sandbox_checkouts.c
_is_over: ColumnElement[bool] = _table.expires_at <= func.now()
_SEEN: Final = (
    _table.token,
    _table.payment_id,
    _table.amount_minor,
    _table.currency,
    _table.description,
    _table.return_url,
    _table.reference,
    case(
        ((_table.status == SandboxCheckoutStatus.OPEN) & _is_over, literal_column(f"'{CheckoutState.EXPIRED}'", Text)),
        else_=_table.status,
    ).label("state"),
)
_by_token = _table.token == bindparam("token")
_FIND: Final = Statement(select(*_SEEN).where(_by_token))


def _step(target: SandboxCheckoutStatus, condition: ColumnElement[bool], **values: Any) -> Statement:
    """Leave OPEN: of many clicks at once, the row's lock lets one find it so."""
    return Statement(
        update(sandbox_checkouts)
        .where(_by_token, _table.status == SandboxCheckoutStatus.OPEN, condition)
        .values(status=target, updated_at=func.now(), **values)
        .returning(*_SEEN)
    )


_PAY: Final = _step(SandboxCheckoutStatus.PAID, ~_is_over, reference=bindparam("new_reference"))
_DECLINE: Final = _step(SandboxCheckoutStatus.DECLINED, ~_is_over)
_ABANDON: Final = _step(SandboxCheckoutStatus.ABANDONED, literal_column("true"))

_OPEN: Final = Statement(
    upsert(sandbox_checkouts)
    .values(
        id=bindparam("id"),
        token=bindparam("token"),
        payment_id=bindparam("payment_id"),
        amount_minor=bindparam("amount_minor"),
        currency=bindparam("currency"),
        description=bindparam("description"),
        return_url=bindparam("return_url"),
        status=SandboxCheckoutStatus.OPEN,
        expires_at=func.now() + bindparam("seconds", type_=Double) * literal_column("interval '1 second'"),
    )
    .on_conflict_do_nothing(index_elements=["payment_id"])
    .returning(_table.id, _table.token)
)
_OPENED: Final = Statement(
    select(_table.id, _table.token, _table.amount_minor, _table.currency).where(
        _table.payment_id == bindparam("payment_id")
    )
)

# The refunds of one checkout queue up here, so that each sees what the ones before left.
_LOCK: Final = Statement(
    select(_table.id, _table.payment_id, _table.amount_minor, _table.refunded_minor, _table.currency)
    .where(_table.reference == bindparam("reference"))
    .with_for_update(key_share=True)
)
_REFUNDED: Final = Statement(
    select(sandbox_refunds.c.id, sandbox_refunds.c.checkout_id, sandbox_refunds.c.amount_minor).where(
        sandbox_refunds.c.refund_id == bindparam("refund_id")
    )
)
_TAKE: Final = Statement(
    update(sandbox_checkouts)
    .where(_table.id == bindparam("checkout_id"))
    .values(refunded_minor=_table.refunded_minor + bindparam("amount_minor"), updated_at=func.now())
)
_REFUND: Final = Statement(
    insert(sandbox_refunds).values(
        id=bindparam("id"),
        refund_id=bindparam("refund_id"),
        checkout_id=bindparam("checkout_id"),
        amount_minor=bindparam("amount_minor"),
        status=SandboxRefundStatus.SUCCEEDED,
    )
)


class Sandbox:
    """The payment provider (`port.PaymentProvider`), and the steps of its hosted page."""

    def __init__(self, database: Database, settings: Settings, enqueue: Enqueue) -> None:
        self._database = database
        self._pages = f"{settings.public_url.rstrip('/')}/sandbox/checkout"
        self._signatures = SandboxSignatures(settings)
        self._enqueue = enqueue

    async def open_checkout(self, order: Order) -> Checkout:
        """A page for this order, the same one whenever it is asked for again.

        Raises `ProviderAway`; `ProviderRefused` if the payment has a checkout of another amount or currency, or the
        order makes no sense.
        """
        if order.amount_minor <= 0 or order.expires_in_seconds <= 0:
            raise ProviderRefused("An amount and a time above zero are needed.")
        if not _is_returnable(order.return_url):
            raise ProviderRefused("The return address is not an absolute one of http or https.")
        async with _answering(), self._database.write_single() as session:
            row = await session.first(
                _OPEN,
                id=uuid7(),
                token=opaque_token(),
                payment_id=order.payment_id,
                amount_minor=order.amount_minor,
                currency=order.currency,
                description=order.description,
                return_url=order.return_url,
                seconds=order.expires_in_seconds,
            )
            row = row or await self._opened(session, order)
        return Checkout(url=f"{self._pages}/{row['token']}", reference=f"sbc_{row['id'].hex}")

    async def _opened(self, session: ReadSession, order: Order) -> Row:
        row = await session.first(_OPENED, payment_id=order.payment_id)
        assert row is not None  # noqa: S101 - the conflict was about it, and no checkout is ever deleted
        if (row["amount_minor"], row["currency"]) != (order.amount_minor, order.currency):
            raise ProviderRefused("This payment has a checkout of another amount.")
        return row

    async def refund(self, order: RefundOrder) -> str:
        """Send money back, once for each refund id; the sandbox's id of it. The webhook says that it succeeded.

        The checkout's row lock makes the refunds of one payment queue up; the check
        `sandbox_checkouts_refunded_within_amount` stands behind it. Raises `ProviderAway`; `ProviderRefused` above what
        is left of the payment, for a payment that is not known, and for a refund id that was used for another refund.
        """
        if order.amount_minor <= 0:
            raise ProviderRefused("An amount above zero is needed.")
        async with _answering(), self._database.write() as session:
            checkout = await session.first(_LOCK, reference=order.reference)
            if checkout is None or (checkout["payment_id"], checkout["currency"]) != (order.payment_id, order.currency):
                raise ProviderRefused("There is no such payment.")
            known = await session.first(_REFUNDED, refund_id=order.refund_id)
            if known is not None:
                if (known["checkout_id"], known["amount_minor"]) != (checkout["id"], order.amount_minor):
                    raise ProviderRefused("This refund id was used for another refund.")
                return _refund_reference(known["id"])
            if order.amount_minor > checkout["amount_minor"] - checkout["refunded_minor"]:
                raise ProviderRefused("This is more than what is left of the payment.")
            return await self._refund(session, checkout["id"], order)

    async def _refund(self, session: Session, checkout_id: UUID, order: RefundOrder) -> str:
        made = uuid7()
        await session.execute(_TAKE, checkout_id=checkout_id, amount_minor=order.amount_minor)
        await session.execute(
            _REFUND, id=made, refund_id=order.refund_id, checkout_id=checkout_id, amount_minor=order.amount_minor
        )
        data = {
            "payment_id": order.payment_id,
            "refund_id": order.refund_id,
            "reference": order.reference,
            "amount_minor": order.amount_minor,
            "currency": order.currency,
        }
        await self._enqueue(session, [(SEND, compose(EventType.REFUND_SUCCEEDED, data))])
        return _refund_reference(made)

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> Notice:
        """See the port."""
        return translate(self._signatures.check(headers, body, now), body)

    def sign(self, event_id: str, body: bytes, now: float) -> dict[str, str]:
        """The headers with which the sandbox would send this body; `now` is in seconds since 1970."""
        return self._signatures.sign(event_id, body, now)

    async def close(self) -> None:
        """Nothing is held open: the database is the platform's."""

    async def find(self, session: ReadSession, token: str) -> HostedCheckout:
        """The checkout whose page this is, or `NotFound`."""
        row = await _row(session, _FIND, token)
        if row is None:
            raise NotFound()
        return _hosted(row)

    async def pay(self, session: Session, token: str) -> HostedCheckout:
        """The payer pays, and the platform is told. After any other step, or too late: as it is, and nothing is told.

        A compare-and-set decides between clicks at once. Raises `NotFound`.
        """
        row = await _row(session, _PAY, token, new_reference=f"sbx_{uuid7().hex}")
        return await self._after(session, token, row, EventType.PAYMENT_SUCCEEDED)

    async def decline(self, session: Session, token: str) -> HostedCheckout:
        """The payer's bank declines, and the platform is told. Otherwise as `pay`."""
        row = await _row(session, _DECLINE, token)
        return await self._after(session, token, row, EventType.PAYMENT_FAILED, {"reason": DECLINED})

    async def abandon(self, session: Session, token: str) -> HostedCheckout:
        """The payer goes back, and nobody is told: the platform lets the payment expire. Otherwise as `pay`."""
        row = await _row(session, _ABANDON, token)
        return _hosted(row) if row is not None else await self.find(session, token)

    async def _after(
        self, session: Session, token: str, row: Row | None, event: EventType, more: Mapping[str, str] | None = None
    ) -> HostedCheckout:
        if row is None:
            return await self.find(session, token)
        checkout = _hosted(row)
        data = {
            "payment_id": checkout.payment_id,
            "reference": checkout.reference,
            "amount_minor": checkout.amount_minor,
            "currency": checkout.currency,
            **(more or {}),
        }
        await self._enqueue(session, [(SEND, compose(event, data))])
        return checkout


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Without its books the sandbox does not answer, as any provider might not."""
    try:
        yield
    except Unavailable as error:
        raise ProviderAway() from error


async def _row(session: ReadSession, statement: Statement, token: str, **values: Any) -> Row | None:
    """The row of this token; for text that no token looks like, none."""
    return await session.first(statement, token=token, **values) if _TOKEN.fullmatch(token) else None


def _hosted(row: Row) -> HostedCheckout:
    return HostedCheckout(**dict(row) | {"state": CheckoutState(row["state"])})


def _refund_reference(made: UUID) -> str:
    return f"sbr_{made.hex}"


def _is_returnable(url: str) -> bool:
    """Whether a browser may be sent there: no script, no name and password, nothing that would end a header."""
    if _UNSAFE.search(url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # a port that is none raises
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and "@" not in parts.netloc and _HOST.fullmatch(host) is not None

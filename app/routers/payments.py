"""Payments through a provider, and the providers' webhooks (money.md)."""

import time
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, status

from app.routers.dependencies import Admin, OnlyOnce, Reading, SignedIn, ThePlatform, Writing
from app.routers.problems import documented
from app.schemas.base import Page, Reason
from app.schemas.payments import (
    AllPayments,
    CreatePayment,
    Payment,
    PaymentPage,
    Received,
    Refund,
    RequestRefund,
    ReviewedPayment,
)
from app.services.payments import payments, refunds, webhooks

router = APIRouter(tags=["payments"])
_ACTION = documented(401, 403, 404, 409)


@router.post("/api/v1/payments", status_code=status.HTTP_201_CREATED, responses=documented(401, 403, 404, 409, 429))
async def create(
    body: CreatePayment, session: Writing, actor: SignedIn, platform: ThePlatform, once: OnlyOnce
) -> Payment:
    """Say what is to be paid for: a top-up of the wallet, or a lead. Then open its checkout."""
    return await once(lambda: payments.create(session, platform, actor, body))


@router.get("/api/v1/payments", responses=documented(401))
async def list_own(session: Reading, actor: SignedIn, page: Annotated[PaymentPage, Query()]) -> Page[Payment]:
    """The account's payments, newest first."""
    return await payments.own(session, actor, page)


@router.get("/api/v1/payments/{payment_id}", responses=documented(401, 404))
async def read(payment_id: UUID, session: Reading, actor: SignedIn) -> Payment:
    return await payments.read(session, actor, payment_id)


@router.post("/api/v1/payments/{payment_id}/checkout", responses=_ACTION)
async def open_checkout(payment_id: UUID, actor: SignedIn, platform: ThePlatform) -> Payment:
    """Open the provider's page, at `checkout_url`; asked again, the same one. 503 while the provider is away."""
    return await payments.open_checkout(platform, actor, payment_id)


@router.post("/api/v1/payments/{payment_id}/cancel", responses=_ACTION)
async def cancel(payment_id: UUID, session: Writing, actor: SignedIn) -> Payment:
    """Give it up. Money that arrives nevertheless is sent back."""
    return await payments.cancel(session, actor, payment_id)


@router.post("/webhooks/{provider}", responses=documented(400, 404))
async def receive_webhook(provider: str, request: Request, platform: ThePlatform) -> Received:
    """Where payment providers tell what happened. Signed over the raw body, at most five minutes ago."""
    await webhooks.receive(platform, provider, request.headers, await request.body(), time.time())
    return Received()


@router.get("/api/v1/admin/payments", responses=documented(401, 403), tags=["staff"])
async def list_all(session: Reading, actor: Admin, page: Annotated[AllPayments, Query()]) -> Page[ReviewedPayment]:
    """All payments by status; `UNDER_REVIEW` waits for a decision."""
    return await payments.everybodys(session, page)


@router.post("/api/v1/admin/payments/{payment_id}/accept", responses=_ACTION, tags=["staff"])
async def accept(payment_id: UUID, body: Reason, session: Writing, actor: Admin) -> ReviewedPayment:
    """Take what arrived as it is: it goes to the payer's wallet."""
    return await refunds.accept(session, actor, payment_id, body.reason)


@router.post(
    "/api/v1/admin/payments/{payment_id}/refunds",
    status_code=status.HTTP_201_CREATED,
    responses=_ACTION,
    tags=["staff"],
)
async def refund(payment_id: UUID, body: RequestRefund, session: Writing, actor: Admin, once: OnlyOnce) -> Refund:
    """Send it back the way it came, whole or in part."""
    return await once(lambda: refunds.request(session, actor, payment_id, body))

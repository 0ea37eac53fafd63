"""Invoices, credit notes and receipts: JSON, and the PDF behind a signed link."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.routers.dependencies import Reading, SignedIn, SupportOrAdmin, ThePlatform
from app.routers.problems import documented
from app.schemas.base import Page
from app.schemas.files import FileLink
from app.schemas.invoices import AllInvoices, Invoice, MyInvoices
from app.services.invoices import pdf_requests, queries

router = APIRouter(prefix="/api/v1", tags=["invoices"])


@router.get("/invoices", responses=documented(401))
async def list_mine(session: Reading, actor: SignedIn, page: Annotated[MyInvoices, Query()]) -> Page[Invoice]:
    """What was issued to the account, or in its name, newest first."""
    return await queries.mine(session, actor, page)


@router.get("/invoices/{invoice_id}", responses=documented(401, 404))
async def read(invoice_id: UUID, session: Reading, actor: SignedIn) -> Invoice:
    return await queries.read(session, actor, invoice_id)


@router.get("/invoices/{invoice_id}/pdf", responses=documented(401, 404, 409))
async def read_pdf_link(invoice_id: UUID, actor: SignedIn, platform: ThePlatform) -> FileLink:
    """A link that opens the PDF for a few minutes.

    It is rendered when it is first asked for: until it is there, within a second or two, the answer is
    `not_rendered_yet`. Ask again after the seconds of `Retry-After`.
    """
    return await pdf_requests.link(platform, actor, invoice_id)


@router.get("/admin/invoices", responses=documented(401, 403), tags=["staff"])
async def list_all(session: Reading, actor: SupportOrAdmin, page: Annotated[AllInvoices, Query()]) -> Page[Invoice]:
    """All documents, for support and admins."""
    return await queries.everybodys(session, page)

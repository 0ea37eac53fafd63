"""Rendering: a document becomes a PDF, once, when it is first asked for; it is kept as its buyer's private file."""

import asyncio
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, func, select, update

from app.adapters import documents
from app.core.database import Statement
from app.kernel import files
from app.kernel.platform import Platform
from app.models.files import FilePurpose
from app.models.invoices import invoices
from app.services.invoices.queries import COLUMNS, invoice_of

_TYPE: Final = "application/pdf"

_waiting = (invoices.c.id == bindparam("invoice_id"), invoices.c.rendered_at.is_(None))
_WAITING = Statement(select(*COLUMNS).where(*_waiting))
_RENDERED = Statement(update(invoices).where(*_waiting).values(file_id=invoices.c.id, rendered_at=func.now()))


async def render(platform: Platform, invoice_id: UUID) -> None:
    """A job: write the PDF and keep it; nothing if that is done. The file bears the invoice's id.

    Its bytes follow from the invoice alone, so a second run after a crash finishes what the first one began.
    """
    async with platform.database.read() as session:
        row = await session.first(_WAITING, invoice_id=invoice_id)
    if row is None:
        return
    invoice = invoice_of(row)
    zone = ZoneInfo(platform.settings.invoice_time_zone)
    content = await asyncio.get_running_loop().run_in_executor(documents.WRITER, documents.render, invoice, zone)
    await files.keep(
        platform,
        FilePurpose.INVOICE,
        content,
        _TYPE,
        file_id=invoice.id,
        owner_id=invoice.buyer_id,
        subject=("invoice", invoice.id),
    )
    async with platform.database.write_single() as session:
        await session.execute(_RENDERED, invoice_id=invoice_id)

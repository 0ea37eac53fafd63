"""Asking for a document's PDF: the first who does has it rendered; `rendering.py` does it, in a worker."""

from typing import Final
from uuid import UUID

from pydantic_core import to_json

from app.core.actor import Actor
from app.core.errors import Conflict
from app.kernel import files, jobs
from app.kernel.platform import Platform
from app.schemas.files import FileLink
from app.services.invoices.queries import read

RENDER: Final = "render_invoice"
"""The job of `render`."""


class NotRenderedYet(Conflict):
    """The document is being written; ask again after the seconds of `Retry-After`."""

    code, title = "not_rendered_yet", "The PDF is not there yet."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


async def link(platform: Platform, actor: Actor, invoice_id: UUID) -> FileLink:
    """A signed link to the PDF. `NotFound` for strangers; `NotRenderedYet` until it is there, which it is soon.

    Whoever asks while it is not there queues its rendering, unless it is queued already: `enqueue_once` has the rule.
    A rendering that fails is tried again with growing pauses, which nobody shortens by asking. One that was held in the
    end stays where it is, for whoever mends the cause; asking then queues another, so that what was mended needs no
    hand, and what was not is held once more, hours later.
    """
    async with platform.database.read() as session:
        invoice = await read(session, actor, invoice_id)
    if invoice.rendered_at is not None:
        return await files.link(platform, actor, invoice_id)
    async with platform.database.write() as session:
        await jobs.enqueue_once(session, (RENDER, to_json({"invoice_id": invoice_id})))
    raise NotRenderedYet()

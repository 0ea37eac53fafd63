"""What happens to invoices."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import Channel, Event, entitle

entitle("invoice", en="Invoices and receipts", hi="चालान और रसीदें")


class Issued(Event):
    """To the buyer. Its PDF is rendered when it is first asked for. `kind` is invoice, credit_note or receipt."""

    name: ClassVar = "invoice.issued"
    messages: ClassVar = {
        "en": "A document was issued for you: {number}.",
        "hi": "आपके लिए दस्तावेज़ जारी हुआ: {number}।",
    }
    on_request: ClassVar = frozenset({Channel.MAIL, Channel.PUSH})
    invoice_id: UUID
    kind: str
    number: str
    total_minor: int
    currency: str

"""What happens to wallets."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import Event


class StatementReady(Event):
    """To the owner: the statement that was asked for can be read."""

    name: ClassVar = "wallet.statement_ready"
    messages: ClassVar = {"en": "Your wallet statement is ready.", "hi": "आपका वॉलेट विवरण तैयार है।"}
    file_id: UUID


class ToppedUp(Event):
    """To the owner: money came in from outside. The subject is the ledger's entry."""

    name: ClassVar = "wallet.topped_up"
    messages: ClassVar = {
        "en": "Money was added to your wallet.",
        "hi": "आपके वॉलेट में राशि जोड़ दी गई है।",
    }
    entry_id: UUID
    amount_minor: int
    currency: str

"""What happens to wallets."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import PUSHED, Channel, Event, entitle

entitle("wallet", en="Your wallet", hi="आपका वॉलेट")


class StatementReady(Event):
    """To the owner: the statement that was asked for can be read."""

    name: ClassVar = "wallet.statement_ready"
    messages: ClassVar = {"en": "Your wallet statement is ready.", "hi": "आपका वॉलेट विवरण तैयार है।"}
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    file_id: UUID


class Changed(Event):
    """Quietly to the owner, for each entry of the ledger that moves their wallet or what they owe: the new values, null
    for what the entry did not touch. The database writes it (`tell_of_balances`), where the balance is known."""

    name: ClassVar = "wallet.changed"
    messages: ClassVar = {"en": "Your balance has changed.", "hi": "आपकी शेष राशि बदल गई है।"}
    entry_id: UUID
    currency: str
    balance_minor: int | None
    owed_minor: int | None


class ToppedUp(Event):
    """To the owner: money came in from outside. The subject is the ledger's entry."""

    name: ClassVar = "wallet.topped_up"
    messages: ClassVar = {
        "en": "Money was added to your wallet.",
        "hi": "आपके वॉलेट में राशि जोड़ दी गई है।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL, Channel.SMS})
    entry_id: UUID
    amount_minor: int
    currency: str

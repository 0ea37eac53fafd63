"""What one can pay for through a provider. Each noun that is sold says what it costs and what happens once it is paid.

The payments know no noun: a flow registers its own here, as it does with its deadlines.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from uuid import UUID

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Session
from app.models.payments import PaymentPurpose


class Price(NamedTuple):
    amount_minor: int
    currency: str


class Purpose(NamedTuple):
    """`price` answers what the actor has to pay for a subject, or raises why they may not buy it.

    `fulfil` is given the payment's row, in the transaction in which its money reaches the payer's wallet, and spends it
    from there. If it raises a refusal, nothing of both is kept and the money goes back the way it came. `lock` runs
    before the money is booked: it takes what the noun locks before the wallet, so that the order is the same as in a
    purchase from the wallet and neither can deadlock the other.
    """

    price: Callable[[ReadSession, Actor, UUID], Awaitable[Price]]
    lock: Callable[[Session, Row], Awaitable[Any]]
    fulfil: Callable[[Session, Row], Awaitable[Any]]


PURPOSES: Final[dict[str, Purpose]] = {}
"""By `PaymentPurpose`; a top-up needs none: the money stays in the wallet."""


def register(name: PaymentPurpose, purpose: Purpose) -> None:
    PURPOSES[name] = purpose

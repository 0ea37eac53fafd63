"""Money: integer minor units with a currency code; house currencies such as GOLD are currencies like INR."""

from typing import Final
from uuid import UUID

from app.core.errors import Conflict, Problem

PLATFORM: Final = UUID(int=0)
"""Owner of the platform's own accounts."""

AMOUNT_LIMIT: Final = 1_000_000_000_000_00
"""The largest amount that any request may name, in minor units: far below what a 64-bit balance can hold."""


class InsufficientFunds(Conflict):
    code, title = "insufficient_funds", "The wallet does not hold enough."


class MoneyMovedBefore(Problem):
    """The effect of this idempotency key is in the ledger already; nothing was posted now."""

    status, code, title = 409, "already_posted", "This payment has been made before."


def half_even(numerator: int, denominator: int) -> int:
    """The quotient of two integers, `denominator` above zero, rounded to the nearest; half-way to the even one."""
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        return quotient + 1
    return quotient

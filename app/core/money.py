"""Money: integer minor units with a currency code; house currencies such as GOLD are currencies like INR."""

import re
from typing import Final
from uuid import UUID

from app.core.errors import Conflict, Problem

PLATFORM: Final = UUID(int=0)
"""Owner of the platform's own accounts."""

AMOUNT_LIMIT: Final = 1_000_000_000_000_00
"""The largest amount that any request may name, in minor units: far below what a 64-bit balance can hold."""


_MINOR_DIGITS: Final = 2


def decimal(amount_minor: int) -> str:
    """Minor units as people write them: -1050 is "-10.50". Every currency of the house has hundredths."""
    whole, rest = divmod(abs(amount_minor), 10**_MINOR_DIGITS)
    return f"{'-' if amount_minor < 0 else ''}{whole}.{rest:0{_MINOR_DIGITS}d}"


class InsufficientFunds(Conflict):
    code, title = "insufficient_funds", "The wallet does not hold enough."


class MoneyMovedBefore(Problem):
    """The effect of this idempotency key is in the ledger already; nothing was posted now."""

    status, code, title = 409, "already_posted", "This payment has been made before."


def shown(amount_minor: int, currency: str) -> str:
    """An amount for people: "₹1,23,456.50" in the Indian grouping; of any other currency "EUR 123,456.50"."""
    whole, minor = divmod(abs(amount_minor), 100)
    sign = "-" if amount_minor < 0 else ""
    if currency != "INR":
        return f"{currency} {sign}{whole:,}.{minor:02}"
    lakhs, thousand = divmod(whole, 1000)
    grouped = re.sub(r"\B(?=(\d\d)+$)", ",", str(lakhs)) + f",{thousand:03}" if lakhs else str(thousand)
    return f"{sign}₹{grouped}.{minor:02}"


def half_even(numerator: int, denominator: int) -> int:
    """The quotient of two integers, `denominator` above zero, rounded to the nearest; half-way to the even one."""
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        return quotient + 1
    return quotient

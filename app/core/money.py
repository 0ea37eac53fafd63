"""Money: integer minor units with a currency code; house currencies such as GOLD are currencies like INR.

Parts of an amount are found with integers only, so that they always add up and no minor unit is lost or made.
"""

import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from app.core.errors import Conflict, Problem, Unprocessable

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


class UnknownCurrency(Unprocessable):
    code, title = "unknown_currency", "Neither the platform's own currency nor one of the house."


class MoneyMovedBefore(Problem):
    """The effect of this idempotency key is in the ledger already; nothing was posted now."""

    status, code, title = 409, "already_posted", "This payment has been made before."


def shown(amount_minor: int, currency: str) -> str:
    """An amount for people: "₹1,23,456.50" in the Indian grouping; of any other currency "EUR 123,456.50"."""
    whole, minor = divmod(abs(amount_minor), 100)
    sign = "-" if amount_minor < 0 else ""
    if currency != "INR":
        return f"{currency} {sign}{whole:,}.{minor:02}"
    return f"{sign}₹{indian(whole)}.{minor:02}"


def indian(whole: int) -> str:
    """Digits in the Indian grouping: 1234567 is "12,34,567"."""
    lakhs, thousand = divmod(whole, 1000)
    return re.sub(r"\B(?=(\d\d)+$)", ",", str(lakhs)) + f",{thousand:03}" if lakhs else str(thousand)


def half_even(numerator: int, denominator: int) -> int:
    """The quotient of two integers, `denominator` above zero, rounded to the nearest; half-way to the even one."""
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        return quotient + 1
    return quotient


class DebtLimitReached(Conflict):
    """Nobody owes the platform and its customers more than the setting `debt_limit_minor`."""

    code, title = "debt_limit_reached", "The debt would grow beyond what one may owe."


BASIS_POINTS: Final = 10_000
"""One whole; a hundred of them are one per cent."""


def commission(amount_minor: int, basis_points: int) -> int:
    """So many ten-thousandths of the amount, rounded half-even to the minor unit (money.md: What moves).

    ValueError for a negative amount, and for a rate below nothing or above the whole.
    """
    if amount_minor < 0 or not 0 <= basis_points <= BASIS_POINTS:
        raise ValueError(f"no commission of {basis_points} basis points on {amount_minor}")
    return half_even(amount_minor * basis_points, BASIS_POINTS)


def split(amount_minor: int, shares: Sequence[int]) -> list[int]:
    """The amount in proportion to the shares, exactly: the minor units that rounding down leaves over go to the largest
    remainders, among equal ones to the earlier share.

    Each part is less than one minor unit away from its exact size, and no larger share gets less than a smaller one.
    ValueError for a negative amount or share, and where there is no share at all.
    """
    total = sum(shares)
    if amount_minor < 0 or total <= 0 or any(share < 0 for share in shares):
        raise ValueError(f"{amount_minor} cannot be split into {shares}")
    parts = [amount_minor * share // total for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda place: (-(amount_minor * shares[place] % total), place))
    for place in by_remainder[: amount_minor - sum(parts)]:
        parts[place] += 1
    return parts

"""Reading what a payment provider sent: a field that is not in its documented shape is None, whoever signed it.

What is returned fits into the database and into the log: no unbounded text, no NUL, no half characters.
"""

import json
import re
from typing import Any, Final
from uuid import UUID

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,2000}")
_CURRENCY: Final = re.compile(r"[A-Za-z]{3}")
_LARGEST: Final = 2**63 - 1
_MESSAGE_LENGTH: Final = 300
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_HIDDEN: Final = re.compile(
    r"\b(?:sk|rk|pk|whsec|rzp)_[A-Za-z0-9_*]+"  # keys
    r"|[^\s@\"'<>]+@[\w.-]*\w"  # mail addresses, UPI handles
    r"|(?<![\w-])\+?\d(?:[ -]?\d){7,}(?![\w-])"  # telephone and card numbers
)


def document(text: str) -> dict[str, Any] | None:
    """The JSON object in a body, or None; also for one that is nested deeper than the parser can follow."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def at(value: object, *path: str) -> object:
    """What stands below these names, or None as soon as one of them is missing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def items(value: object) -> list[object]:
    """The items of a list; none if it is no list."""
    return value if isinstance(value, list) else []


def refund_among(value: object, label: str, refund_id: UUID) -> object:
    """The refund in a provider's list whose `label` (metadata, notes) bears our id, or None."""
    return next((item for item in items(value) if our_id(at(item, label, "refund_id")) == refund_id), None)


def identifier(value: object) -> str | None:
    """An id or a name that a provider gave."""
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else None


def address(value: object) -> str | None:
    return value if isinstance(value, str) and _ADDRESS.fullmatch(value) else None


def our_id(value: object) -> UUID | None:
    """An id of ours, exactly as the provider was given it."""
    try:
        found = UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if str(found) == value else None


def whole(value: object) -> int | None:
    """An amount in minor units, or seconds since 1970."""
    return value if type(value) is int and 0 <= value <= _LARGEST else None


def currency(value: object) -> str | None:
    """Upper case."""
    return value.upper() if isinstance(value, str) and _CURRENCY.fullmatch(value) else None


def message(value: object, *secrets: str) -> str | None:
    """A sentence of the provider's for people and for the log: cut, and without `secrets`, keys and personal data."""
    if not isinstance(value, str):
        return None
    for secret in filter(None, secrets):
        value = value.replace(secret, "***")
    return _HIDDEN.sub("***", _UNPRINTABLE.sub(" ", value)).strip()[:_MESSAGE_LENGTH] or None

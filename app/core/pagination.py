"""Keyset pagination: a page is the rows after a key that the cursor names, so it costs the same however deep it is."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from app.core.database import Row
from app.core.errors import Unprocessable

NEWEST: Final = UUID(int=2**128 - 1)
"""Sorts behind every UUIDv7: where a list that begins with the newest starts."""


class InvalidCursor(Unprocessable):
    code, title = "invalid_cursor", "This cursor was not given out by this list."


def decode(cursor: str | None) -> UUID:
    """The key that the page begins behind."""
    if cursor is None:
        return NEWEST
    try:
        return UUID(bytes=urlsafe_b64decode(cursor + "=="))
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor() from error


def next_cursor(rows: Sequence[Row], limit: int) -> str | None:
    """Lists ask for one row more than the page holds: if it came, the last row of the page leads to the next one."""
    return urlsafe_b64encode(rows[limit - 1]["id"].bytes).rstrip(b"=").decode() if len(rows) > limit else None

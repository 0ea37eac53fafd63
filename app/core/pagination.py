"""Keyset pagination: a page is the rows after a key that the cursor names, so it costs the same however deep it is."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Label, Select, bindparam, literal_column, select
from sqlalchemy.sql.elements import KeyedColumnElement

from app.core.database import Row
from app.core.errors import Unprocessable

NEWEST: Final = UUID(int=2**128 - 1)
"""Sorts behind every UUIDv7: where a list that begins with the newest starts."""
PAGE_LIMIT: Final = 100
"""Rows of the longest page."""
LONGEST: Final[ColumnElement[int]] = literal_column(str(PAGE_LIMIT + 1))
"""The limit of `newest` that the planner knows: no list asks for more rows than this."""


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


def newest(
    query: Select[Any], key: KeyedColumnElement[Any], *, in_order: bool = True, rank: Label[Any] | None = None
) -> Select[Any]:
    """The first `rows` of the query, a parameter of at most `LONGEST`, by `key`: one of its columns, the highest first.

    Of a limit that is a parameter the planner thinks that it were a tenth of all rows. On a large table the plan for
    all values then looks dear, and it would plan each call anew, for longer than the call takes. Hence a limit that it
    knows, below the one that is asked for: rows are taken through both one by one, so that no more are read for it.

    Not so if no index has all that is wanted `in_order`: what is rare is then sorted, and what is common is passed by
    until the page is full. Only the values tell which is better, and a plan that was kept for common ones would read
    the whole table for a rare one. Such a list is planned for each call: by itself where its filters compare for
    equality, and for words and ranges, which the planner takes for rare, if it is `planned_for_values`.

    An index may have what is wanted in the order of another column of the query, its `rank`, which never rises while
    the key does: then rows are sorted by their key only where they share a rank.
    """
    if not in_order:
        return query.order_by(key.desc()).limit(bindparam("rows"))
    ranks = [] if rank is None else [rank]
    few = query.order_by(*ranks, key.desc()).limit(LONGEST).subquery("few")
    place = few.corresponding_column(key)
    if place is None:
        raise TypeError(f"{key} is no column of {query}")
    return select(few).order_by(*(few.c[each.name] for each in ranks), place.desc()).limit(bindparam("rows"))


def next_cursor(rows: Sequence[Row], limit: int) -> str | None:
    """Lists ask for one row more than the page holds: if it came, the last row of the page leads to the next one."""
    return urlsafe_b64encode(rows[limit - 1]["id"].bytes).rstrip(b"=").decode() if len(rows) > limit else None

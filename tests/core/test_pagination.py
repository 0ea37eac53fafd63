"""Cursors: they lead to the next page, and nothing that was made up by a client gets any further than a 422."""

from typing import Any

import pytest

from app.core.ids import uuid7
from app.core.pagination import NEWEST, InvalidCursor, decode, next_cursor


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": uuid7()} for _ in range(count)]


def test_a_list_without_cursor_begins_before_every_id() -> None:
    assert decode(None) == NEWEST
    assert uuid7() < NEWEST


def test_a_cursor_leads_to_the_last_row_of_its_page() -> None:
    found = rows(4)
    cursor = next_cursor(found, 3)
    assert cursor is not None
    assert decode(cursor) == found[2]["id"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_last_page_has_no_cursor(count: int) -> None:
    assert next_cursor(rows(count), 3) is None


@pytest.mark.parametrize("made_up", ["", "=", "a", "!!!!", "é", "\ud800", "A" * 21, "A" * 24, "A" * 1000, "\x00" * 22])
def test_a_made_up_cursor_is_refused(made_up: str) -> None:
    with pytest.raises(InvalidCursor):
        decode(made_up)

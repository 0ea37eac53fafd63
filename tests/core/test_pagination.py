"""Cursors: they lead to the next page, and nothing that was made up by a client gets any further than a 422."""

from typing import Any

import pytest
from sqlalchemy import column, select, table

from app.core.database import Statement
from app.core.ids import uuid7
from app.core.pagination import NEWEST, PAGE_LIMIT, InvalidCursor, decode, newest, next_cursor


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


LINES = table("lines", column("number"), column("text"))


def test_a_list_has_the_longest_page_and_one_row_more_below_the_limit_that_is_asked_for() -> None:
    sql = " ".join(Statement(newest(select(LINES.c.number.label("id")), LINES.c.number)).sql.split())
    inner = f"(SELECT lines.number AS id FROM lines ORDER BY lines.number DESC LIMIT {PAGE_LIMIT + 1}) AS few"
    assert sql.startswith(f"SELECT few.id FROM {inner} ORDER BY few.id DESC LIMIT $1")


def test_a_list_that_no_index_has_in_order_is_planned_for_each_call() -> None:
    statement = Statement(newest(select(LINES.c.number), LINES.c.number, in_order=False))
    assert "few" not in statement.sql
    assert statement.names == {"rows"}


def test_a_list_cannot_be_ordered_by_what_it_does_not_show() -> None:
    with pytest.raises(TypeError, match=r"lines\.number"):
        newest(select(LINES.c.text), LINES.c.number)

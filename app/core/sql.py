"""Values that are part of a statement's text, and the documents that a statement makes of its own columns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, cast, func, literal_column
from sqlalchemy.dialects.postgresql import JSONB


def constant(value: str) -> ColumnElement[str]:
    """A word that is part of the statement's text, so that it costs no parameter on each call."""
    return literal_column("'" + value.replace("'", "''") + "'", Text)


def constants(values: Iterable[str]) -> ColumnElement[Sequence[str]]:
    """A fixed list of words, to compare with `any_`."""
    return cast(literal_column("'{" + ",".join(sorted(values)) + "}'"), ARRAY(Text))


def document(values: Mapping[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    """A JSON object of these columns, each under its name."""
    pairs = [part for name, value in values.items() for part in (constant(name), value)]
    return func.jsonb_build_object(*pairs, type_=JSONB)

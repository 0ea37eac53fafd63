"""Values that are part of a statement's text, documents that it makes of its own columns, and rows that it is given."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnClause,
    ColumnElement,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
)
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


def given(relation: str, **columns: ColumnClause[Any]) -> TableValuedAlias:
    """Rows that a statement is given: one array for each parameter, side by side, as a relation with these columns.

    `given("line", amounts=column("amount", BigInteger))` takes the parameter `amounts` and has the column `amount`.
    """
    arrays = (bindparam(name, type_=ARRAY(each.type)) for name, each in columns.items())
    return func.unnest(*arrays).table_valued(*columns.values()).render_derived(name=relation)

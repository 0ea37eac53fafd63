"""The one metadata of all tables, with names for constraints that do not depend on the order of declaration."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import TIMESTAMP, CheckConstraint, Column, ColumnElement, Double, MetaData, Text, Uuid, func
from sqlalchemy.types import UserDefinedType

metadata: Final = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_index",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

Timestamp: Final = TIMESTAMP(timezone=True)


class Cube(UserDefinedType[str]):
    """The `cube` type of PostgreSQL's extension of that name; `core/geo.py` puts positions on Earth into it."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "CUBE"


def identifier() -> Column[Any]:
    """The primary key of an aggregate: a UUIDv7 that the application makes."""
    return Column("id", Uuid, primary_key=True)


def born_minutes(key: Any) -> ColumnElement[float]:
    """When a UUIDv7 was made, in minutes since 1970: of two, the higher one never has the lower number."""
    return func.born_minutes(key, type_=Double)


def moment(name: str, *, nullable: bool = True, now: bool = False) -> Column[Any]:
    """A point in time, UTC. With `now`, the database's clock fills it in."""
    return Column(name, Timestamp, nullable=nullable and not now, server_default=func.now() if now else None)


def one_of(column: str, values: type[StrEnum] | Iterable[str], name: str | None = None) -> CheckConstraint:
    """Text with a check instead of a native enumeration, which migrations cannot take back."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name or f"{column}_known")


def within_earth() -> CheckConstraint:
    return CheckConstraint("latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180", name="position_on_earth")


def text(name: str, *, nullable: bool = False, **options: Any) -> Column[Any]:
    return Column(name, Text, nullable=nullable, **options)

"""Positions on Earth in SQL: `earthdistance` over `cube`, indexed by GiST. Distances are metres along the sphere."""

from typing import Any

from sqlalchemy import ColumnElement, Double, Integer, cast, func


def distance_metres(
    latitude: ColumnElement[Any], longitude: ColumnElement[Any], to_latitude: Any, to_longitude: Any
) -> ColumnElement[int]:
    """How far two positions are from each other, in whole metres."""
    metres = func.earth_distance(func.ll_to_earth(latitude, longitude), func.ll_to_earth(to_latitude, to_longitude))
    return cast(metres, Integer)


def covers(coverage: ColumnElement[Any], latitude: Any, longitude: Any) -> ColumnElement[bool]:
    """The box `coverage` contains the position: an index look-up, a little too generous at the corners."""
    return coverage.op("@>", is_comparison=True)(func.ll_to_earth(latitude, longitude))


def box(latitude: Any, longitude: Any, radius_metres: Any) -> ColumnElement[Any]:
    """A box that holds the circle."""
    return func.earth_box(func.ll_to_earth(latitude, longitude), cast(radius_metres, Double))

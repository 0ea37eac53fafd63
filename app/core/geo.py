"""Positions on Earth in SQL: points of three dimensions in `cube`, indexed by GiST. Distances are metres on the sphere.

The same arithmetic as the extension `earthdistance`, written out: that one is not trusted (an ordinary role cannot
install it), and before PostgreSQL 18 a dump of what is computed by its functions does not restore.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Double, Integer, cast, func, literal_column

_RADIUS: Final[ColumnElement[float]] = literal_column("6371009.0", Double)
"""Mean radius of the Earth in metres; in the text of the statements, because the planner matches indexes by it."""
_DIAMETER: Final[ColumnElement[float]] = literal_column("12742018.0", Double)


def point(latitude: Any, longitude: Any) -> ColumnElement[Any]:
    """A position in degrees as a point on the sphere."""
    ring = _RADIUS * func.cos(func.radians(latitude))
    east, north = ring * func.cos(func.radians(longitude)), ring * func.sin(func.radians(longitude))
    return func.cube(func.cube(func.cube(east), north), _RADIUS * func.sin(func.radians(latitude)))


def box(latitude: Any, longitude: Any, radius_metres: Any) -> ColumnElement[Any]:
    """A box that holds the circle."""
    return func.cube_enlarge(
        point(latitude, longitude), _DIAMETER * func.sin(radius_metres / _DIAMETER), literal_column("3")
    )


def distance_metres(
    latitude: ColumnElement[Any], longitude: ColumnElement[Any], to_latitude: Any, to_longitude: Any
) -> ColumnElement[int]:
    """How far two positions are from each other, in whole metres."""
    chord = func.cube_distance(point(latitude, longitude), point(to_latitude, to_longitude))
    return cast(_DIAMETER * func.asin(func.least(literal_column("1.0"), chord / _DIAMETER)), Integer)


def contains(area: ColumnElement[Any], latitude: Any, longitude: Any) -> ColumnElement[bool]:
    """The box contains the position: an index look-up, a little too generous at the corners."""
    return area.op("@>", is_comparison=True)(point(latitude, longitude))

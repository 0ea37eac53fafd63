"""Positions on Earth in SQL: points of three dimensions in `cube`, indexed by GiST. Distances are metres on the sphere.

What happened somewhere has its minute as a fourth dimension. A GiST index hands out what is in a box in the order of
one dimension, so the newest in it are found without looking at the others, however many there are.

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


def contains(area: ColumnElement[Any], place: ColumnElement[Any]) -> ColumnElement[bool]:
    """The box contains the point: an index look-up, a little too generous at the corners."""
    return area.op("@>", is_comparison=True)(place)


def point_in_time(latitude: Any, longitude: Any, minutes: Any) -> ColumnElement[Any]:
    """A position in degrees and its time as a point of four dimensions, in which a minute is as long as a metre."""
    return func.cube(point(latitude, longitude), minutes)


def until(area: ColumnElement[Any], minutes: Any) -> ColumnElement[Any]:
    """The box of four dimensions that holds whatever happened in the area up to that minute."""
    return func.cube(area, literal_column("0"), minutes)


def latest_first(happened: ColumnElement[Any]) -> ColumnElement[float]:
    """What orders such points by time, the latest first; an index on them has them in this order."""
    return happened.op("~>", return_type=Double())(literal_column("-8"))  # the fourth upper bound, in reverse

"""Regions of the map."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from app.schemas.base import Answer, Line, Payload, Position, Storable

Zipcode = Annotated[str, StringConstraints(min_length=3, max_length=10, pattern=r"^[0-9A-Za-z -]+$")]
Code = Annotated[str, StringConstraints(min_length=2, max_length=40, pattern=r"^[a-z0-9-]+$"), Storable]


class Region(Answer):
    id: UUID
    code: str
    name: str
    zipcodes: list[str]
    latitude: float
    longitude: float


class CreateRegion(Payload):
    code: Code
    name: Line
    zipcodes: Annotated[list[Zipcode], Field(max_length=200)]
    centre: Position


class AppointManager(Payload):
    user_id: UUID

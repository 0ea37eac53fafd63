"""A noun with a live position, for tests of topics: a driver shows the riders where they are while the ride moves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any
from unittest.mock import patch
from uuid import UUID

from sqlalchemy import ARRAY, Column, MetaData, Select, Table, Text, Uuid, func, select

from app.core.config import Settings
from app.core.connections import connect
from app.kernel import subjects
from app.kernel.transitions import Columns
from tests.support.world import Person, World

NAME = "test_ride"

rides = Table(
    "test_rides",
    MetaData(),  # its own: the product knows nothing of these rides
    Column("id", Uuid, primary_key=True),
    Column("status", Text, nullable=False),
    Column("driver_id", Uuid, nullable=False),
    Column("rider_ids", ARRAY(Uuid), nullable=False),
)


class Status(StrEnum):
    WAITING = "WAITING"
    MOVING = "MOVING"


def _parties(row: Columns) -> Select[Any]:
    return select(select(row.driver_id.label("id")).union(select(func.unnest(row.rider_ids))).subquery().c.id)


@asynccontextmanager
async def known(settings: Settings) -> AsyncIterator[None]:
    """While this lasts, rides have a table and are subjects of the product."""
    connection = await connect(settings)
    await connection.execute(
        f"CREATE TABLE {rides.name} (id uuid PRIMARY KEY, status text, driver_id uuid, rider_ids uuid[])"
    )
    try:
        with patch.dict(subjects._parties):
            located = subjects.Located(lambda row: row.driver_id, frozenset({Status.MOVING}))
            subjects.register(subjects.Subject(NAME, rides, readers={}, parties=_parties, located=located))
            yield
    finally:
        await connection.execute(f"DROP TABLE {rides.name}")
        await connection.close()


async def ride(world: World, ride_id: UUID, driver: Person, riders: Sequence[Person], status: Status) -> str:
    """Make a ride, or change it; its topic."""
    await world.execute(
        f"INSERT INTO {rides.name} VALUES (:id, :status, :driver, cast(cast(:riders AS text) AS uuid[]))"
        " ON CONFLICT (id) DO UPDATE SET (status, driver_id, rider_ids)"
        " = (excluded.status, excluded.driver_id, excluded.rider_ids)",
        id=ride_id,
        status=status.value,
        driver=driver.id,
        riders="{" + ",".join(str(rider.id) for rider in riders) + "}",
    )
    return f"{NAME}:{ride_id}"

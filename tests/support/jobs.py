"""A noun that holds money, for tests of the kernel: jobs that are open, and then done or called off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from unittest.mock import patch
from uuid import UUID, uuid4

from sqlalchemy import Column, MetaData, Table, Text, Uuid, bindparam, insert, update

from app.core.config import Settings
from app.core.connections import connect
from app.core.database import Session, Statement
from app.kernel import escrow, subjects

NAME = "test_job"

jobs = Table(
    "test_jobs",
    MetaData(),  # its own: the product knows nothing of these jobs
    Column("id", Uuid, primary_key=True),
    Column("status", Text, nullable=False),
)


class Status(StrEnum):
    OPEN = "OPEN"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


_COLUMNS = "id uuid PRIMARY KEY, status text NOT NULL"
_MAKE = Statement(insert(jobs).values(id=bindparam("job_id"), status=Status.OPEN.value))
_MOVE = Statement(update(jobs).where(jobs.c.id == bindparam("job_id")).values(status=bindparam("to")))


@asynccontextmanager
async def known(settings: Settings) -> AsyncIterator[None]:
    """While this lasts, jobs have a table and are subjects of the product."""
    connection = await connect(settings)
    await connection.execute(f"CREATE TABLE {jobs.name} ({_COLUMNS})")
    try:
        with patch.dict(subjects._held_after_the_end):
            closed = frozenset({Status.DONE, Status.CANCELLED})
            subjects.register(subjects.Subject(NAME, jobs, readers={}, closed=closed))
            yield
    finally:
        await connection.execute(f"DROP TABLE {jobs.name}")
        await connection.close()


async def make(session: Session) -> escrow.Subject:
    """A new job."""
    job_id = uuid4()
    await session.execute(_MAKE, job_id=job_id)
    return NAME, job_id


async def move(session: Session, job_id: UUID, to: Status) -> None:
    await session.execute(_MOVE, job_id=job_id, to=to.value)

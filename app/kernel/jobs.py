"""Queues jobs in the transaction of what they follow from, all or nothing; `app/jobs` carries them out."""

from collections.abc import Sequence

from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from app.core.database import Session

Job = tuple[str, bytes]
"""The name of an entry point of `app/jobs/queue.py`, and its payload."""


async def enqueue(session: Session, jobs: Sequence[Job]) -> None:
    """Queue the jobs when this transaction commits. The session must have run a statement before."""
    if jobs:
        queue = Queries(AsyncpgDriver(session.driver_connection))
        await queue.enqueue([name for name, _ in jobs], [payload for _, payload in jobs], [0] * len(jobs))

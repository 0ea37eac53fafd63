"""Jobs: work for the queue, written in the transaction of what asks for it, so that both are durable or neither is."""

from collections.abc import Sequence
from typing import Any

from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from pydantic_core import to_json

from app.core.database import Session

Job = tuple[str, dict[str, Any]]
"""The name of an entry point of `app/jobs/queue.py`, and what it is told."""


async def enqueue(session: Session, jobs: Sequence[Job]) -> None:
    """Have these done after the commit, each at least once. The session must have run a statement before."""
    if jobs:
        queue = Queries(AsyncpgDriver(session.driver_connection))
        await queue.enqueue([name for name, _ in jobs], [to_json(about) for _, about in jobs], [0] * len(jobs))

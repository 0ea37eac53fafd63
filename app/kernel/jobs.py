"""Queues jobs in the transaction of what they follow from, all or nothing; `app/jobs` carries them out."""

from collections.abc import Sequence
from typing import Final

from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from app.core.database import Session

_PRIORITIES: Final = {
    "send_code": 3,
    "sandbox_webhook": 2,
    "send_refund": 2,
    "push_event": 1,
    "mail_event": 1,
    "text_event": 1,
}
"""Somebody waits for a code; nobody waits for a document, of which there may be many at once."""

Job = tuple[str, bytes]
"""The name of an entry point of `app/jobs/queue.py`, and its payload."""


async def enqueue(session: Session, jobs: Sequence[Job]) -> None:
    """Queue the jobs when this transaction commits. The session must have run a statement before."""
    if jobs:
        priorities = [_PRIORITIES.get(name, 0) for name, _ in jobs]
        async with session.joined() as connection:
            queue = Queries(AsyncpgDriver(connection))
            await queue.enqueue([name for name, _ in jobs], [payload for _, payload in jobs], priorities)

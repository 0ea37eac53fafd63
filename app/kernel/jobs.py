"""Queues jobs in the transaction of what they follow from, all or nothing; `app/jobs` carries them out."""

from collections.abc import Sequence
from typing import Final

from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from sqlalchemy import text

from app.core.database import Session, Statement

_PRIORITIES: Final = {
    "send_code": 3,
    "render_invoice": 2,
    "sandbox_webhook": 2,
    "send_refund": 2,
    "push_event": 1,
    "mail_event": 1,
    "text_event": 1,
}
"""Somebody waits for a code, and for the PDF that they have asked for, which takes longer to make; nobody waits for a
message, or for a document to be issued, of which there may be many at once."""

Job = tuple[str, bytes]
"""The name of an entry point of `app/jobs/queue.py`, and its payload."""

# What pgqueuer's unique index on keys holds: the jobs that run, and those that wait, be it for their next try.
_IS_QUEUED = Statement(
    text("SELECT EXISTS (SELECT FROM pgqueuer WHERE dedupe_key = :key AND status IN ('queued', 'picked'))")
)


async def enqueue(session: Session, jobs: Sequence[Job]) -> None:
    """Queue the jobs when this transaction commits. The session must have run a statement before."""
    if jobs:
        priorities = [_PRIORITIES.get(name, 0) for name, _ in jobs]
        async with session.joined() as connection:
            queue = Queries(AsyncpgDriver(connection))
            await queue.enqueue([name for name, _ in jobs], [payload for _, payload in jobs], priorities)


async def enqueue_once(session: Session, job: Job) -> None:
    """Queue the job when this transaction commits, unless the same one, by name and payload, waits or runs already.

    However many do so at once, the queue's unique index lets one job in; the look before it is there so that asking
    again stores nothing and wakes no worker. A job that is done, lost, or held after its last try is in nobody's way.
    """
    name, payload = job
    key = f"{name} {payload.decode()}"
    if not await session.scalar(_IS_QUEUED, key=key):
        async with session.joined() as connection:
            queue = Queries(AsyncpgDriver(connection))
            await queue.enqueue(name, payload, _PRIORITIES.get(name, 0), dedupe_key=key, on_conflict="skip")

"""The relay: turns events into jobs, each exactly once, in an order that no commit can slip past.

It reads the outbox up to the oldest running transaction: below that nothing can appear any more, so one cursor is
enough and no event is marked. The jobs and the cursor's move commit together.
"""

from functools import partial
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import BigInteger, bindparam, cast, func, literal_column, select, tuple_, update

from app.core.database import Row, Statement
from app.core.tasks import keep_at
from app.kernel.jobs import Job, enqueue
from app.kernel.platform import Platform
from app.models.events import TransactionId, events, notifications, relay_cursors
from app.services.flows.invoicing import DOCUMENTED
from app.services.notifications.recipients import jobs_for
from app.services.users.events import CodeRequested, Registered

CONSUMER: Final = "messages"
_BATCH: Final = 500
_RECIPIENTS: Final = 2000
"""Of the events of one batch, so that its jobs are written within a fraction of a second."""

# The lock makes one relay work at a time, however many workers there are; the others find it taken and rest.
_TAKE = Statement(
    select(relay_cursors.c.xid, relay_cursors.c.seq)
    .where(relay_cursors.c.consumer == bindparam("consumer"))
    .with_for_update(skip_locked=True)
)
_NEXT = Statement(
    select(
        events.c.id,
        events.c.name,
        events.c.subject_id,
        events.c.payload,
        events.c.xid,
        events.c.seq,
        select(func.count())
        .select_from(notifications)
        .where(notifications.c.event_id == events.c.id, ~notifications.c.quiet)
        .scalar_subquery()
        .label("recipients"),
    )
    .where(
        tuple_(events.c.xid, events.c.seq)
        > tuple_(bindparam("xid", type_=TransactionId), bindparam("seq", type_=BigInteger)),
        events.c.xid < cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), TransactionId),
    )
    .order_by(events.c.xid, events.c.seq)
    .limit(literal_column(str(_BATCH)))
)
_MOVE = Statement(
    update(relay_cursors)
    .where(relay_cursors.c.consumer == bindparam("consumer"))
    .values(xid=bindparam("xid", type_=TransactionId), seq=bindparam("seq"))
)

_newest = (
    select(events.c.xid, events.c.seq)
    .order_by(events.c.xid.desc(), events.c.seq.desc())
    .limit(literal_column("1"))
    .subquery("newest")
)
_SKIP = Statement(
    update(relay_cursors)
    .where(relay_cursors.c.consumer == bindparam("consumer"))
    .values(xid=_newest.c.xid, seq=_newest.c.seq)
)


async def relay_batch(platform: Platform) -> int:
    """Relay what is next; how many events that were."""
    async with platform.database.write() as session:
        cursor = await session.first(_TAKE, consumer=CONSUMER)
        if cursor is None:
            return 0
        rows = _bounded(await session.all(_NEXT, xid=cursor["xid"], seq=cursor["seq"]))
        if rows:
            jobs = await jobs_for(session, rows, platform.settings.refresh_token_seconds)
            await enqueue(session, [job for row in rows for job in _jobs(row)] + jobs)
            await session.execute(_MOVE, consumer=CONSUMER, xid=rows[-1]["xid"], seq=rows[-1]["seq"])
        return len(rows)


def _bounded(rows: list[Row]) -> list[Row]:
    """As many of the events as have not too many recipients together, and at least one: the rest is next."""
    recipients = 0
    for index, row in enumerate(rows):
        recipients += row["recipients"]
        if index and recipients > _RECIPIENTS:
            return rows[:index]
    return rows


def _jobs(event: Row) -> list[Job]:
    """What an event sets going, besides telling its recipients."""
    payload: dict[str, Any] = event["payload"]
    if event["name"] == Registered.name:
        about = {"user_id": payload["user_id"], "purpose": "verify"}
        return [("send_code", to_json(about | {"channel": channel})) for channel in ("email", "phone")]
    if event["name"] == CodeRequested.name:
        return [("send_code", to_json(payload))]
    if event["name"] in DOCUMENTED:
        return [("issue_invoice", to_json({"event": event["name"], "subject_id": event["subject_id"]}))]
    return []


async def skip(platform: Platform) -> None:
    """Let all events so far pass without messages: the demo town's people have no mailboxes."""
    async with platform.database.write() as session:
        await session.execute(_SKIP, consumer=CONSUMER)


async def run(platform: Platform) -> None:
    """Relay for as long as the process lives."""
    # An event that cannot be relayed holds up the mail, which is bad enough; the deadlines must go on.
    await keep_at(partial(relay_batch, platform), pause=platform.settings.relay_poll_seconds)

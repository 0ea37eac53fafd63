"""From the outbox to deliveries: which event goes to which endpoints, each once, in an order that no commit slips past.

Like the relay of messages it reads up to the oldest running transaction, with a cursor of its own, one worker at once.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.database import Statement
from app.kernel import event_types
from app.kernel.platform import Platform
from app.models.events import TransactionId, events, notifications, relay_cursors
from app.models.webhook_endpoints import WebhookEndpointStatus, webhook_deliveries, webhook_endpoints

CONSUMER: Final = "webhooks"
BATCH: Final = 500

# The lock makes one worker spread at a time; the others find it taken and rest.
_TAKE: Final = Statement(
    select(relay_cursors.c.xid, relay_cursors.c.seq)
    .where(relay_cursors.c.consumer == bindparam("consumer"))
    .with_for_update(skip_locked=True)
)
_from = tuple_(bindparam("xid", type_=TransactionId), bindparam("seq", type_=BigInteger))
_batch = (
    select(events.c.xid, events.c.seq)
    .where(
        tuple_(events.c.xid, events.c.seq) > _from,
        events.c.xid < cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), TransactionId),
    )
    .order_by(events.c.xid, events.c.seq)
    .limit(literal_column(str(BATCH)))
    .subquery("batch")
)
_END: Final = Statement(
    select(_batch.c.xid, _batch.c.seq, func.count().over().label("count"))
    .order_by(_batch.c.xid.desc(), _batch.c.seq.desc())
    .limit(literal_column("1"))
)
# From the endpoints, of which there are few, to what was addressed to their owners: an index has it in this order.
_place = tuple_(notifications.c.xid, notifications.c.seq)
_SPREAD: Final = Statement(
    upsert(webhook_deliveries)
    .from_select(
        ["endpoint_id", "event_id", "event_name", "give_up_at"],
        select(
            webhook_endpoints.c.id,
            events.c.id,
            events.c.name,
            func.now() + bindparam("retried_for", type_=INTERVAL),
        )
        .select_from(webhook_endpoints)
        .join(notifications, notifications.c.user_id == webhook_endpoints.c.owner_id)
        .join(
            events,
            and_(
                events.c.id == notifications.c.event_id, event_types.matches(events.c.name, webhook_endpoints.c.types)
            ),
        )
        .where(
            webhook_endpoints.c.status == WebhookEndpointStatus.ENABLED.value,
            # Nobody who registers today is sent what happened yesterday, however far behind this reader is; nor, of one
            # transaction, that it was registered.
            events.c.created_at > webhook_endpoints.c.created_at,
            _place > _from,
            _place <= tuple_(bindparam("last_xid", type_=TransactionId), bindparam("last_seq", type_=BigInteger)),
        ),
    )
    .on_conflict_do_nothing()
)
_MOVE: Final = Statement(
    update(relay_cursors)
    .where(relay_cursors.c.consumer == bindparam("consumer"))
    .values(xid=bindparam("xid", type_=TransactionId), seq=bindparam("seq"))
)


async def spread(platform: Platform) -> int:
    """Make deliveries of the next events; how many events that were. Cursor and deliveries commit together."""
    async with platform.database.write() as session:
        cursor = await session.first(_TAKE, consumer=CONSUMER)
        if cursor is None:
            return 0
        last = await session.first(_END, xid=cursor["xid"], seq=cursor["seq"])
        if last is None:
            return 0
        await session.execute(
            _SPREAD,
            xid=cursor["xid"],
            seq=cursor["seq"],
            last_xid=last["xid"],
            last_seq=last["seq"],
            retried_for=timedelta(seconds=platform.settings.webhook_retry_seconds),
        )
        await session.execute(_MOVE, consumer=CONSUMER, xid=last["xid"], seq=last["seq"])
        return int(last["count"])

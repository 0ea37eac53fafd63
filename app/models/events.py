"""The outbox, which is also the event log, and who is to hear of each event, which is also the feed.

Both are written in the business transaction. `xid` and `horizon` let a reader resume without skipping an event that
commits out of the order of its number; `docs/adr/0002-transaction-horizon.md` has the argument.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Identity, Index, Table, Text, Uuid, false
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

from app.models.base import identifier, metadata, moment, text


class TransactionId(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction number (`xid8`), which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "XID8"


events = Table(
    "events",
    metadata,
    identifier(),
    # Numbered while the subject's row is locked, so one subject's events are in the order of their commits.
    Column("seq", BigInteger, Identity(always=True, cache=1), nullable=False, unique=True),
    Column("xid", TransactionId, nullable=False, server_default=sql("pg_current_xact_id()")),
    # Every transaction below this had ended when the event was written.
    Column("horizon", TransactionId, nullable=False, server_default=sql("pg_snapshot_xmin(pg_current_snapshot())")),
    text("name"),
    text("subject_type"),
    Column("subject_id", Uuid, nullable=False),
    Column("payload", JSONB, nullable=False),
    moment("created_at", now=True),
    Index("events_xid_index", "xid", "seq"),
    Index("events_subject_id_index", "subject_id", "seq"),
    Index("events_created_at_index", "created_at", postgresql_using="brin"),
)

# No foreign keys here: an event outlives nothing that it names, and a key's share lock on a busy user's row would make
# unrelated transactions queue up behind each other.
notifications = Table(
    "notifications",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("xid", TransactionId, nullable=False, server_default=sql("pg_current_xact_id()")),
    # For the user's sockets only, whose lists follow it: neither in the feed nor on any other way.
    Column("quiet", Boolean, nullable=False, server_default=false()),
    moment("read_at"),
    moment("created_at", now=True),
    Index("notifications_user_id_xid_index", "user_id", "xid", "seq"),
    Index("notifications_unread_index", "user_id", postgresql_where=sql("read_at IS NULL AND NOT quiet")),
    # The relay asks who hears of an event; quiet recipients are none of its business.
    Index("notifications_event_id_index", "event_id", "user_id", postgresql_where=sql("NOT quiet")),
    Index("notifications_created_at_index", "created_at", postgresql_using="brin"),
)

# The last event that each session's client has acted on, with its place in the stream (`app/ws/acknowledgements.py`).
# Rewritten again and again in place: no index but the key, and room on each page for the next version of its rows.
acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("event_id", Uuid, nullable=False),
    Column("horizon", TransactionId, nullable=False),
    Column("seq", BigInteger, nullable=False),
    postgresql_with={"fillfactor": "70"},
)

# How far each durable consumer of the outbox has come, in commit-safe order.
relay_cursors = Table(
    "relay_cursors",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("xid", TransactionId, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

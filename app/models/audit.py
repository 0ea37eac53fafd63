"""The audit trail: who moved what, when, from where to where, and why."""

from sqlalchemy import BigInteger, Column, Identity, Index, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from app.models.base import metadata, moment, text

# Append-only (trigger `audit_trail_append_only`). No foreign keys: history must not lock or depend on the living.
audit_trail = Table(
    "audit_trail",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    text("subject_type"),
    Column("subject_id", Uuid, nullable=False),
    text("action"),
    Column("from_status", Text),
    Column("to_status", Text),
    Column("actor_id", Uuid),  # NULL: the clock
    Column("reason", Text),
    Column("details", JSONB),
    moment("at", now=True),
    Index("audit_trail_subject_id_index", "subject_id", "id"),
)

"""Deadlines: what the clock has to do, for which subject, and when."""

from sqlalchemy import Column, Index, Integer, Table, Text, Uuid

from app.models.base import metadata, moment, text

deadlines = Table(
    "deadlines",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    text("subject_type"),
    moment("due_at", nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Index("deadlines_due_at_index", "due_at"),
)

"""First answers to requests that carried an `Idempotency-Key`."""

from sqlalchemy import Column, Index, LargeBinary, SmallInteger, Table, Text, Uuid

from app.models.base import metadata, moment

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),  # of the method, the path and the body
    Column("status_code", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    moment("created_at", now=True),
    Index("idempotency_keys_created_at_index", "created_at", postgresql_using="brin"),
)

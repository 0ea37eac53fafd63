"""Keys with which an integrator's programs read the event log and manage webhooks."""

from enum import StrEnum

from sqlalchemy import ARRAY, CheckConstraint, Column, ForeignKey, Index, LargeBinary, Table, Text, Uuid
from sqlalchemy import text as sql

from app.models.base import identifier, metadata, moment, text


class Scope(StrEnum):
    """What a key opens; it opens nothing else."""

    EVENTS_READ = "events:read"
    EVENTS_READ_ALL = "events:read_all"
    WEBHOOKS_MANAGE = "webhooks:manage"


_SCOPES = ", ".join(f"'{scope}'" for scope in Scope)

api_keys = Table(
    "api_keys",
    metadata,
    identifier(),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    text("name"),
    text("prefix"),
    # Of the whole key, by SHA-256. With 256 random bits nothing is guessed back, so no slow hash has to keep anybody
    # from guessing; one would cost every request 30 ms.
    Column("key_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    moment("expires_at"),
    moment("last_used_at"),
    moment("revoked_at"),
    moment("created_at", now=True),
    CheckConstraint(f"cardinality(scopes) > 0 AND scopes <@ ARRAY[{_SCOPES}]", name="scopes_known"),
    Index("api_keys_key_hash_key", "key_hash", unique=True),
    Index("api_keys_user_id_index", "user_id", "id", postgresql_where=sql("revoked_at IS NULL")),
)

"""Accounts, their roles, and the sessions that speak for them."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, LargeBinary, Table, Text, Uuid

from app.models.base import identifier, metadata, moment, one_of, text


class UserStatus(StrEnum):
    PENDING_VERIFICATION = "PENDING_VERIFICATION"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    BANNED = "BANNED"


class Role(StrEnum):
    CUSTOMER = "customer"
    PROVIDER = "provider"
    SHOPKEEPER = "shopkeeper"
    DRIVER = "driver"
    BOOSTER = "booster"
    ADVERTISER = "advertiser"
    GIG_WORKER = "gig_worker"
    SUPPORT = "support"
    MANAGER = "manager"
    ADMIN = "admin"


class Language(StrEnum):
    ENGLISH = "en"
    HINDI = "hi"


users = Table(
    "users",
    metadata,
    identifier(),
    text("name"),
    text("email"),  # kept in lower case: the application folds it, the check below refuses anything else
    text("phone"),
    text("password_hash"),
    Column("language", Text, nullable=False, server_default=Language.ENGLISH),
    Column("requested_role", Text, nullable=False, server_default=Role.CUSTOMER),
    Column("status", Text, nullable=False),
    text("status_reason", nullable=True),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", UserStatus),
    one_of("language", Language),
    one_of("requested_role", Role),
    CheckConstraint("email = lower(email)", name="email_folded"),
    Index("users_email_key", "email", unique=True),
    Index("users_phone_key", "phone", unique=True),
)

user_roles = Table(
    "user_roles",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id"), primary_key=True),
    Column("role", Text, primary_key=True),
    moment("granted_at", now=True),
    one_of("role", Role),
    Index("user_roles_role_index", "role", "user_id"),
)

sessions = Table(
    "sessions",
    metadata,
    identifier(),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    text("device"),
    text("address"),
    moment("created_at", now=True),
    moment("last_used_at", now=True),
    moment("revoked_at"),
    text("revoked_reason", nullable=True),
    Index("sessions_user_id_index", "user_id"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("session_id", Uuid, ForeignKey("sessions.id"), nullable=False),
    moment("created_at", now=True),
    moment("expires_at", nullable=False),
    moment("spent_at"),
    Index("refresh_tokens_session_id_index", "session_id"),
)

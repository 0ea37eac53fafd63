"""The platform's catalogue: categories and the services that providers offer."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from app.models.base import identifier, metadata, moment, text

categories = Table(
    "categories",
    metadata,
    identifier(),
    Column("slug", Text, nullable=False, unique=True),
    text("name_en"),
    text("name_hi"),
)

services = Table(
    "services",
    metadata,
    identifier(),
    Column("slug", Text, nullable=False, unique=True),
    Column("category_id", Uuid, ForeignKey("categories.id"), nullable=False),
    text("name_en"),
    text("name_hi"),
    text("description_en"),
    text("description_hi"),
    Column("questions", JSONB, nullable=False),
    Column("lead_fee_minor", BigInteger),  # of the setting `currency`; NULL means the setting `lead_fee_minor`
    moment("created_at", now=True),
    CheckConstraint("lead_fee_minor >= 0", name="lead_fee_not_negative"),
    Index("services_category_id_index", "category_id"),
)

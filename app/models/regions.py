"""Regions of the map and the managers who are bound to them."""

from sqlalchemy import Column, Double, ForeignKey, Index, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.models.base import identifier, metadata, moment, text, within_earth

regions = Table(
    "regions",
    metadata,
    identifier(),
    Column("code", Text, nullable=False, unique=True),
    text("name"),
    Column("zipcodes", ARRAY(Text), nullable=False),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    Column("boundary", JSONB),
    moment("created_at", now=True),
    within_earth(),
)

region_managers = Table(
    "region_managers",
    metadata,
    Column("region_id", Uuid, ForeignKey("regions.id"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), primary_key=True),
    Index("region_managers_user_id_index", "user_id"),
)

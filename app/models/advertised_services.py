"""Services with a fixed price that advertisers list, and that are delivered by work orders (work-orders.md)."""

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Column, Computed, ForeignKey, Index, Integer, Table, Text, Uuid
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import TSVECTOR

from app.models.base import identifier, metadata, moment, one_of, text


class AdvertisedServiceStatus(StrEnum):
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    ARCHIVED = "ARCHIVED"


advertised_services = Table(
    "advertised_services",
    metadata,
    identifier(),
    Column("advertiser_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("team_id", Uuid, ForeignKey("teams.id")),  # whose members may assign and review besides the advertiser
    Column("status", Text, nullable=False),
    text("title"),
    text("description"),
    Column("price_minor", BigInteger, nullable=False),
    text("currency"),
    # Counts the changes of what is sold, so that nobody buys at another price than they looked at.
    Column("revision", Integer, nullable=False, server_default="1"),
    # What is searched for. No language's stems and stop words: titles are in any, names of games and things above all.
    Column(
        "words",
        TSVECTOR,
        Computed(sql("to_tsvector('simple'::regconfig, (title || ' '::text) || description)"), persisted=True),
    ),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", AdvertisedServiceStatus),
    CheckConstraint("price_minor > 0", name="price_positive"),
    Index("advertised_services_advertiser_id_index", "advertiser_id", "id"),
    Index("advertised_services_team_id_index", "team_id", "id", postgresql_where=sql("team_id IS NOT NULL")),
    # What is on sale: all of it, in one currency, and in a range of its prices.
    Index("advertised_services_on_sale_index", "id", postgresql_where=sql("status = 'ACTIVE'")),
    Index("advertised_services_active_index", "currency", "id", postgresql_where=sql("status = 'ACTIVE'")),
    Index("advertised_services_price_index", "currency", "price_minor", postgresql_where=sql("status = 'ACTIVE'")),
    Index(
        "advertised_services_words_index", "words", postgresql_using="gin", postgresql_where=sql("status = 'ACTIVE'")
    ),
)

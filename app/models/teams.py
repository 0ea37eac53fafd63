"""Teams: advertisers who may review each other's work orders (work-orders.md)."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, Uuid
from sqlalchemy import text as sql

from app.models.base import identifier, metadata, moment, one_of, text


class TeamMembershipStatus(StrEnum):
    INVITED = "INVITED"
    ACTIVE = "ACTIVE"
    DECLINED = "DECLINED"
    LEFT = "LEFT"
    REMOVED = "REMOVED"


teams = Table(
    "teams",
    metadata,
    identifier(),
    Column("owner_id", Uuid, ForeignKey("users.id"), nullable=False),
    text("name"),
    moment("deleted_at"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_length"),
    Index("teams_owner_id_index", "owner_id", "id"),
)

team_memberships = Table(
    "team_memberships",
    metadata,
    identifier(),
    Column("team_id", Uuid, ForeignKey("teams.id"), nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("invited_by", Uuid, ForeignKey("users.id"), nullable=False),
    Column("status", Text, nullable=False),
    moment("joined_at"),
    moment("left_at"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    one_of("status", TeamMembershipStatus),
    # The wall behind "a member once"; and what tells at each decision whether somebody is a team mate.
    Index(
        "team_memberships_once",
        "team_id",
        "user_id",
        unique=True,
        postgresql_where=sql("status IN ('INVITED', 'ACTIVE')"),
    ),
    Index("team_memberships_user_id_index", "user_id", "status", "team_id"),
)

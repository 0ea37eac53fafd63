"""Leads that can be bought, in one index by service, place and time."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Its first 48 bits are milliseconds. What PostgreSQL has of its own for this is newer than 15.
BORN_MINUTES = """
CREATE FUNCTION born_minutes(id uuid) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 60000.0::double precision
"""
_POINT = (
    "cube(cube(cube(6371009.0 * cos(radians(latitude)) * cos(radians(longitude))), "
    "6371009.0 * cos(radians(latitude)) * sin(radians(longitude))), 6371009.0 * sin(radians(latitude)))"
)
_TABLE = "service_requests"


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.execute(BORN_MINUTES)
    for_sale = sa.Computed(
        "status IN ('PENDING', 'PURCHASED', 'IN_PROGRESS') AND buyers_count < lead_cap", persisted=True
    )
    op.add_column(_TABLE, sa.Column("for_sale", sa.Boolean(), for_sale))
    op.drop_index("service_requests_open_position_index", table_name=_TABLE)
    op.create_index(
        "service_requests_for_sale_index",
        _TABLE,
        ["service_id", sa.literal_column(f"cube({_POINT}, born_minutes(id))")],
        postgresql_using="gist",
        postgresql_where=sa.text("for_sale"),
    )


def downgrade() -> None:
    op.drop_index("service_requests_for_sale_index", table_name=_TABLE)
    op.drop_column(_TABLE, "for_sale")
    op.execute("DROP FUNCTION born_minutes")
    op.create_index(
        "service_requests_open_position_index",
        _TABLE,
        [sa.literal_column(_POINT)],
        postgresql_using="gist",
        postgresql_where=sa.text("status IN ('PENDING', 'PURCHASED', 'IN_PROGRESS')"),
    )

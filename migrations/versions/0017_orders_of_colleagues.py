"""Lists of a team's work orders by colleague: the indexes on the team name the advertiser too."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

INDEXES = {"work_orders_team_id_id_index": ("id",), "work_orders_team_id_index": ("status", "id")}
GIVEN = sa.text("team_id IS NOT NULL")


def upgrade() -> None:
    _replace("team_id", "advertiser_id")


def downgrade() -> None:
    _replace("team_id")


def _replace(*begin: str) -> None:
    for name, rest in INDEXES.items():
        op.drop_index(name, table_name="work_orders", postgresql_where=GIVEN)
        op.create_index(name, "work_orders", [*begin, *rest], unique=False, postgresql_where=GIVEN)

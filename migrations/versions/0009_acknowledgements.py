"""The last event that each session's client has acted on."""

import sqlalchemy as sa
from alembic import op

from app.models.events import TransactionId

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acknowledgements",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("horizon", TransactionId(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("acknowledgements_session_id_fkey")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("acknowledgements_pkey")),
        postgresql_with={"fillfactor": "70"},
    )


def downgrade() -> None:
    op.drop_table("acknowledgements")

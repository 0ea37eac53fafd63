"""What a session has acknowledged goes with it: the nightly deletion of ended sessions stopped at the first such row."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NAME = "acknowledgements_session_id_fkey"


def upgrade() -> None:
    op.drop_constraint(op.f(NAME), "acknowledgements", type_="foreignkey")
    op.create_foreign_key(op.f(NAME), "acknowledgements", "sessions", ["session_id"], ["id"], ondelete="CASCADE")


def downgrade() -> None:
    op.drop_constraint(op.f(NAME), "acknowledgements", type_="foreignkey")
    op.create_foreign_key(op.f(NAME), "acknowledgements", "sessions", ["session_id"], ["id"])

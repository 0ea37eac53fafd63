"""Small copies of images, and indexes for what a user stores in a day and for files that are on their way out."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("files", sa.Column("thumbnail_bytes", sa.BigInteger(), nullable=True))
    op.create_index("files_owner_id_index", "files", ["owner_id", "created_at"], unique=False)
    op.create_index(
        "files_discarded_index",
        "files",
        ["discarded_at"],
        unique=False,
        postgresql_where=sa.text("discarded_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("files_discarded_index", table_name="files", postgresql_where=sa.text("discarded_at IS NOT NULL"))
    op.drop_index("files_owner_id_index", table_name="files")
    op.drop_column("files", "thumbnail_bytes")

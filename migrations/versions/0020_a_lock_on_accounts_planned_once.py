"""The lock on accounts is planned once for each connection, not for each call."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # PostgreSQL expects ten ids of an array that it does not know, and is given three or four: a plan for just those
    # always looked cheaper than the one for all, so each call was planned anew, for as long as it then took.
    op.execute("ALTER FUNCTION lock_accounts SET plan_cache_mode = force_generic_plan")


def downgrade() -> None:
    op.execute("ALTER FUNCTION lock_accounts RESET plan_cache_mode")

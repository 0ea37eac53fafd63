"""API keys, webhook endpoints and what is sent to them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['events:read', 'events:read_all', 'webhooks:manage']",
            name=op.f("api_keys_scopes_known"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("api_keys_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
    )
    op.create_index("api_keys_key_hash_key", "api_keys", ["key_hash"], unique=True)
    op.create_index(
        "api_keys_user_id_index", "api_keys", ["user_id", "id"], postgresql_where=sa.text("revoked_at IS NULL")
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failing_since", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('ENABLED', 'DISABLED')", name=op.f("webhook_endpoints_status_known")),
        sa.CheckConstraint(
            "(status = 'DISABLED') = (disabled_reason IS NOT NULL)", name=op.f("webhook_endpoints_disabled_has_reason")
        ),
        sa.CheckConstraint(
            "(sealed_previous_secret IS NULL) = (previous_secret_until IS NULL)",
            name=op.f("webhook_endpoints_previous_secret_has_end"),
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("webhook_endpoints_owner_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_endpoints_pkey")),
    )
    op.create_index("webhook_endpoints_owner_id_index", "webhook_endpoints", ["owner_id", "id"], unique=False)
    op.create_table(
        "webhook_deliveries",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("give_up_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("claims", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('PENDING', 'DELIVERED', 'FAILED')", name=op.f("webhook_deliveries_status_known")
        ),
        sa.PrimaryKeyConstraint("endpoint_id", "event_id", name=op.f("webhook_deliveries_pkey")),
    )
    op.create_index(
        "webhook_deliveries_due_index",
        "webhook_deliveries",
        ["endpoint_id", "due_at"],
        postgresql_where=sa.text("status = 'PENDING'"),
    )
    op.create_index(
        "webhook_deliveries_status_index", "webhook_deliveries", ["endpoint_id", "status", "event_id"], unique=False
    )
    op.create_index(
        "webhook_deliveries_created_at_index", "webhook_deliveries", ["created_at"], postgresql_using="brin"
    )
    # From here on: what happened before has no endpoint to go to.
    op.execute(
        "INSERT INTO relay_cursors (consumer, xid, seq) SELECT 'webhooks', coalesce(newest.xid, '0'), coalesce(newest.seq, 0)"
        " FROM (SELECT 1) AS one LEFT JOIN (SELECT xid, seq FROM events ORDER BY xid DESC, seq DESC LIMIT 1) AS newest ON true"
    )


def downgrade() -> None:
    op.execute("DELETE FROM relay_cursors WHERE consumer = 'webhooks'")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_endpoints")
    op.drop_table("api_keys")

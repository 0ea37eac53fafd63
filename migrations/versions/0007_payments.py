"""Payments, their refunds, and the webhooks that tell of both."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("notice", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("processed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_events_pkey")),
        sa.UniqueConstraint("provider", "event_id", name="webhook_events_once"),
    )
    op.create_index("webhook_events_received_at_index", "webhook_events", ["received_at"], unique=False)
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payer_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=False),
        sa.Column("checkout_url", sa.Text(), nullable=True),
        sa.Column("checkout_reference", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("captured_minor", sa.BigInteger(), nullable=True),
        sa.Column("captured_currency", sa.Text(), nullable=True),
        sa.Column("refunded_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fulfilled_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("purpose IN ('top_up', 'lead')", name=op.f("payments_purpose_known")),
        sa.CheckConstraint(
            "status IN ('CREATED', 'PENDING', 'SUCCEEDED', 'FAILED', 'EXPIRED', 'UNDER_REVIEW', 'PARTIALLY_REFUNDED', 'REFUNDED')",
            name=op.f("payments_status_known"),
        ),
        sa.CheckConstraint(
            "(captured_minor IS NULL) = (captured_currency IS NULL)", name=op.f("payments_captured_whole")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("payments_amount_positive")),
        sa.CheckConstraint(
            "fulfilled_at IS NULL OR captured_minor IS NOT NULL", name=op.f("payments_fulfilled_by_capture")
        ),
        sa.CheckConstraint(
            "refunded_minor BETWEEN 0 AND coalesce(captured_minor, 0)", name=op.f("payments_refunds_within_captured")
        ),
        sa.ForeignKeyConstraint(["payer_id"], ["users.id"], name=op.f("payments_payer_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("payments_pkey")),
    )
    op.create_index("payments_payer_id_index", "payments", ["payer_id", "id"], unique=False)
    op.create_index("payments_status_index", "payments", ["status", "id"], unique=False)
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("provider_reference", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("source IN ('wallet', 'escrow')", name=op.f("refunds_source_known")),
        sa.CheckConstraint("status IN ('REQUESTED', 'SENT', 'SUCCEEDED', 'FAILED')", name=op.f("refunds_status_known")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("refunds_amount_positive")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("refunds_payment_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("refunds_pkey")),
    )
    op.create_index("refunds_payment_id_index", "refunds", ["payment_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("refunds_payment_id_index", table_name="refunds")
    op.drop_table("refunds")
    op.drop_index("payments_status_index", table_name="payments")
    op.drop_index("payments_payer_id_index", table_name="payments")
    op.drop_table("payments")
    op.drop_index("webhook_events_received_at_index", table_name="webhook_events")
    op.drop_table("webhook_events")

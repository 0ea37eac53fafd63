"""Checkouts and refunds of the sandbox payment provider."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sandbox_checkouts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("refunded_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('OPEN', 'PAID', 'DECLINED', 'ABANDONED')", name=op.f("sandbox_checkouts_status_known")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("sandbox_checkouts_amount_positive")),
        sa.CheckConstraint(
            "(reference IS NOT NULL) = (status = 'PAID')", name=op.f("sandbox_checkouts_reference_when_paid")
        ),
        sa.CheckConstraint(
            "refunded_minor BETWEEN 0 AND amount_minor", name=op.f("sandbox_checkouts_refunded_within_amount")
        ),
        sa.CheckConstraint("refunded_minor = 0 OR status = 'PAID'", name=op.f("sandbox_checkouts_refunded_when_paid")),
        sa.PrimaryKeyConstraint("id", name=op.f("sandbox_checkouts_pkey")),
        sa.UniqueConstraint("token", name=op.f("sandbox_checkouts_token_key")),
        sa.UniqueConstraint("payment_id", name=op.f("sandbox_checkouts_payment_id_key")),
        sa.UniqueConstraint("reference", name=op.f("sandbox_checkouts_reference_key")),
    )
    op.create_table(
        "sandbox_refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("refund_id", sa.Uuid(), nullable=False),
        sa.Column("checkout_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('SUCCEEDED')", name=op.f("sandbox_refunds_status_known")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("sandbox_refunds_amount_positive")),
        sa.ForeignKeyConstraint(
            ["checkout_id"], ["sandbox_checkouts.id"], name=op.f("sandbox_refunds_checkout_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("sandbox_refunds_pkey")),
        sa.UniqueConstraint("refund_id", name=op.f("sandbox_refunds_refund_id_key")),
    )
    op.create_index("sandbox_refunds_checkout_id_index", "sandbox_refunds", ["checkout_id"], unique=False)


def downgrade() -> None:
    op.drop_table("sandbox_refunds")
    op.drop_table("sandbox_checkouts")

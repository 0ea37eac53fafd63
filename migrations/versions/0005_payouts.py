"""Payout profiles and payouts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payout_profiles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("holder_name", sa.Text(), nullable=False),
        sa.Column("ifsc", sa.Text(), nullable=False),
        sa.Column("sealed_account_number", sa.LargeBinary(), nullable=False),
        sa.Column("account_last4", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("schedule", sa.Text(), server_default="none", nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'restricted', 'verified', 'rejected')", name=op.f("payout_profiles_status_known")
        ),
        sa.CheckConstraint("schedule IN ('none', 'weekly', 'monthly')", name=op.f("payout_profiles_schedule_known")),
        sa.CheckConstraint(
            "(status IN ('restricted', 'rejected')) = (status_reason IS NOT NULL)",
            name=op.f("payout_profiles_refusal_has_reason"),
        ),
        sa.CheckConstraint("account_last4 ~ '^[0-9]{4}$'", name=op.f("payout_profiles_four_digits")),
        sa.ForeignKeyConstraint(["id"], ["users.id"], name=op.f("payout_profiles_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("payout_profiles_pkey")),
    )
    op.create_index("payout_profiles_status_index", "payout_profiles", ["status", "id"], unique=False)
    op.create_table(
        "payouts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("holder_name", sa.Text(), nullable=False),
        sa.Column("ifsc", sa.Text(), nullable=False),
        sa.Column("account_last4", sa.Text(), nullable=False),
        sa.Column("profile_revision", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('REQUESTED', 'SENT', 'FAILED')", name=op.f("payouts_status_known")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("payouts_amount_positive")),
        sa.CheckConstraint(
            "(status = 'FAILED') = (failure_reason IS NOT NULL) AND (status = 'FAILED') = (failed_at IS NOT NULL)",
            name=op.f("payouts_failure_has_reason"),
        ),
        sa.CheckConstraint(
            "(reference IS NULL) = (sent_at IS NULL) AND (status <> 'SENT' OR sent_at IS NOT NULL)"
            " AND (status <> 'REQUESTED' OR sent_at IS NULL)",
            name=op.f("payouts_sent_has_reference"),
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("payouts_owner_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("payouts_pkey")),
    )
    op.create_index("payouts_owner_id_index", "payouts", ["owner_id", "id"], unique=False)
    op.create_index("payouts_status_index", "payouts", ["status", "id"], unique=False)
    op.create_index(
        "payouts_one_requested",
        "payouts",
        ["owner_id", "currency"],
        unique=True,
        postgresql_where=sa.text("status = 'REQUESTED'"),
    )


def downgrade() -> None:
    op.drop_table("payouts")
    op.drop_table("payout_profiles")

"""Work orders, and what they stand on: applications for roles, teams, advertised services, rounds of evidence."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _purposes("'proof', 'photo', 'document', 'evidence', 'invoice', 'statement'")
    op.create_table(
        "evidence_rounds",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("submitted_by", sa.Uuid(), nullable=False),
        sa.Column("image_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("submitted_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("verdict_reason", sa.Text(), nullable=True),
        sa.Column("reviewed_by", sa.Uuid(), nullable=True),
        sa.Column("reviewed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("images_erased_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "verdict <> 'rejected' OR verdict_reason IS NOT NULL", name=op.f("evidence_rounds_rejection_has_reason")
        ),
        sa.CheckConstraint("verdict IN ('approved', 'rejected')", name=op.f("evidence_rounds_verdict_known")),
        sa.CheckConstraint(
            "(verdict IS NULL) = (reviewed_by IS NULL) AND (verdict IS NULL) = (reviewed_at IS NULL)",
            name=op.f("evidence_rounds_verdict_whole"),
        ),
        sa.CheckConstraint("cardinality(image_ids) > 0", name=op.f("evidence_rounds_has_images")),
        sa.CheckConstraint("number > 0", name=op.f("evidence_rounds_number_positive")),
        sa.CheckConstraint("reviewed_by <> submitted_by", name=op.f("evidence_rounds_reviewed_by_another")),
        sa.ForeignKeyConstraint(["reviewed_by"], ["users.id"], name=op.f("evidence_rounds_reviewed_by_fkey")),
        sa.ForeignKeyConstraint(["submitted_by"], ["users.id"], name=op.f("evidence_rounds_submitted_by_fkey")),
        sa.PrimaryKeyConstraint("subject_id", "number", name=op.f("evidence_rounds_pkey")),
    )
    op.create_index(
        "evidence_rounds_open",
        "evidence_rounds",
        ["subject_id"],
        unique=True,
        postgresql_where=sa.text("verdict IS NULL"),
    )
    op.create_table(
        "role_applications",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("approved_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'rejected') = (rejection_reason IS NOT NULL)",
            name=op.f("role_applications_rejection_has_reason"),
        ),
        sa.CheckConstraint("role IN ('booster', 'advertiser', 'driver')", name=op.f("role_applications_role_known")),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected')", name=op.f("role_applications_status_known")
        ),
        sa.CheckConstraint("decided_by <> user_id", name=op.f("role_applications_decided_by_another")),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("role_applications_decided_by_fkey")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("role_applications_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("role_applications_pkey")),
    )
    op.create_index(
        "role_applications_one_for_each_role",
        "role_applications",
        ["user_id", "role"],
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'approved')"),
    )
    op.create_index("role_applications_status_index", "role_applications", ["status", "id"], unique=False)
    op.create_index("role_applications_user_id_index", "role_applications", ["user_id", "id"], unique=False)
    op.create_table(
        "teams",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("teams_name_length")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("teams_owner_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("teams_pkey")),
    )
    op.create_index("teams_owner_id_index", "teams", ["owner_id", "id"], unique=False)
    op.create_table(
        "advertised_services",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("advertiser_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('ACTIVE', 'PAUSED', 'ARCHIVED')", name=op.f("advertised_services_status_known")),
        sa.CheckConstraint("price_minor > 0", name=op.f("advertised_services_price_positive")),
        sa.ForeignKeyConstraint(["advertiser_id"], ["users.id"], name=op.f("advertised_services_advertiser_id_fkey")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("advertised_services_team_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("advertised_services_pkey")),
    )
    op.create_index(
        "advertised_services_active_index",
        "advertised_services",
        ["currency", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'ACTIVE'"),
    )
    op.create_index(
        "advertised_services_advertiser_id_index", "advertised_services", ["advertiser_id", "id"], unique=False
    )
    op.create_index(
        "advertised_services_team_id_index",
        "advertised_services",
        ["team_id", "id"],
        unique=False,
        postgresql_where=sa.text("team_id IS NOT NULL"),
    )
    op.create_table(
        "team_memberships",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("joined_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("left_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('INVITED', 'ACTIVE', 'DECLINED', 'LEFT', 'REMOVED')", name=op.f("team_memberships_status_known")
        ),
        sa.ForeignKeyConstraint(["invited_by"], ["users.id"], name=op.f("team_memberships_invited_by_fkey")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("team_memberships_team_id_fkey")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("team_memberships_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("team_memberships_pkey")),
    )
    op.create_index(
        "team_memberships_once",
        "team_memberships",
        ["team_id", "user_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('INVITED', 'ACTIVE')"),
    )
    op.create_index(
        "team_memberships_user_id_index", "team_memberships", ["user_id", "status", "team_id"], unique=False
    )
    op.create_table(
        "work_orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("advertised_service_id", sa.Uuid(), nullable=False),
        sa.Column("buyer_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("advertiser_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("commission_basis_points", sa.Integer(), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=True),
        sa.Column("booster_id", sa.Uuid(), nullable=True),
        sa.Column("rounds_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reviewer_id", sa.Uuid(), nullable=True),
        sa.Column("reviewed_by", sa.Uuid(), nullable=True),
        sa.Column("reviewed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("disputed_by", sa.Uuid(), nullable=True),
        sa.Column("disputed_from", sa.Text(), nullable=True),
        sa.Column("dispute_reason", sa.Text(), nullable=True),
        sa.Column("resolution_notes", sa.Text(), nullable=True),
        sa.Column("earned_minor", sa.BigInteger(), nullable=True),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("assigned_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("submitted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("completed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'COMPLETED') = (completed_at IS NOT NULL)", name=op.f("work_orders_completed_when")
        ),
        sa.CheckConstraint(
            "status <> 'DISPUTED' OR disputed_from IS NOT NULL", name=op.f("work_orders_dispute_interrupts")
        ),
        sa.CheckConstraint(
            "status IN ('PENDING', 'ASSIGNED', 'IN_PROGRESS', 'EVIDENCE_SUBMITTED', 'UNDER_REVIEW', 'REJECTED', 'DISPUTED', 'COMPLETED', 'CANCELLED')",
            name=op.f("work_orders_status_known"),
        ),
        sa.CheckConstraint(
            "status IN ('PENDING', 'CANCELLED', 'DISPUTED', 'COMPLETED') OR booster_id IS NOT NULL",
            name=op.f("work_orders_has_booster"),
        ),
        sa.CheckConstraint("booster_id <> buyer_id", name=op.f("work_orders_booster_is_not_buyer")),
        sa.CheckConstraint("buyer_id <> advertiser_id", name=op.f("work_orders_bought_from_another")),
        sa.CheckConstraint("commission_basis_points BETWEEN 0 AND 10000", name=op.f("work_orders_commission_known")),
        sa.CheckConstraint("earned_minor BETWEEN 0 AND price_minor", name=op.f("work_orders_earned_within_price")),
        sa.CheckConstraint("price_minor > 0", name=op.f("work_orders_price_positive")),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name=op.f("work_orders_rating_known")),
        sa.CheckConstraint(
            "reviewed_by <> booster_id AND reviewed_by <> buyer_id AND reviewer_id <> booster_id AND reviewer_id <> buyer_id",
            name=op.f("work_orders_reviewed_by_another"),
        ),
        sa.ForeignKeyConstraint(
            ["advertised_service_id"], ["advertised_services.id"], name=op.f("work_orders_advertised_service_id_fkey")
        ),
        sa.ForeignKeyConstraint(["advertiser_id"], ["users.id"], name=op.f("work_orders_advertiser_id_fkey")),
        sa.ForeignKeyConstraint(["booster_id"], ["users.id"], name=op.f("work_orders_booster_id_fkey")),
        sa.ForeignKeyConstraint(["buyer_id"], ["users.id"], name=op.f("work_orders_buyer_id_fkey")),
        sa.ForeignKeyConstraint(["disputed_by"], ["users.id"], name=op.f("work_orders_disputed_by_fkey")),
        sa.ForeignKeyConstraint(["reviewed_by"], ["users.id"], name=op.f("work_orders_reviewed_by_fkey")),
        sa.ForeignKeyConstraint(["reviewer_id"], ["users.id"], name=op.f("work_orders_reviewer_id_fkey")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("work_orders_team_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("work_orders_pkey")),
    )
    op.create_index("work_orders_advertiser_id_index", "work_orders", ["advertiser_id", "status", "id"], unique=False)
    op.create_index(
        "work_orders_booster_id_index",
        "work_orders",
        ["booster_id", "status", "id"],
        unique=False,
        postgresql_where=sa.text("booster_id IS NOT NULL"),
    )
    op.create_index("work_orders_buyer_id_index", "work_orders", ["buyer_id", "id"], unique=False)
    op.create_index("work_orders_status_index", "work_orders", ["status", "id"], unique=False)
    op.create_index(
        "work_orders_team_id_index",
        "work_orders",
        ["team_id", "status", "id"],
        unique=False,
        postgresql_where=sa.text("team_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "work_orders_team_id_index", table_name="work_orders", postgresql_where=sa.text("team_id IS NOT NULL")
    )
    op.drop_index("work_orders_status_index", table_name="work_orders")
    op.drop_index("work_orders_buyer_id_index", table_name="work_orders")
    op.drop_index(
        "work_orders_booster_id_index", table_name="work_orders", postgresql_where=sa.text("booster_id IS NOT NULL")
    )
    op.drop_index("work_orders_advertiser_id_index", table_name="work_orders")
    op.drop_table("work_orders")
    op.drop_index("team_memberships_user_id_index", table_name="team_memberships")
    op.drop_index(
        "team_memberships_once",
        table_name="team_memberships",
        postgresql_where=sa.text("status IN ('INVITED', 'ACTIVE')"),
    )
    op.drop_table("team_memberships")
    op.drop_index(
        "advertised_services_team_id_index",
        table_name="advertised_services",
        postgresql_where=sa.text("team_id IS NOT NULL"),
    )
    op.drop_index("advertised_services_advertiser_id_index", table_name="advertised_services")
    op.drop_index(
        "advertised_services_active_index",
        table_name="advertised_services",
        postgresql_where=sa.text("status = 'ACTIVE'"),
    )
    op.drop_table("advertised_services")
    op.drop_index("teams_owner_id_index", table_name="teams")
    op.drop_table("teams")
    op.drop_index("role_applications_user_id_index", table_name="role_applications")
    op.drop_index("role_applications_status_index", table_name="role_applications")
    op.drop_index(
        "role_applications_one_for_each_role",
        table_name="role_applications",
        postgresql_where=sa.text("status IN ('pending', 'approved')"),
    )
    op.drop_table("role_applications")
    op.drop_index("evidence_rounds_open", table_name="evidence_rounds", postgresql_where=sa.text("verdict IS NULL"))
    op.drop_table("evidence_rounds")
    _purposes("'proof', 'photo', 'document', 'invoice', 'statement'")


def _purposes(known: str) -> None:
    op.drop_constraint(op.f("files_purpose_known"), "files", type_="check")
    op.create_check_constraint(op.f("files_purpose_known"), "files", f"purpose IN ({known})")

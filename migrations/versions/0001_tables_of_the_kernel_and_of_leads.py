"""Tables of the kernel, of identity, and of leads.

Their rules that no constraint can say are triggers: see the next revision.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.models.base import Cube
from app.models.events import TransactionId

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS cube")
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=True),
        sa.Column("floor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(balance IS NULL) = (kind IN ('fees', 'commission', 'clearing', 'adjustment'))", name=op.f("accounts_kept")
        ),
        sa.CheckConstraint(
            "kind IN ('wallet', 'escrow', 'fees', 'commission', 'clearing', 'adjustment')",
            name=op.f("accounts_kind_known"),
        ),
        sa.CheckConstraint("balance >= floor", name=op.f("accounts_floor")),
        sa.PrimaryKeyConstraint("id", name=op.f("accounts_pkey")),
        sa.UniqueConstraint("owner_id", "kind", "currency", name=op.f("accounts_owner_id_kind_currency_key")),
    )
    op.create_table(
        "audit_trail",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=True),
        sa.Column("to_status", sa.Text(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_trail_pkey")),
    )
    op.create_index("audit_trail_subject_id_index", "audit_trail", ["subject_id", "id"], unique=False)
    op.create_table(
        "categories",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("name_hi", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("categories_pkey")),
        sa.UniqueConstraint("slug", name=op.f("categories_slug_key")),
    )
    op.create_table(
        "deadlines",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "kind", name=op.f("deadlines_pkey")),
    )
    op.create_index("deadlines_due_at_index", "deadlines", ["due_at"], unique=False)
    op.create_table(
        "entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("reverses_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["reverses_id"], ["entries.id"], name=op.f("entries_reverses_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("entries_pkey")),
        sa.UniqueConstraint("idempotency_key", name=op.f("entries_idempotency_key_key")),
        sa.UniqueConstraint("reverses_id", name=op.f("entries_reverses_id_key")),
    )
    op.create_index("entries_subject_id_index", "entries", ["subject_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True, cache=1), nullable=False),
        sa.Column("xid", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column(
            "horizon",
            TransactionId(),
            server_default=sa.text("pg_snapshot_xmin(pg_current_snapshot())"),
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
        sa.UniqueConstraint("seq", name=op.f("events_seq_key")),
    )
    op.create_index("events_created_at_index", "events", ["created_at"], unique=False, postgresql_using="brin")
    op.create_index("events_subject_id_index", "events", ["subject_id", "seq"], unique=False)
    op.create_index("events_xid_index", "events", ["xid", "seq"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index(
        "idempotency_keys_created_at_index", "idempotency_keys", ["created_at"], unique=False, postgresql_using="brin"
    )
    op.create_table(
        "notifications",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("xid", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("read_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "event_id", name=op.f("notifications_pkey")),
    )
    op.create_index(
        "notifications_created_at_index", "notifications", ["created_at"], unique=False, postgresql_using="brin"
    )
    op.create_index(
        "notifications_unread_index",
        "notifications",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("read_at IS NULL"),
    )
    op.create_index("notifications_user_id_xid_index", "notifications", ["user_id", "xid", "seq"], unique=False)
    op.create_table(
        "regions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("zipcodes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.Column("boundary", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180", name=op.f("regions_position_on_earth")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("regions_pkey")),
        sa.UniqueConstraint("code", name=op.f("regions_code_key")),
    )
    op.create_table(
        "relay_cursors",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("xid", TransactionId(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", name=op.f("relay_cursors_pkey")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), server_default="en", nullable=False),
        sa.Column("requested_role", sa.Text(), server_default="customer", nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("language IN ('en', 'hi')", name=op.f("users_language_known")),
        sa.CheckConstraint(
            "requested_role IN ('customer', 'provider', 'shopkeeper', 'driver', 'booster', 'advertiser', 'gig_worker', 'support', 'manager', 'admin')",
            name=op.f("users_requested_role_known"),
        ),
        sa.CheckConstraint(
            "status IN ('PENDING_VERIFICATION', 'ACTIVE', 'SUSPENDED', 'BANNED')", name=op.f("users_status_known")
        ),
        sa.CheckConstraint("email = lower(email)", name=op.f("users_email_folded")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
    )
    op.create_index("users_email_key", "users", ["email"], unique=True)
    op.create_index("users_phone_key", "users", ["phone"], unique=True)
    op.create_table(
        "files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("discarded_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("purpose IN ('proof', 'photo', 'document')", name=op.f("files_purpose_known")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("files_owner_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("files_pkey")),
    )
    op.create_index("files_subject_id_index", "files", ["subject_id"], unique=False)
    op.create_index(
        "files_unattached_index",
        "files",
        ["owner_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("subject_id IS NULL"),
    )
    op.create_table(
        "postings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("postings_amount_not_zero")),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name=op.f("postings_entry_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("postings_pkey")),
    )
    op.create_index("postings_account_id_index", "postings", ["account_id", "id"], unique=False)
    op.create_index("postings_entry_id_index", "postings", ["entry_id"], unique=False)
    op.create_table(
        "providers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("region_id", sa.Uuid(), nullable=False),
        sa.Column("business_name", sa.Text(), nullable=False),
        sa.Column("bio", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.Column("service_radius_metres", sa.Integer(), nullable=False),
        sa.Column(
            "coverage",
            Cube(),
            sa.Computed(
                "cube_enlarge(CUBE(CUBE(CUBE(6371009.0 * cos(radians(latitude)) * cos(radians(longitude))), 6371009.0 * cos(radians(latitude)) * sin(radians(longitude))), 6371009.0 * sin(radians(latitude))), 12742018.0 * sin(service_radius_metres / CAST(12742018.0 AS DOUBLE PRECISION)), 3)",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("weekly_lead_budget_minor", sa.BigInteger(), nullable=True),
        sa.Column("rating_average", sa.Numeric(precision=3, scale=2), server_default="0", nullable=False),
        sa.Column("rating_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("warnings", sa.Integer(), server_default="0", nullable=False),
        sa.Column("approved_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'rejected') = (rejection_reason IS NOT NULL)", name=op.f("providers_rejection_has_reason")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'suspended', 'banned')", name=op.f("providers_status_known")
        ),
        sa.CheckConstraint(
            "latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180", name=op.f("providers_position_on_earth")
        ),
        sa.CheckConstraint("service_radius_metres > 0", name=op.f("providers_radius_positive")),
        sa.CheckConstraint("weekly_lead_budget_minor >= 0", name=op.f("providers_budget_not_negative")),
        sa.ForeignKeyConstraint(["id"], ["users.id"], name=op.f("providers_id_fkey")),
        sa.ForeignKeyConstraint(["region_id"], ["regions.id"], name=op.f("providers_region_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("providers_pkey")),
    )
    op.create_index("providers_coverage_index", "providers", ["coverage"], unique=False, postgresql_using="gist")
    op.create_index("providers_region_id_index", "providers", ["region_id", "status", "id"], unique=False)
    op.create_table(
        "region_managers",
        sa.Column("region_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["region_id"], ["regions.id"], name=op.f("region_managers_region_id_fkey")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("region_managers_user_id_fkey")),
        sa.PrimaryKeyConstraint("region_id", "user_id", name=op.f("region_managers_pkey")),
    )
    op.create_index("region_managers_user_id_index", "region_managers", ["user_id"], unique=False)
    op.create_table(
        "services",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("name_hi", sa.Text(), nullable=False),
        sa.Column("description_en", sa.Text(), nullable=False),
        sa.Column("description_hi", sa.Text(), nullable=False),
        sa.Column("questions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("lead_fee_minor", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("lead_fee_minor >= 0", name=op.f("services_lead_fee_not_negative")),
        sa.ForeignKeyConstraint(["category_id"], ["categories.id"], name=op.f("services_category_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("services_pkey")),
        sa.UniqueConstraint("slug", name=op.f("services_slug_key")),
    )
    op.create_index("services_category_id_index", "services", ["category_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sessions_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
    )
    op.create_index("sessions_user_id_index", "sessions", ["user_id"], unique=False)
    op.create_table(
        "user_roles",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("granted_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "role IN ('customer', 'provider', 'shopkeeper', 'driver', 'booster', 'advertiser', 'gig_worker', 'support', 'manager', 'admin')",
            name=op.f("user_roles_role_known"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("user_roles_user_id_fkey")),
        sa.PrimaryKeyConstraint("user_id", "role", name=op.f("user_roles_pkey")),
    )
    op.create_index("user_roles_role_index", "user_roles", ["role", "user_id"], unique=False)
    op.create_table(
        "provider_services",
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["provider_id"], ["providers.id"], name=op.f("provider_services_provider_id_fkey")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("provider_services_service_id_fkey")),
        sa.PrimaryKeyConstraint("provider_id", "service_id", name=op.f("provider_services_pkey")),
    )
    op.create_index(
        "provider_services_service_id_index", "provider_services", ["service_id", "provider_id"], unique=False
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("spent_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("refresh_tokens_session_id_fkey")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("refresh_tokens_pkey")),
    )
    op.create_index("refresh_tokens_session_id_index", "refresh_tokens", ["session_id"], unique=False)
    op.create_table(
        "service_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("region_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("answers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("photo_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.Column("budget_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("preferred_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("lead_cap", sa.Integer(), nullable=False),
        sa.Column("buyers_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("completed_by", sa.Uuid(), nullable=True),
        sa.Column("proof_id", sa.Uuid(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("assigned_provider_id", sa.Uuid(), nullable=True),
        sa.Column("send_back_reason", sa.Text(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(assigned_provider_id IS NOT NULL) = (status = 'APPROVED') AND (assigned_provider_id IS NULL OR assigned_provider_id = completed_by)",
            name=op.f("service_requests_assigned_is_winner"),
        ),
        sa.CheckConstraint(
            "(status IN ('COMPLETED', 'APPROVED')) = (completed_by IS NOT NULL AND proof_id IS NOT NULL)",
            name=op.f("service_requests_winner_while_won"),
        ),
        sa.CheckConstraint(
            "status IN ('PENDING', 'PURCHASED', 'IN_PROGRESS', 'COMPLETED', 'APPROVED', 'CANCELLED', 'EXPIRED')",
            name=op.f("service_requests_status_known"),
        ),
        sa.CheckConstraint("budget_minor > 0", name=op.f("service_requests_budget_positive")),
        sa.CheckConstraint("buyers_count BETWEEN 0 AND lead_cap", name=op.f("service_requests_cap_holds")),
        sa.CheckConstraint("fee_minor >= 0", name=op.f("service_requests_fee_not_negative")),
        sa.CheckConstraint(
            "latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180",
            name=op.f("service_requests_position_on_earth"),
        ),
        sa.ForeignKeyConstraint(
            ["assigned_provider_id"], ["providers.id"], name=op.f("service_requests_assigned_provider_id_fkey")
        ),
        sa.ForeignKeyConstraint(["completed_by"], ["providers.id"], name=op.f("service_requests_completed_by_fkey")),
        sa.ForeignKeyConstraint(["customer_id"], ["users.id"], name=op.f("service_requests_customer_id_fkey")),
        sa.ForeignKeyConstraint(["region_id"], ["regions.id"], name=op.f("service_requests_region_id_fkey")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("service_requests_service_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("service_requests_pkey")),
    )
    op.create_index(
        "service_requests_completed_by_index",
        "service_requests",
        ["completed_by", "id"],
        unique=False,
        postgresql_where=sa.text("completed_by IS NOT NULL"),
    )
    op.create_index("service_requests_customer_id_index", "service_requests", ["customer_id", "id"], unique=False)
    op.create_index(
        "service_requests_open_position_index",
        "service_requests",
        [
            sa.literal_column(
                "CUBE(CUBE(CUBE(6371009.0 * cos(radians(latitude)) * cos(radians(longitude))), 6371009.0 * cos(radians(latitude)) * sin(radians(longitude))), 6371009.0 * sin(radians(latitude)))"
            )
        ],
        unique=False,
        postgresql_using="gist",
        postgresql_where=sa.text("status IN ('PENDING', 'PURCHASED', 'IN_PROGRESS')"),
    )
    op.create_index("service_requests_region_id_index", "service_requests", ["region_id", "status", "id"], unique=False)
    op.create_index("service_requests_status_index", "service_requests", ["status", "id"], unique=False)
    op.create_table(
        "lead_purchases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("service_request_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("region_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("worked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("report_reason", sa.Text(), nullable=True),
        sa.Column("report_note", sa.Text(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "report_reason IN ('unreachable', 'spam', 'wrong_service')", name=op.f("lead_purchases_report_reason_known")
        ),
        sa.CheckConstraint(
            "status IN ('PAID', 'REPORTED', 'REFUSED', 'REFUNDED')", name=op.f("lead_purchases_status_known")
        ),
        sa.ForeignKeyConstraint(["provider_id"], ["providers.id"], name=op.f("lead_purchases_provider_id_fkey")),
        sa.ForeignKeyConstraint(
            ["service_request_id"], ["service_requests.id"], name=op.f("lead_purchases_service_request_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("lead_purchases_pkey")),
        sa.UniqueConstraint("service_request_id", "provider_id", name="lead_purchases_once"),
    )
    op.create_index("lead_purchases_provider_id_index", "lead_purchases", ["provider_id", "id"], unique=False)
    op.create_index(
        "lead_purchases_reported_index",
        "lead_purchases",
        ["region_id", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'REPORTED'"),
    )


def downgrade() -> None:
    op.drop_index(
        "lead_purchases_reported_index", table_name="lead_purchases", postgresql_where=sa.text("status = 'REPORTED'")
    )
    op.drop_index("lead_purchases_provider_id_index", table_name="lead_purchases")
    op.drop_table("lead_purchases")
    op.drop_index("service_requests_status_index", table_name="service_requests")
    op.drop_index("service_requests_region_id_index", table_name="service_requests")
    op.drop_index(
        "service_requests_open_position_index",
        table_name="service_requests",
        postgresql_using="gist",
        postgresql_where=sa.text("status IN ('PENDING', 'PURCHASED', 'IN_PROGRESS')"),
    )
    op.drop_index("service_requests_customer_id_index", table_name="service_requests")
    op.drop_index(
        "service_requests_completed_by_index",
        table_name="service_requests",
        postgresql_where=sa.text("completed_by IS NOT NULL"),
    )
    op.drop_table("service_requests")
    op.drop_index("refresh_tokens_session_id_index", table_name="refresh_tokens")
    op.drop_table("refresh_tokens")
    op.drop_index("provider_services_service_id_index", table_name="provider_services")
    op.drop_table("provider_services")
    op.drop_index("user_roles_role_index", table_name="user_roles")
    op.drop_table("user_roles")
    op.drop_index("sessions_user_id_index", table_name="sessions")
    op.drop_table("sessions")
    op.drop_index("services_category_id_index", table_name="services")
    op.drop_table("services")
    op.drop_index("region_managers_user_id_index", table_name="region_managers")
    op.drop_table("region_managers")
    op.drop_index("providers_region_id_index", table_name="providers")
    op.drop_index("providers_coverage_index", table_name="providers", postgresql_using="gist")
    op.drop_table("providers")
    op.drop_index("postings_entry_id_index", table_name="postings")
    op.drop_index("postings_account_id_index", table_name="postings")
    op.drop_table("postings")
    op.drop_index("files_unattached_index", table_name="files", postgresql_where=sa.text("subject_id IS NULL"))
    op.drop_index("files_subject_id_index", table_name="files")
    op.drop_table("files")
    op.drop_index("users_phone_key", table_name="users")
    op.drop_index("users_email_key", table_name="users")
    op.drop_table("users")
    op.drop_table("relay_cursors")
    op.drop_table("regions")
    op.drop_index("notifications_user_id_xid_index", table_name="notifications")
    op.drop_index("notifications_unread_index", table_name="notifications", postgresql_where=sa.text("read_at IS NULL"))
    op.drop_index("notifications_created_at_index", table_name="notifications", postgresql_using="brin")
    op.drop_table("notifications")
    op.drop_index("idempotency_keys_created_at_index", table_name="idempotency_keys", postgresql_using="brin")
    op.drop_table("idempotency_keys")
    op.drop_index("events_xid_index", table_name="events")
    op.drop_index("events_subject_id_index", table_name="events")
    op.drop_index("events_created_at_index", table_name="events", postgresql_using="brin")
    op.drop_table("events")
    op.drop_index("entries_subject_id_index", table_name="entries")
    op.drop_table("entries")
    op.drop_index("deadlines_due_at_index", table_name="deadlines")
    op.drop_table("deadlines")
    op.drop_table("categories")
    op.drop_index("audit_trail_subject_id_index", table_name="audit_trail")
    op.drop_table("audit_trail")
    op.drop_table("accounts")

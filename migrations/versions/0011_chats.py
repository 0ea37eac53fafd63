"""Conversations, messages, blocks and reports of messages."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# VOLATILE, so that each looks with a snapshot of its own: they are asked by who has waited for a conversation's row.
CHAT_STAFF = """
CREATE FUNCTION chat_staff(conversation uuid) RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE ROWS 1 AS $$
BEGIN
    RETURN QUERY
        SELECT p.user_id FROM conversation_participants p
        WHERE p.conversation_id = conversation AND p.role <> 'party'
            AND EXISTS (SELECT FROM user_roles r WHERE r.user_id = p.user_id AND r.role = p.role)
            AND (p.role <> 'manager' OR EXISTS (
                SELECT FROM region_managers m JOIN conversations c ON c.region_id = m.region_id
                WHERE c.id = conversation AND m.user_id = p.user_id));
END $$
"""
CHAT_BLOCKED = """
CREATE FUNCTION chat_blocked(sender uuid, others uuid[]) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM user_blocks WHERE blocker_id = sender AND blocked_id = ANY(others))
        OR EXISTS (SELECT FROM user_blocks WHERE blocker_id = ANY(others) AND blocked_id = sender);
END $$
"""
CHAT_UNREAD = """
CREATE FUNCTION chat_unread(conversation uuid, reader uuid, read_up_to integer) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT count(*) FROM (
        SELECT FROM messages m
        WHERE m.conversation_id = conversation AND m.number > read_up_to AND m.sender_id <> reader LIMIT 1000) AS unread);
END $$
"""
FUNCTIONS = (CHAT_STAFF, CHAT_BLOCKED, CHAT_UNREAD)
BUSY_TABLES = ("messages", "conversation_participants", "conversations")
PURPOSES = "purpose IN ('proof', 'photo', 'document', 'evidence'{more}, 'invoice', 'statement')"


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("counterpart_id", sa.Uuid(), nullable=True),
        sa.Column("region_id", sa.Uuid(), nullable=True),
        sa.Column("last_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["region_id"], ["regions.id"], name=op.f("conversations_region_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("conversations_pkey")),
    )
    op.create_index(
        "conversations_one_alive",
        "conversations",
        ["subject_type", "subject_id", "counterpart_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("conversations_subject_id_index", "conversations", ["subject_id", "id"], unique=False)
    op.create_table(
        "user_blocks",
        sa.Column("blocker_id", sa.Uuid(), nullable=False),
        sa.Column("blocked_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("blocker_id <> blocked_id", name=op.f("user_blocks_not_oneself")),
        sa.ForeignKeyConstraint(["blocked_id"], ["users.id"], name=op.f("user_blocks_blocked_id_fkey")),
        sa.ForeignKeyConstraint(["blocker_id"], ["users.id"], name=op.f("user_blocks_blocker_id_fkey")),
        sa.PrimaryKeyConstraint("blocker_id", "blocked_id", name=op.f("user_blocks_pkey")),
    )
    op.create_table(
        "conversation_participants",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), server_default="party", nullable=False),
        sa.Column("read_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unread_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("activity_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "role IN ('party', 'support', 'manager', 'admin')", name=op.f("conversation_participants_role_known")
        ),
        sa.CheckConstraint("unread_count >= 0", name=op.f("conversation_participants_unread_count_not_negative")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("conversation_participants_conversation_id_fkey")
        ),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name=op.f("conversation_participants_pkey")),
    )
    op.create_index(
        "conversation_participants_activity_index",
        "conversation_participants",
        ["user_id", "activity_id"],
        unique=False,
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("follows", sa.Integer(), sa.Computed("nullif(number - 1, 0)", persisted=True), nullable=True),
        sa.Column("sender_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("original_text", sa.Text(), nullable=True),
        sa.Column("image_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("client_message_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "length(coalesce(original_text, text)) <= 4000 AND cardinality(image_ids) <= 10",
            name=op.f("messages_bounded"),
        ),
        sa.CheckConstraint("number > 0", name=op.f("messages_number_positive")),
        sa.CheckConstraint("text IS NOT NULL OR cardinality(image_ids) > 0", name=op.f("messages_not_empty")),
        sa.ForeignKeyConstraint(
            ["conversation_id", "follows"],
            ["messages.conversation_id", "messages.number"],
            name="messages_number_follows",
        ),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("messages_conversation_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("messages_pkey")),
        sa.UniqueConstraint("conversation_id", "number", name="messages_numbered_once"),
        sa.UniqueConstraint("conversation_id", "sender_id", "client_message_id", name="messages_once"),
    )
    op.create_table(
        "message_reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("region_id", sa.Uuid(), nullable=True),
        sa.Column("reporter_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'OPEN') = (decision_reason IS NULL)", name=op.f("message_reports_decided_with_reason")
        ),
        sa.CheckConstraint(
            "reason IN ('abuse', 'fraud', 'contact_details', 'spam', 'other')",
            name=op.f("message_reports_reason_known"),
        ),
        sa.CheckConstraint("status IN ('OPEN', 'DISMISSED', 'UPHELD')", name=op.f("message_reports_status_known")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("message_reports_conversation_id_fkey")
        ),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("message_reports_message_id_fkey")),
        sa.ForeignKeyConstraint(["reporter_id"], ["users.id"], name=op.f("message_reports_reporter_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("message_reports_pkey")),
        sa.UniqueConstraint("message_id", "reporter_id", name="message_reports_once"),
    )
    op.create_index("message_reports_region_id_index", "message_reports", ["region_id", "status", "id"], unique=False)
    op.create_index("message_reports_status_index", "message_reports", ["status", "id"], unique=False)
    for function in FUNCTIONS:
        op.execute(function)
    for table in BUSY_TABLES:
        op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.05)")
    # Updated by every message, in place where no index has the column.
    op.execute("ALTER TABLE conversations SET (fillfactor = 70)")
    op.drop_constraint(op.f("files_purpose_known"), "files", type_="check")
    op.create_check_constraint(op.f("files_purpose_known"), "files", PURPOSES.format(more=", 'chat_image'"))


def downgrade() -> None:
    op.execute("DELETE FROM files WHERE purpose = 'chat_image'")
    op.drop_constraint(op.f("files_purpose_known"), "files", type_="check")
    op.create_check_constraint(op.f("files_purpose_known"), "files", PURPOSES.format(more=""))
    for function in ("chat_staff", "chat_blocked", "chat_unread"):
        op.execute(f"DROP FUNCTION {function}")
    op.drop_index("message_reports_status_index", table_name="message_reports")
    op.drop_index("message_reports_region_id_index", table_name="message_reports")
    op.drop_table("message_reports")
    op.drop_table("messages")
    op.drop_index("conversation_participants_activity_index", table_name="conversation_participants")
    op.drop_table("conversation_participants")
    op.drop_table("user_blocks")
    op.drop_index("conversations_subject_id_index", table_name="conversations")
    op.drop_index("conversations_one_alive", table_name="conversations")
    op.drop_table("conversations")

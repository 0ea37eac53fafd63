"""Preferences, devices for web push, and events that only keep lists fresh: one for each wallet that moves."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# UUIDv7, as `app/core/ids.py` makes them: 48 bits of milliseconds, then random ones.
UUID7 = """
CREATE FUNCTION uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
        ), 52, 1), 53, 1), 'hex')::uuid
$$
"""

# The event `wallet.changed`, one for each owner and currency whose wallet or debt an entry moves. It is written here
# because here is where the balance is known, under its lock: so the events of one wallet are in the order of its
# balances. NULL stands for what the entry did not touch, and what somebody else may be moving at this moment.
TELL_OF_BALANCES = """
CREATE FUNCTION tell_of_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH moved AS (
        SELECT added.entry_id, accounts.owner_id, accounts.currency,
               max(accounts.balance) FILTER (WHERE accounts.kind = 'wallet') AS balance_minor,
               max(-accounts.balance) FILTER (WHERE accounts.kind = 'debt') AS owed_minor
        FROM (SELECT DISTINCT entry_id, account_id FROM added) AS added
        JOIN accounts ON accounts.id = added.account_id
        WHERE accounts.kind IN ('wallet', 'debt')
        GROUP BY added.entry_id, accounts.owner_id, accounts.currency
    ), told AS (
        INSERT INTO events (id, name, subject_type, subject_id, payload)
        SELECT uuid7(), 'wallet.changed', 'wallet', owner_id, jsonb_build_object(
            'entry_id', entry_id, 'currency', currency, 'balance_minor', balance_minor, 'owed_minor', owed_minor)
        FROM moved
        RETURNING id, seq, subject_id
    )
    INSERT INTO notifications (user_id, event_id, seq, quiet) SELECT subject_id, id, seq, true FROM told;
    RETURN NULL;
END $$
"""

# Triggers of one table fire in the order of their names: this one after `postings_balance`, which moves the balances.
TRIGGER = """
CREATE TRIGGER postings_tell_of_balances AFTER INSERT ON postings
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tell_of_balances()
"""


def upgrade() -> None:
    op.create_table(
        "notification_preferences",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.CheckConstraint("channel IN ('mail', 'sms', 'push')", name=op.f("notification_preferences_channel_known")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("notification_preferences_user_id_fkey")),
        sa.PrimaryKeyConstraint("user_id", "family", "channel", name=op.f("notification_preferences_pkey")),
    )
    op.create_table(
        "push_devices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("p256dh", sa.LargeBinary(), nullable=False),
        sa.Column("auth", sa.LargeBinary(), nullable=False),
        sa.Column("refusals", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "octet_length(p256dh) = 65 AND octet_length(auth) = 16", name=op.f("push_devices_key_sizes")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("push_devices_user_id_fkey")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("push_devices_session_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("push_devices_pkey")),
    )
    op.create_index("push_devices_endpoint_key", "push_devices", ["endpoint"], unique=True)
    op.create_index("push_devices_user_id_index", "push_devices", ["user_id"], unique=False)
    op.create_index("push_devices_session_id_index", "push_devices", ["session_id"], unique=False)
    op.add_column("notifications", sa.Column("quiet", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_index("notifications_unread_index", table_name="notifications")
    op.create_index(
        "notifications_unread_index",
        "notifications",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("read_at IS NULL AND NOT quiet"),
    )
    op.create_index(
        "notifications_event_id_index",
        "notifications",
        ["event_id", "user_id"],
        unique=False,
        postgresql_where=sa.text("NOT quiet"),
    )
    for statement in (UUID7, TELL_OF_BALANCES, TRIGGER):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER postings_tell_of_balances ON postings")
    op.execute("DROP FUNCTION tell_of_balances")
    op.execute("DROP FUNCTION uuid7")
    op.execute("DELETE FROM notifications WHERE quiet")  # they would turn up in the feed
    op.drop_index("notifications_event_id_index", table_name="notifications")
    op.drop_index("notifications_unread_index", table_name="notifications")
    op.create_index(
        "notifications_unread_index",
        "notifications",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("read_at IS NULL"),
    )
    op.drop_column("notifications", "quiet")
    op.drop_table("push_devices")
    op.drop_table("notification_preferences")

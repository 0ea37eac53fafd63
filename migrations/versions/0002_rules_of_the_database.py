"""Rules that hold whatever the code does: the ledger balances, history stays, a race has one winner."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

POSTINGS_BALANCE = """
CREATE FUNCTION postings_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- What one statement adds to an entry sums to zero per currency; so, statement by statement, does the entry.
    IF EXISTS (SELECT FROM added GROUP BY entry_id, currency HAVING sum(amount) <> 0) THEN
        RAISE EXCEPTION 'postings of an entry do not sum to zero'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'postings_balance';
    END IF;
    IF EXISTS (SELECT FROM added LEFT JOIN accounts ON accounts.id = added.account_id
               WHERE accounts.currency IS DISTINCT FROM added.currency) THEN
        RAISE EXCEPTION 'a posting names no account of its currency'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'postings_account';
    END IF;
    -- All entries lock the balances that they move in one order, the order of ids, so that they cannot deadlock.
    PERFORM FROM accounts
        WHERE id IN (SELECT account_id FROM added) AND balance IS NOT NULL
        ORDER BY id FOR NO KEY UPDATE;
    -- The check accounts_floor refuses what would overdraw.
    UPDATE accounts SET balance = balance + moved.amount
        FROM (SELECT account_id, sum(amount) AS amount FROM added GROUP BY account_id) AS moved
        WHERE accounts.id = moved.account_id AND accounts.balance IS NOT NULL AND moved.amount <> 0;
    RETURN NULL;
END $$
"""

APPEND_ONLY = """
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_TABLE_NAME || '_append_only';
END $$
"""

# Only postings move a balance. The flag is the trigger depth: postings_balance updates from within a trigger.
BALANCE_MOVES_BY_POSTINGS = """
CREATE FUNCTION balance_moves_by_postings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR pg_trigger_depth() = 1 THEN
        RAISE EXCEPTION 'a balance moves by postings only'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'accounts_balance_moves_by_postings';
    END IF;
    RETURN NEW;
END $$
"""

ONE_WINNER = """
CREATE FUNCTION service_requests_one_winner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'service request % is won already', OLD.id
        USING ERRCODE = 'unique_violation', CONSTRAINT = 'service_requests_one_winner';
END $$
"""

# VOLATILE, so that it looks with a snapshot of its own: a transition asks it after having waited for the request's row.
LEAD_BUYERS = """
CREATE FUNCTION lead_buyers(request_id uuid) RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE ROWS 5 AS $$
BEGIN
    RETURN QUERY SELECT provider_id FROM lead_purchases WHERE service_request_id = request_id;
END $$
"""

TRIGGERS = (
    """CREATE TRIGGER postings_balance AFTER INSERT ON postings
       REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION postings_balance()""",
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON postings EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_trail EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER kept_for_ever BEFORE DELETE OR TRUNCATE ON accounts EXECUTE FUNCTION append_only()",
    """CREATE TRIGGER owner_kept BEFORE UPDATE OF id, owner_id, kind, currency ON accounts
       EXECUTE FUNCTION append_only()""",
    """CREATE TRIGGER balance_moves_by_postings BEFORE UPDATE OF balance ON accounts
       FOR EACH ROW WHEN (OLD.balance IS DISTINCT FROM NEW.balance) EXECUTE FUNCTION balance_moves_by_postings()""",
    """CREATE TRIGGER balance_starts_at_zero BEFORE INSERT ON accounts
       FOR EACH ROW WHEN (NEW.balance <> 0) EXECUTE FUNCTION balance_moves_by_postings()""",
    """CREATE TRIGGER service_requests_one_winner BEFORE UPDATE OF completed_by ON service_requests
       FOR EACH ROW WHEN (OLD.completed_by <> NEW.completed_by) EXECUTE FUNCTION service_requests_one_winner()""",
)

# Tables that grow without end: look after them before a fifth of a million rows has changed.
BUSY_TABLES = ("events", "notifications", "service_requests", "deadlines", "accounts")


def upgrade() -> None:
    for function in (POSTINGS_BALANCE, APPEND_ONLY, BALANCE_MOVES_BY_POSTINGS, ONE_WINNER, LEAD_BUYERS, *TRIGGERS):
        op.execute(function)
    for table in BUSY_TABLES:
        op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.05)")
    op.execute("INSERT INTO relay_cursors (consumer, xid, seq) VALUES ('messages', '0', 0)")
    op.execute("ALTER TABLE accounts SET (fillfactor = 50)")  # a balance is updated in place, without index entries


def downgrade() -> None:
    op.execute("DELETE FROM relay_cursors")
    op.execute("ALTER TABLE accounts RESET (fillfactor)")
    for table in BUSY_TABLES:
        op.execute(f"ALTER TABLE {table} RESET (autovacuum_vacuum_scale_factor)")
    for function in (
        "postings_balance",
        "append_only",
        "balance_moves_by_postings",
        "service_requests_one_winner",
        "lead_buyers",
    ):
        op.execute(f"DROP FUNCTION {function} CASCADE")

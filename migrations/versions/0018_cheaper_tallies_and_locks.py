"""What an approval waits for, in fewer statements: tallies of changed orders, and the lock on accounts."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# What a statement made of the orders that it changed, less what they were before; what came out even adds no row. A
# verdict is no property of the order, of which it may have several, but of the step.
RETALLIED = """
CREATE FUNCTION work_orders_retallied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work_order_tallies (side, owner_id, measure, number, total)
    SELECT side, owner_id, measure, sum(number), sum(total)
    FROM (
        SELECT advertiser_id, booster_id, measure, sign * number AS number, sign * total AS total
        FROM (SELECT 1 AS sign, added.* FROM added UNION ALL SELECT -1, removed.* FROM removed) AS changed,
            LATERAL (VALUES ('status:' || status, 1, 0),
                            ('completed', (num_nulls(started_at, completed_at) = 0)::integer,
                             extract(epoch FROM completed_at - started_at)),
                            ('earned:' || currency, (earned_minor > 0)::integer, earned_minor),
                            ('rated', num_nonnulls(rating), rating)) AS what (measure, number, total)
        WHERE what.number > 0
        UNION ALL
        SELECT added.advertiser_id, added.booster_id,
               CASE added.status WHEN 'COMPLETED' THEN 'approved' ELSE 'rejected:' || added.rejection_category END,
               1, extract(epoch FROM added.reviewed_at - added.submitted_at)
        FROM added JOIN removed USING (id)
        WHERE removed.status IN ('EVIDENCE_SUBMITTED', 'UNDER_REVIEW') AND added.status IN ('COMPLETED', 'REJECTED')
    ) AS line,
        LATERAL (VALUES ('platform', '00000000-0000-0000-0000-000000000000'::uuid),
                        ('advertiser', advertiser_id), ('booster', booster_id)) AS whose (side, owner_id)
    WHERE owner_id IS NOT NULL
    GROUP BY side, owner_id, measure
    HAVING sum(number) <> 0 OR sum(total) <> 0;
    RETURN NULL;
END $$
"""
TALLIED_CHANGED = """
CREATE TRIGGER tallied_changed AFTER UPDATE ON work_orders
REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION work_orders_retallied()
"""

# The steps of one round trip, and in this order: whoever posts opens accounts first and locks them afterwards, each in
# the order of ids, so whoever locks before posting has to do the same. Accounts are never deleted: where all are to be
# seen, there is nothing to open, and nobody to wait for. VOLATILE, so that each step sees what was committed while the
# step before it waited: a debt, too, that somebody opened meanwhile.
LOCK_ACCOUNTS = """
CREATE OR REPLACE FUNCTION lock_accounts(
    ids uuid[], owner_ids uuid[], kinds text[], currencies text[], if_open uuid[], debt_floor bigint
) RETURNS TABLE (id uuid, balance bigint) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    wanted CONSTANT uuid[] := ids || if_open;
    account record;
BEGIN
    IF (SELECT count(*) FROM accounts WHERE id = ANY (ids)) < cardinality(ids) THEN
        INSERT INTO accounts (id, owner_id, kind, currency, balance)
            SELECT line.*, CASE WHEN line.owner_id = '00000000-0000-0000-0000-000000000000' THEN NULL ELSE 0 END
            FROM unnest(ids, owner_ids, kinds, currencies) AS line (id, owner_id, kind, currency)
            ORDER BY line.id
            ON CONFLICT DO NOTHING;
    END IF;
    PERFORM FROM accounts WHERE id = ANY (wanted) AND balance IS NOT NULL ORDER BY id FOR NO KEY UPDATE;
    FOR account IN
        SELECT id, balance, kind = 'debt' AND floor <> least(debt_floor, balance) AS has_another_floor
        FROM accounts WHERE id = ANY (wanted) AND balance IS NOT NULL
    LOOP
        id := account.id;
        balance := account.balance;
        IF account.has_another_floor THEN
            -- A debt beyond a limit that was lowered may stay as it is, but not grow.
            UPDATE accounts SET floor = least(debt_floor, accounts.balance) WHERE accounts.id = account.id
                RETURNING accounts.balance INTO balance;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$
"""

# As migrations 0003 and 0015 made them.
LOCK_ACCOUNTS_BEFORE = """
CREATE OR REPLACE FUNCTION lock_accounts(
    ids uuid[], owner_ids uuid[], kinds text[], currencies text[], if_open uuid[], debt_floor bigint
) RETURNS TABLE (id uuid, balance bigint) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    wanted CONSTANT uuid[] := ids || if_open;
BEGIN
    INSERT INTO accounts (id, owner_id, kind, currency, balance)
        SELECT line.*, CASE WHEN line.owner_id = '00000000-0000-0000-0000-000000000000' THEN NULL ELSE 0 END
        FROM unnest(ids, owner_ids, kinds, currencies) AS line (id, owner_id, kind, currency)
        ORDER BY line.id
        ON CONFLICT DO NOTHING;
    PERFORM FROM accounts WHERE id = ANY (wanted) AND balance IS NOT NULL ORDER BY id FOR NO KEY UPDATE;
    -- A debt beyond a limit that was lowered may stay as it is, but not grow.
    UPDATE accounts SET floor = least(debt_floor, balance)
        WHERE id = ANY (wanted) AND kind = 'debt' AND floor <> least(debt_floor, balance);
    RETURN QUERY SELECT id, balance FROM accounts WHERE id = ANY (wanted) AND balance IS NOT NULL;
END $$
"""
REVIEWED_BEFORE = """
CREATE FUNCTION work_orders_reviewed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work_order_tallies (side, owner_id, measure, number, total)
    SELECT side, owner_id,
           CASE added.status WHEN 'COMPLETED' THEN 'approved' ELSE 'rejected:' || added.rejection_category END,
           1, extract(epoch FROM added.reviewed_at - added.submitted_at)
    FROM added JOIN removed USING (id),
        LATERAL (VALUES ('platform', '00000000-0000-0000-0000-000000000000'::uuid),
                        ('advertiser', added.advertiser_id), ('booster', added.booster_id)) AS whose (side, owner_id)
    WHERE removed.status IN ('EVIDENCE_SUBMITTED', 'UNDER_REVIEW') AND added.status IN ('COMPLETED', 'REJECTED');
    RETURN NULL;
END $$
"""
TRIGGERS_BEFORE = (
    """CREATE TRIGGER tallied_after AFTER UPDATE ON work_orders
       REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION work_orders_tallied('1')""",
    """CREATE TRIGGER tallied_before AFTER UPDATE ON work_orders
       REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION work_orders_tallied('-1')""",
    """CREATE TRIGGER tallied_verdict AFTER UPDATE ON work_orders
       REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION work_orders_reviewed()""",
)


def upgrade() -> None:
    for trigger in ("tallied_after", "tallied_before", "tallied_verdict"):
        op.execute(f"DROP TRIGGER {trigger} ON work_orders")
    op.execute("DROP FUNCTION work_orders_reviewed")
    for statement in (RETALLIED, TALLIED_CHANGED, LOCK_ACCOUNTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION work_orders_retallied CASCADE")
    for statement in (REVIEWED_BEFORE, *TRIGGERS_BEFORE, LOCK_ACCOUNTS_BEFORE):
        op.execute(statement)

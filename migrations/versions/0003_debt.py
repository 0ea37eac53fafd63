"""Debts: what an owner owes is an account beside the wallet, so that a wallet's floor of zero stays absolute."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KINDS = ("wallet", "escrow", "fees", "commission", "clearing", "adjustment")

CHECKS = {
    "accounts_floor": "kind = 'debt' OR balance >= floor",
    "accounts_floor_not_negative": "kind = 'debt' OR floor >= 0",
    "accounts_debt_limit": "kind <> 'debt' OR balance >= floor",
    "accounts_debt_owed": "kind <> 'debt' OR balance <= 0",
}

# Two steps in one round trip, and in this order: whoever posts opens accounts first and locks them afterwards, each in
# the order of ids, so whoever locks before posting has to do the same. VOLATILE, so that each step sees what was
# committed while the step before it waited.
LOCK_ACCOUNTS = """
CREATE FUNCTION lock_accounts(
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


def set_kinds(*kinds: str) -> None:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.drop_constraint(op.f("accounts_kind_known"), "accounts")
    op.create_check_constraint(op.f("accounts_kind_known"), "accounts", f"kind IN ({listed})")


def upgrade() -> None:
    set_kinds(*KINDS[:2], "debt", *KINDS[2:])
    op.drop_constraint(op.f("accounts_floor"), "accounts")
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(name), "accounts", condition)
    op.execute(LOCK_ACCOUNTS)


def downgrade() -> None:
    """Refused, by the constraint on kinds, where anybody has ever had a debt."""
    op.execute("DROP FUNCTION lock_accounts")
    for name in CHECKS:
        op.drop_constraint(op.f(name), "accounts")
    op.create_check_constraint(op.f("accounts_floor"), "accounts", "balance >= floor")
    set_kinds(*KINDS)

"""How the price of a work order is divided, who overrode it, and what its statistics are made of."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

CHECKS = {
    "rejection_category_known": "rejection_category IN ('unclear_evidence', 'incomplete_work', 'wrong_result', 'suspected_fraud', 'other')",
    "commission_known": "commission_basis_points BETWEEN 0 AND 10000 AND commission_minor BETWEEN 0 AND price_minor",
    "overridden_by_another": "overridden_by <> booster_id AND overridden_by <> buyer_id",
    "has_booster": "status IN ('PENDING', 'CANCELLED') OR booster_id IS NOT NULL",
    "divided_when_closed": "(status IN ('COMPLETED', 'CANCELLED')) = (earned_minor IS NOT NULL)"
    " AND (earned_minor IS NULL) = (refunded_minor IS NULL)",
    "divided_within_price": "earned_minor >= 0 AND refunded_minor >= 0 AND earned_minor + refunded_minor <= price_minor",
}
BEFORE = {
    "commission_known": "commission_basis_points BETWEEN 0 AND 10000",
    "has_booster": "status IN ('PENDING', 'CANCELLED', 'DISPUTED', 'COMPLETED') OR booster_id IS NOT NULL",
    "earned_within_price": "earned_minor BETWEEN 0 AND price_minor",
}
COLUMNS = ("commission_minor", "rejection_category", "overridden_by", "override_reason", "refunded_minor")

# What each order of `changed` adds to the tallies of the platform, its advertiser and its booster, times the sign.
TALLIED = """
CREATE FUNCTION work_orders_tallied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work_order_tallies (side, owner_id, measure, number, total)
    SELECT side, owner_id, measure, TG_ARGV[0]::integer * sum(number), TG_ARGV[0]::integer * sum(total)
    FROM changed,
        LATERAL (VALUES ('platform', '00000000-0000-0000-0000-000000000000'::uuid),
                        ('advertiser', advertiser_id), ('booster', booster_id)) AS whose (side, owner_id),
        LATERAL (VALUES ('status:' || status, 1, 0),
                        ('completed', (num_nulls(started_at, completed_at) = 0)::integer,
                         extract(epoch FROM completed_at - started_at)),
                        ('earned:' || currency, (earned_minor > 0)::integer, earned_minor),
                        ('rated', num_nonnulls(rating), rating)) AS what (measure, number, total)
    WHERE owner_id IS NOT NULL AND number > 0
    GROUP BY side, owner_id, measure;
    RETURN NULL;
END $$
"""

# A verdict is no property of the order, of which it may have several, but of the step.
REVIEWED = """
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

TRIGGERS = (
    """CREATE TRIGGER tallied_made AFTER INSERT ON work_orders
       REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION work_orders_tallied('1')""",
    """CREATE TRIGGER tallied_after AFTER UPDATE ON work_orders
       REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION work_orders_tallied('1')""",
    """CREATE TRIGGER tallied_before AFTER UPDATE ON work_orders
       REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION work_orders_tallied('-1')""",
    """CREATE TRIGGER tallied_verdict AFTER UPDATE ON work_orders
       REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION work_orders_reviewed()""",
    "CREATE TRIGGER kept_for_ever BEFORE DELETE OR TRUNCATE ON work_orders EXECUTE FUNCTION append_only()",
)

LISTS = {"buyer_id_status": ("buyer_id", "status", "id"), "advertiser_id_id": ("advertiser_id", "id")}
LISTS_WHERE_GIVEN = {"booster_id_id": ("booster_id", "id"), "team_id_id": ("team_id", "id")}


def upgrade() -> None:
    # Nobody can have bought anything before: the table is empty.
    op.add_column("work_orders", sa.Column("commission_minor", sa.BigInteger(), nullable=False))
    op.add_column("work_orders", sa.Column("rejection_category", sa.Text(), nullable=True))
    op.add_column("work_orders", sa.Column("overridden_by", sa.Uuid(), nullable=True))
    op.add_column("work_orders", sa.Column("override_reason", sa.Text(), nullable=True))
    op.add_column("work_orders", sa.Column("refunded_minor", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("work_orders_overridden_by_fkey"), "work_orders", "users", ["overridden_by"], ["id"])
    _replace_checks(BEFORE, CHECKS)
    for name, columns in LISTS.items():
        op.create_index(f"work_orders_{name}_index", "work_orders", columns, unique=False)
    for name, columns in LISTS_WHERE_GIVEN.items():
        given = sa.text(f"{columns[0]} IS NOT NULL")
        op.create_index(f"work_orders_{name}_index", "work_orders", columns, unique=False, postgresql_where=given)
    op.create_table(
        "work_order_tallies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.Column("is_merged", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint("side IN ('platform', 'advertiser', 'booster')", name=op.f("work_order_tallies_side_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("work_order_tallies_pkey")),
    )
    op.create_index(
        "work_order_tallies_owner_index",
        "work_order_tallies",
        ["side", "owner_id", "measure"],
        unique=False,
        postgresql_include=["number", "total"],
    )
    op.create_index(
        "work_order_tallies_fresh_index",
        "work_order_tallies",
        ["id"],
        unique=False,
        postgresql_where=sa.text("NOT is_merged"),
    )
    for statement in (TALLIED, REVIEWED, *TRIGGERS):
        op.execute(statement)
    # Rows come and go all the time.
    op.execute("ALTER TABLE work_order_tallies SET (autovacuum_vacuum_scale_factor = 0.05)")


def downgrade() -> None:
    op.execute("DROP TRIGGER kept_for_ever ON work_orders")
    for function in ("work_orders_tallied", "work_orders_reviewed"):
        op.execute(f"DROP FUNCTION {function} CASCADE")
    op.drop_table("work_order_tallies")
    for name in (*LISTS, *LISTS_WHERE_GIVEN):
        op.drop_index(f"work_orders_{name}_index", table_name="work_orders")
    _replace_checks(CHECKS, BEFORE)
    for column in COLUMNS:
        op.drop_column("work_orders", column)


def _replace_checks(old: dict[str, str], new: dict[str, str]) -> None:
    for name in old:
        op.drop_constraint(op.f(f"work_orders_{name}"), "work_orders", type_="check")
    for name, condition in new.items():
        op.create_check_constraint(op.f(f"work_orders_{name}"), "work_orders", condition)

"""A transition of a work order adds one row to what its statistics are made of, not fifteen."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# What an order counts as while it is as it is. A plain query, so that PostgreSQL takes it into the ones that ask it.
MEASURES = """
CREATE FUNCTION work_order_measures(
    status text, started_at timestamptz, completed_at timestamptz, currency text, earned_minor bigint, rating integer
) RETURNS TABLE (measure text, number bigint, total numeric) LANGUAGE sql IMMUTABLE AS $$
    SELECT measure, number, total
    FROM (VALUES ('status:' || status, 1, 0),
                 ('completed', (num_nulls(started_at, completed_at) = 0)::integer,
                  extract(epoch FROM completed_at - started_at)),
                 ('earned:' || currency, (earned_minor > 0)::integer, earned_minor),
                 ('rated', num_nonnulls(rating), rating)) AS what (measure, number, total)
    WHERE number > 0
$$
"""

TALLIED = """
CREATE OR REPLACE FUNCTION work_orders_tallied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work_order_tally_changes (advertiser_id, booster_id, measures, numbers, totals)
    SELECT advertiser_id, booster_id, array_agg(measure), array_agg(number), array_agg(total)
    FROM (
        SELECT advertiser_id, booster_id, measure, sum(number) AS number, sum(total) AS total
        FROM added, work_order_measures(status, started_at, completed_at, currency, earned_minor, rating)
        GROUP BY advertiser_id, booster_id, measure
    ) AS changed
    GROUP BY advertiser_id, booster_id;
    RETURN NULL;
END $$
"""

# What a statement made of the orders that it changed, less what they were before; what came out even is left out. A
# verdict is no property of the order, of which it may have several, but of the step.
RETALLIED = """
CREATE OR REPLACE FUNCTION work_orders_retallied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work_order_tally_changes (advertiser_id, booster_id, measures, numbers, totals)
    SELECT advertiser_id, booster_id, array_agg(measure), array_agg(number), array_agg(total)
    FROM (
        SELECT advertiser_id, booster_id, measure, sum(number) AS number, sum(total) AS total
        FROM (
            SELECT advertiser_id, booster_id, measure, sign * number AS number, sign * total AS total
            FROM (SELECT 1 AS sign, added.* FROM added UNION ALL SELECT -1, removed.* FROM removed) AS changed,
                work_order_measures(status, started_at, completed_at, currency, earned_minor, rating)
            UNION ALL
            SELECT added.advertiser_id, added.booster_id,
                   CASE added.status WHEN 'COMPLETED' THEN 'approved' ELSE 'rejected:' || added.rejection_category END,
                   1, extract(epoch FROM added.reviewed_at - added.submitted_at)
            FROM added JOIN removed USING (id)
            WHERE removed.status IN ('EVIDENCE_SUBMITTED', 'UNDER_REVIEW') AND added.status IN ('COMPLETED', 'REJECTED')
        ) AS line
        GROUP BY advertiser_id, booster_id, measure
        HAVING sum(number) <> 0 OR sum(total) <> 0
    ) AS changed
    GROUP BY advertiser_id, booster_id;
    RETURN NULL;
END $$
"""

TALLIED_MADE = """
CREATE TRIGGER tallied_made AFTER INSERT ON work_orders
REFERENCING NEW TABLE AS {rows} FOR EACH STATEMENT EXECUTE FUNCTION work_orders_tallied({sign})
"""

# As migrations 0015 and 0018 made them.
TALLIED_BEFORE = """
CREATE OR REPLACE FUNCTION work_orders_tallied() RETURNS trigger LANGUAGE plpgsql AS $$
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
RETALLIED_BEFORE = """
CREATE OR REPLACE FUNCTION work_orders_retallied() RETURNS trigger LANGUAGE plpgsql AS $$
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

# One row for each tally, of as many as there are.
SUMMED = """
INSERT INTO work_order_tallies (side, owner_id, measure, number, total)
SELECT side, owner_id, measure, sum(number), sum(total) FROM tallies_before GROUP BY side, owner_id, measure
"""
FLATTENED = """
INSERT INTO work_order_tallies (side, owner_id, measure, number, total, is_merged)
SELECT side, owner_id, measure, number, total, true FROM tallies_before
UNION ALL
SELECT side, owner_id, measure, number, total, false
FROM work_order_tally_changes,
    LATERAL (VALUES ('platform', '00000000-0000-0000-0000-000000000000'::uuid),
                    ('advertiser', advertiser_id), ('booster', booster_id)) AS whose (side, owner_id),
    LATERAL unnest(measures, numbers, totals) AS line (measure, number, total)
WHERE owner_id IS NOT NULL
"""


def upgrade() -> None:
    _put_aside()
    op.create_table(
        "work_order_tallies",
        *_tally(),
        sa.CheckConstraint("side IN ('platform', 'advertiser', 'booster')", name=op.f("work_order_tallies_side_known")),
        sa.PrimaryKeyConstraint("side", "owner_id", "measure", name=op.f("work_order_tallies_pkey")),
    )
    op.create_table(
        "work_order_tally_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("advertiser_id", sa.Uuid(), nullable=False),
        sa.Column("booster_id", sa.Uuid(), nullable=True),
        sa.Column("measures", ARRAY(sa.Text()), nullable=False),
        sa.Column("numbers", ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("totals", ARRAY(sa.Numeric()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("work_order_tally_changes_pkey")),
    )
    op.create_index("work_order_tally_changes_advertiser_id_index", "work_order_tally_changes", ["advertiser_id"])
    op.create_index(
        "work_order_tally_changes_booster_id_index",
        "work_order_tally_changes",
        ["booster_id"],
        postgresql_where=sa.text("booster_id IS NOT NULL"),
    )
    op.execute(SUMMED)
    # Tallies are added to in place; changes come and go all the time.
    op.execute("ALTER TABLE work_order_tallies SET (fillfactor = 70)")
    op.execute("ALTER TABLE work_order_tally_changes SET (autovacuum_vacuum_scale_factor = 0.05)")
    for statement in (MEASURES, TALLIED, RETALLIED, TALLIED_MADE.format(rows="added", sign="")):
        op.execute(statement)


def downgrade() -> None:
    _put_aside()
    op.create_table(
        "work_order_tallies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *_tally(),
        sa.Column("is_merged", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint("side IN ('platform', 'advertiser', 'booster')", name=op.f("work_order_tallies_side_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("work_order_tallies_pkey")),
    )
    op.execute(FLATTENED)
    op.drop_table("work_order_tally_changes")
    op.create_index(
        "work_order_tallies_owner_index",
        "work_order_tallies",
        ["side", "owner_id", "measure"],
        postgresql_include=["number", "total"],
    )
    op.create_index(
        "work_order_tallies_fresh_index", "work_order_tallies", ["id"], postgresql_where=sa.text("NOT is_merged")
    )
    op.execute("ALTER TABLE work_order_tallies SET (autovacuum_vacuum_scale_factor = 0.05)")
    for statement in (TALLIED_BEFORE, RETALLIED_BEFORE, TALLIED_MADE.format(rows="changed", sign="'1'")):
        op.execute(statement)
    op.execute("DROP FUNCTION work_order_measures")


def _put_aside() -> None:
    # Dropping the trigger locks the orders first: from here on nobody adds to the tallies that are copied.
    op.execute("DROP TRIGGER tallied_made ON work_orders")
    op.execute("CREATE TEMPORARY TABLE tallies_before ON COMMIT DROP AS TABLE work_order_tallies")
    op.drop_table("work_order_tallies")


def _tally() -> list[sa.Column[object]]:
    return [
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
    ]

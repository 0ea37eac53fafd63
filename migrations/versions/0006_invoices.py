"""Invoices, credit notes and receipts: numbered without gaps, and never changed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TRIGGERS = (
    "CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON invoices EXECUTE FUNCTION append_only()",
    # One change is allowed, once: that the PDF is there. After, because before an update generated columns are unknown.
    """CREATE TRIGGER append_only_but_pdf AFTER UPDATE ON invoices FOR EACH ROW
       WHEN (OLD.rendered_at IS NOT NULL OR (to_jsonb(OLD.*) - '{file_id,rendered_at}'::text[])
             IS DISTINCT FROM (to_jsonb(NEW.*) - '{file_id,rendered_at}'::text[]))
       EXECUTE FUNCTION append_only()""",
)
PURPOSES = "purpose IN ('proof', 'photo', 'document'{more})"


def upgrade() -> None:
    op.create_table(
        "invoice_counters",
        sa.Column("seller_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("issued_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('invoice', 'credit_note', 'receipt')", name=op.f("invoice_counters_kind_known")),
        sa.CheckConstraint('"last" >= 0', name=op.f("invoice_counters_last_not_negative")),
        sa.PrimaryKeyConstraint("seller_id", "kind", "year", name=op.f("invoice_counters_pkey")),
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("seller_id", sa.Uuid(), nullable=False),
        sa.Column("seller_name", sa.Text(), nullable=False),
        sa.Column("seller_address", sa.Text(), nullable=False),
        sa.Column("seller_tax_id", sa.Text(), nullable=False),
        sa.Column("buyer_id", sa.Uuid(), nullable=False),
        sa.Column("buyer_name", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_basis_points", sa.Integer(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("follows", sa.Integer(), sa.Computed("nullif(sequence - 1, 0)", persisted=True), nullable=True),
        sa.Column("refers_to", sa.Uuid(), nullable=True),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("rendered_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('invoice', 'credit_note', 'receipt')", name=op.f("invoices_kind_known")),
        sa.CheckConstraint("language IN ('en', 'hi')", name=op.f("invoices_language_known")),
        sa.CheckConstraint("sequence > 0", name=op.f("invoices_sequence_positive")),
        sa.CheckConstraint(
            "net_minor >= 0 AND tax_minor >= 0 AND total_minor > 0", name=op.f("invoices_amounts_not_negative")
        ),
        sa.CheckConstraint("net_minor + tax_minor = total_minor", name=op.f("invoices_adds_up")),
        sa.CheckConstraint("tax_basis_points BETWEEN 0 AND 10000", name=op.f("invoices_tax_basis_points_known")),
        sa.CheckConstraint(
            "(kind = 'credit_note') = (refers_to IS NOT NULL)", name=op.f("invoices_credit_note_refers")
        ),
        sa.CheckConstraint("(file_id IS NULL) = (rendered_at IS NULL)", name=op.f("invoices_rendered_has_file")),
        sa.PrimaryKeyConstraint("id", name=op.f("invoices_pkey")),
        sa.UniqueConstraint("seller_id", "kind", "year", "sequence", name="invoices_numbered_once"),
        sa.UniqueConstraint("seller_id", "number", name="invoices_number_once"),
        sa.UniqueConstraint("kind", "subject_type", "subject_id", name="invoices_once_for_subject"),
        sa.ForeignKeyConstraint(["buyer_id"], ["users.id"], name=op.f("invoices_buyer_id_fkey")),
        sa.ForeignKeyConstraint(["refers_to"], ["invoices.id"], name=op.f("invoices_refers_to_fkey")),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("invoices_file_id_fkey")),
        sa.ForeignKeyConstraint(
            ["seller_id", "kind", "year", "follows"],
            ["invoices.seller_id", "invoices.kind", "invoices.year", "invoices.sequence"],
            name="invoices_number_follows",
        ),
    )
    op.create_index("invoices_buyer_id_index", "invoices", ["buyer_id", "id"], unique=False)
    op.create_index("invoices_seller_id_index", "invoices", ["seller_id", "id"], unique=False)
    for trigger in TRIGGERS:
        op.execute(trigger)
    # One row, updated by every issue: in place, and without index entries.
    op.execute("ALTER TABLE invoice_counters SET (fillfactor = 50)")
    op.drop_constraint(op.f("files_purpose_known"), "files", type_="check")
    op.create_check_constraint(op.f("files_purpose_known"), "files", PURPOSES.format(more=", 'invoice', 'statement'"))


def downgrade() -> None:
    op.drop_table("invoices")
    op.drop_table("invoice_counters")
    op.execute("DELETE FROM files WHERE purpose IN ('invoice', 'statement')")
    op.drop_constraint(op.f("files_purpose_known"), "files", type_="check")
    op.create_check_constraint(op.f("files_purpose_known"), "files", PURPOSES.format(more=""))

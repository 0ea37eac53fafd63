"""Roles that are taken away or applied for anew, and the indexes behind the lists of applications and services."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATUS = "role_applications_status_known"
REJECTION = "role_applications_rejection_has_reason"
ENDING = "role_applications_ending_has_reason"
ONE = "role_applications_one_for_each_role"


def upgrade() -> None:
    op.add_column("role_applications", sa.Column("status_reason", sa.Text(), nullable=True))
    _check(STATUS, "status IN ('pending', 'approved', 'rejected', 'revoked', 'lapsed')")
    _check(REJECTION, "status <> 'rejected' OR rejection_reason IS NOT NULL")
    op.create_check_constraint(
        op.f(ENDING), "role_applications", "status NOT IN ('revoked', 'lapsed') OR status_reason IS NOT NULL"
    )
    _one("status <> 'lapsed'")
    op.create_index("role_applications_role_index", "role_applications", ["role", "status", "id"], unique=False)
    words = sa.Computed("to_tsvector('simple'::regconfig, (title || ' '::text) || description)", persisted=True)
    op.add_column("advertised_services", sa.Column("words", postgresql.TSVECTOR(), words, nullable=True))
    _on_sale("advertised_services_on_sale_index", ["id"])
    _on_sale("advertised_services_price_index", ["currency", "price_minor"])
    _on_sale("advertised_services_words_index", ["words"], postgresql_using="gin")


def downgrade() -> None:
    for name in ("words", "price", "on_sale"):
        op.drop_index(f"advertised_services_{name}_index", table_name="advertised_services")
    op.drop_column("advertised_services", "words")
    op.drop_index("role_applications_role_index", table_name="role_applications")
    # What the version before does not know goes the way of a rejection; what had lapsed for another try is gone.
    op.execute("DELETE FROM role_applications WHERE status = 'lapsed'")
    op.execute(
        "UPDATE role_applications SET status = 'rejected', rejection_reason = status_reason WHERE status = 'revoked'"
    )
    _one("status IN ('pending', 'approved')")
    op.drop_constraint(op.f(ENDING), "role_applications")
    _check(REJECTION, "(status = 'rejected') = (rejection_reason IS NOT NULL)")
    _check(STATUS, "status IN ('pending', 'approved', 'rejected')")
    op.drop_column("role_applications", "status_reason")


def _check(name: str, condition: str) -> None:
    op.drop_constraint(op.f(name), "role_applications")
    op.create_check_constraint(op.f(name), "role_applications", condition)


def _one(condition: str) -> None:
    op.drop_index(ONE, table_name="role_applications")
    op.create_index(ONE, "role_applications", ["user_id", "role"], unique=True, postgresql_where=sa.text(condition))


def _on_sale(name: str, columns: list[str], **options: str) -> None:
    op.create_index(
        name,
        "advertised_services",
        columns,
        unique=False,
        postgresql_where=sa.text("status = 'ACTIVE'"),
        **options,  # type: ignore[arg-type]  # options of the dialect, by its prefix
    )

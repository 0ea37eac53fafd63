"""Direct attacks on documents with SQL: whatever the code does, the database refuses."""

from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from app.core.config import Settings
from app.core.connections import connect
from app.schemas.invoices import Invoice
from app.services.invoices import rendering
from tests.invoices.steps import issue, sale, seller
from tests.support.world import World


@pytest.fixture
async def invoice(world: World) -> Invoice:
    """The first one of its seller, not rendered."""
    return await issue(world.platform.database, seller(), sale(await world.person()), tax_basis_points=1800)


async def attack(configured: Settings, sql: str, *values: Any) -> str | None:
    """The constraint that refuses a statement which somebody sends on a connection of their own; None if none does."""
    connection = await connect(configured)
    try:
        await connection.execute(sql, *values)
    except asyncpg.IntegrityConstraintViolationError as refusal:
        name: str = refusal.constraint_name
        return name
    finally:
        await connection.close()
    return None


async def copied(configured: Settings, invoice: Invoice, changed: Mapping[str, str]) -> str | None:
    """The constraint that refuses a copy of the invoice with these columns, SQL by name, in another sequence."""
    columns = (
        "id, kind, number, seller_id, seller_name, seller_address, seller_tax_id, buyer_id, buyer_name, language, "
        "subject_type, subject_id, lines, currency, net_minor, tax_basis_points, tax_minor, total_minor, issued_at, "
        "year, sequence, refers_to, file_id, rendered_at"
    )
    fresh = {"id": "gen_random_uuid()", "subject_id": "gen_random_uuid()"}
    fresh |= {"number": "number || 'x'", "sequence": "sequence + 1"}
    given = {**fresh, **changed}
    values = ", ".join(given.get(name, name) for name in columns.split(", "))
    return await attack(
        configured, f"INSERT INTO invoices ({columns}) SELECT {values} FROM invoices WHERE id = $1", invoice.id
    )


@pytest.mark.parametrize(
    "change",
    [
        "total_minor = total_minor + 1, net_minor = net_minor + 1",
        "buyer_name = 'Somebody Else'",
        "lines = '[]'",
        "issued_at = now() - interval '1 year'",
        "sequence = 1, year = year + 1",
        "number = 'XY-2026-999999'",
        "subject_id = gen_random_uuid()",
        "refers_to = id, kind = 'credit_note'",
        "id = gen_random_uuid()",
    ],
)
async def test_nothing_that_was_issued_is_changed(configured: Settings, invoice: Invoice, change: str) -> None:
    assert await attack(configured, f"UPDATE invoices SET {change} WHERE id = $1", invoice.id) == "invoices_append_only"


async def test_nothing_is_deleted(configured: Settings, invoice: Invoice) -> None:
    assert await attack(configured, "DELETE FROM invoices WHERE id = $1", invoice.id) == "invoices_append_only"
    assert await attack(configured, "TRUNCATE invoices") == "invoices_append_only"


@pytest.mark.parametrize("change", ["rendered_at = now()", "file_id = NULL, rendered_at = NULL", "buyer_name = 'x'"])
async def test_the_pdf_is_put_in_once(configured: Settings, world: World, invoice: Invoice, change: str) -> None:
    await rendering.render(world.platform, invoice.id)
    assert await attack(configured, f"UPDATE invoices SET {change} WHERE id = $1", invoice.id) == "invoices_append_only"
    assert await attack(configured, "DELETE FROM files WHERE id = $1", invoice.id) == "invoices_file_id_fkey"


async def test_what_was_rendered_has_a_file(configured: Settings, invoice: Invoice) -> None:
    sql = "UPDATE invoices SET rendered_at = now() WHERE id = $1"
    assert await attack(configured, sql, invoice.id) == "invoices_rendered_has_file"


@pytest.mark.parametrize(
    ("changed", "constraint"),
    [
        ({"sequence": "sequence + 2"}, "invoices_number_follows"),
        ({"year": "year + 1"}, "invoices_number_follows"),
        ({"sequence": "sequence"}, "invoices_numbered_once"),
        ({"sequence": "0"}, "invoices_sequence_positive"),
        ({"number": "number"}, "invoices_number_once"),
        ({"subject_id": "subject_id"}, "invoices_once_for_subject"),
        ({"tax_minor": "tax_minor + 1"}, "invoices_adds_up"),
        ({"net_minor": "-tax_minor", "total_minor": "0"}, "invoices_amounts_not_negative"),
        ({"tax_basis_points": "10001"}, "invoices_tax_basis_points_known"),
        ({"refers_to": "id"}, "invoices_credit_note_refers"),
        ({"kind": "'credit_note'", "sequence": "1"}, "invoices_credit_note_refers"),
        ({"kind": "'bill'", "sequence": "1"}, "invoices_kind_known"),
        ({"language": "'xx'"}, "invoices_language_known"),
    ],
    ids=str,
)
async def test_a_document_that_breaks_a_rule_is_refused(
    configured: Settings, world: World, invoice: Invoice, changed: Mapping[str, str], constraint: str
) -> None:
    async with world.unchanged():
        assert await copied(configured, invoice, changed) == constraint


async def test_a_copy_that_breaks_no_rule_is_taken(configured: Settings, invoice: Invoice) -> None:
    """So that the refusals above are about what was changed."""
    assert await copied(configured, invoice, {}) is None

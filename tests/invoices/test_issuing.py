"""Issuing: numbers without gaps whatever fails, one document for each subject, tax to the last minor unit."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from fractions import Fraction
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.config import Settings
from app.core.database import Database, Session
from app.core.ids import uuid7
from app.core.money import half_even
from app.schemas.invoices import InvoiceKind, InvoiceLine
from app.services.invoices import issuing
from tests.invoices.steps import issue, sale, seller
from tests.support.world import World

ISSUERS = 200


class Changed(Exception):
    """Somebody thought better of it, after the number was taken."""


@pytest.fixture
async def database(configured: Settings) -> AsyncIterator[Database]:
    """As many connections as issuers: all of them are in a transaction at once."""
    opened = Database(configured.model_copy(update={"database_pool_size": ISSUERS}), after_commit=lambda *_: None)
    yield opened
    await opened.close()


async def test_two_hundred_issuers_leave_no_gap_and_give_no_number_twice(world: World, database: Database) -> None:
    # Given several sellers, and issuers half of whose transactions come to nothing
    buyer = await world.person()
    sellers = [seller() for _ in range(3)]
    chance = random.Random(20261121)

    async def one(by: issuing.Seller, kind: InvoiceKind, fails: bool, pause: float) -> bool:
        try:
            async with database.write() as session:
                await issuing.issue(session, kind, by, sale(buyer), tax_basis_points=1800)
                await asyncio.sleep(pause)
                if fails:
                    raise Changed()
        except Changed:
            return False
        return True

    plans = [
        (chance.choice(sellers), chance.choice([InvoiceKind.INVOICE, InvoiceKind.RECEIPT]), chance.random() < 0.5,
         chance.random() * 0.01)
        for _ in range(ISSUERS)
    ]  # fmt: skip
    # When all of them issue at once
    kept = await asyncio.gather(*(one(*plan) for plan in plans))
    # Then every seller has the numbers from 1 on, as many as were kept
    wanted: defaultdict[tuple[object, str], int] = defaultdict(int)
    for (by, kind, _, _), was_kept in zip(plans, kept, strict=True):
        wanted[by.id, kind.value] += was_kept
    assert 0 < sum(kept) < ISSUERS
    for (seller_id, word), count in wanted.items():
        rows = sorted(
            await world.rows("invoices", seller_id=seller_id, kind=word), key=lambda row: int(row["sequence"])
        )
        assert [row["sequence"] for row in rows] == list(range(1, count + 1))
        letter = "R" if word == "receipt" else ""
        assert [row["number"] for row in rows] == [f"XY{letter}-{row['year']}-{row['sequence']:06d}" for row in rows]
        assert [row["issued_at"] for row in rows] == sorted(row["issued_at"] for row in rows)
        (counter,) = await world.rows("invoice_counters", seller_id=seller_id, kind=word)
        assert counter["last"] == count


async def test_a_subject_has_one_document_however_many_issue_it_at_once(world: World, database: Database) -> None:
    buyer, by = await world.person(), seller()
    about = sale(buyer)
    found = await asyncio.gather(*(issue(database, by, about) for _ in range(50)))
    assert len({invoice.id for invoice in found}) == 1
    (row,) = await world.rows("invoices", seller_id=by.id)
    assert row["sequence"] == 1
    assert await world.told(str(row["id"])) == [("invoice.issued", {buyer.id})]
    # and the next subject gets the next number
    assert (await issue(database, by, sale(buyer))).number.endswith("-000002")


async def test_kinds_are_numbered_apart_and_a_subject_may_have_one_of_each(world: World) -> None:
    buyer, by = await world.person(), seller()
    about, database = sale(buyer), world.platform.database
    invoice = await issue(database, by, about)
    receipt = await issue(database, by, about, InvoiceKind.RECEIPT)
    year = invoice.issued_at.year
    assert (invoice.number, receipt.number) == (f"XY-{year}-000001", f"XYR-{year}-000001")


async def test_each_year_begins_anew(world: World) -> None:
    # Given a seller whose last number was given last year
    buyer, by = await world.person(), seller()
    first = await issue(world.platform.database, by, sale(buyer))
    (row,) = await world.rows("invoices", id=first.id)
    await world.execute(
        "INSERT INTO invoice_counters (seller_id, kind, year, last, issued_at) "
        "VALUES (cast(:seller_id AS uuid), 'invoice', :year, 77, now())",
        seller_id=str(by.id), year=row["year"] - 1,
    )  # fmt: skip
    # When the next one is issued, it goes on with this year's
    assert (await issue(world.platform.database, by, sale(buyer))).number == f"XY-{row['year']}-000002"


async def test_a_millionth_number_is_whole(world: World) -> None:
    """Padding does not cut."""
    buyer, by = await world.person(), seller()
    session = Session(world.platform.database)
    try:
        # Given a counter beyond the padding, in a transaction that is not held to the numbers before it
        year = await session.scalar(issuing._LOCK, seller_id=by.id, kind="invoice", zone="Asia/Kolkata")
        await session.driver_connection.execute("SET LOCAL session_replication_role = replica")
        await session.driver_connection.execute(
            "UPDATE invoice_counters SET last = 1234566 WHERE seller_id = $1", by.id
        )
        # When
        invoice = await issuing.issue(session, InvoiceKind.INVOICE, by, sale(buyer), tax_basis_points=0)
        # Then
        assert invoice.number == f"XY-{year}-1234567"
    finally:
        await session.close()


async def test_a_credit_note_takes_back_the_whole_at_the_rate_of_its_invoice(world: World) -> None:
    # Given an invoice at a rate that is not today's
    buyer, by = await world.person(), seller()
    invoice = await issue(world.platform.database, by, sale(buyer, 11_800), tax_basis_points=1800)

    # When it is credited, twice at once
    async def credit() -> object:
        async with world.platform.database.write() as session:
            return await issuing.credit(session, invoice)

    first, second = await asyncio.gather(credit(), credit())
    assert first == second
    # Then
    (row,) = await world.rows("invoices", refers_to=invoice.id)
    assert row["number"] == f"XYC-{row['year']}-000001"
    same = ("seller_name", "seller_address", "seller_tax_id", "buyer_id", "buyer_name", "language", "currency")
    assert {name: row[name] for name in same} == {name: getattr(invoice, name) for name in same}
    assert (row["net_minor"], row["tax_minor"], row["total_minor"]) == (10_000, 1800, 11_800)
    assert row["tax_basis_points"] == 1800


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [InvoiceLine(description="x", quantity=2, unit_minor=5, amount_minor=11)],
        [InvoiceLine(description="x", quantity=0, unit_minor=5, amount_minor=0)],
        [InvoiceLine(description="x", quantity=1, unit_minor=5, amount_minor=5)] * (issuing.LINES_LIMIT + 1),
    ],
    ids=["none", "wrong", "empty", "too many"],
)
async def test_lines_that_make_no_document_are_refused(world: World, lines: list[InvoiceLine]) -> None:
    buyer, by = await world.person(), seller()
    about = issuing.Sale(("thing", uuid7()), issuing.Buyer(buyer.id, "x", "en"), lines, "INR")
    async with world.unchanged():
        with pytest.raises(ValueError, match="these lines"):
            await issue(world.platform.database, by, about)


async def test_nobody_is_no_buyer(world: World) -> None:
    by = seller()
    line = InvoiceLine(description="x", quantity=1, unit_minor=5, amount_minor=5)
    about = issuing.Sale(("thing", uuid7()), issuing.Buyer(uuid4(), "x", "en"), [line], "INR")
    async with world.unchanged():
        with pytest.raises(Exception, match="invoices_buyer_id_fkey"):
            await issue(world.platform.database, by, about)


totals, rates = st.integers(1, 10**15), st.integers(0, 10_000)


@given(totals, rates)
def test_net_and_tax_are_exact_to_half_a_minor_unit_and_add_up(total_minor: int, basis_points: int) -> None:
    amounts = issuing.amounts(total_minor, basis_points)
    assert amounts["net_minor"] + amounts["tax_minor"] == amounts["total_minor"] == total_minor
    assert 0 <= amounts["tax_minor"] <= total_minor
    exact = Fraction(total_minor) * basis_points / (10_000 + basis_points)
    assert amounts["tax_minor"] == round(exact), "Python rounds fractions half-even"


@given(totals, rates)
def test_more_costs_no_less_tax(total_minor: int, basis_points: int) -> None:
    less, more = (issuing.amounts(each, basis_points) for each in (total_minor, total_minor + 1))
    assert 0 <= more["tax_minor"] - less["tax_minor"] <= 1


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**10))
def test_half_even_rounds_as_fractions_do(numerator: int, denominator: int) -> None:
    assert half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(("numerator", "rounded"), [(1, 0), (3, 2), (5, 2), (7, 4), (-1, 0), (-3, -2)])
def test_half_way_goes_to_the_even_one(numerator: int, rounded: int) -> None:
    assert half_even(numerator, 2) == rounded

"""Statements of a period: every movement with its running balance, and no cell that a spreadsheet would run."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.core.money import decimal
from app.kernel import ledger
from app.kernel.ledger import AccountKind, Posting
from app.services.wallets.statements import statement_rows
from tests.support.world import Person, World

EXPORT = "/api/v1/wallet/entries.csv"
ENTRIES = "/api/v1/wallet/entries"
LONG_AGO = datetime.now(UTC) - timedelta(days=300)


async def top_up(world: World, person: Person, amount: int, reason: str = "cash", currency: str = "INR") -> None:
    body = {"amount_minor": amount, "reason": reason, "currency": currency}
    answer = await world.admin.post(f"/api/v1/admin/users/{person.id}/top-ups", body)
    assert answer.status_code == 201, answer.text


async def spend(world: World, person: Person, amount: int) -> None:
    async with world.platform.database.write() as session:
        fees = ledger.platform(AccountKind.FEES, "INR")
        await ledger.transfer(session, "a_fee", ledger.wallet(person.id, "INR"), fees, amount)


async def export(person: Person, since: datetime = LONG_AGO, **params: Any) -> Any:
    return await person.get(EXPORT, params={"from": since.isoformat()} | params)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def moments(person: Person) -> list[datetime]:
    """When the wallet's movements were made, oldest first."""
    items = (await person.get(ENTRIES, params={"limit": 100})).json()["items"]
    return [datetime.fromisoformat(item["created_at"]) for item in reversed(items)]


async def test_each_movement_is_a_line_with_the_balance_that_it_led_to(world: World) -> None:
    # Given money that came, went and came
    person = await world.person()
    await top_up(world, person, 100_05, "cash at the desk")
    await spend(world, person, 50_00)
    await top_up(world, person, 7)
    # When the statement is exported
    answer = await export(person)
    # Then it is a file of comma-separated values
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="statement-INR.csv"'
    first, *_ = answer.text.split("\r\n")
    assert first == "time,kind,subject_type,subject_id,reason,amount_minor,amount,balance_minor,balance"
    # And tells what happened, the oldest first
    rows = read(answer.text)
    assert [(row["kind"], row["amount_minor"], row["amount"], row["balance"]) for row in rows] == [
        ("top_up_by_admin", "10005", "100.05", "100.05"),
        ("a_fee", "-5000", "-50.00", "50.05"),
        ("top_up_by_admin", "7", "0.07", "50.12"),
    ]
    assert (rows[0]["subject_type"], rows[0]["subject_id"]) == ("user", str(person.id))
    assert rows[0]["reason"] == "cash at the desk"
    assert [datetime.fromisoformat(row["time"]) for row in rows] == await moments(person)
    assert int(rows[-1]["balance_minor"]) == await world.balance(person)


async def test_a_period_begins_with_what_was_there_before(world: World) -> None:
    # Given three movements
    person = await world.person()
    for amount in (100, 20, 3):
        await top_up(world, person, amount)
    _, second, third = await moments(person)
    # When the middle one is asked for: `from` is part of the period, `to` is not
    (row,) = read((await export(person, second, to=third.isoformat())).text)
    assert (row["amount_minor"], row["balance_minor"]) == ("20", "120")
    # And the same goes for the list
    params = {"from": second.isoformat(), "to": third.isoformat()}
    (item,) = (await person.get(ENTRIES, params=params)).json()["items"]
    assert item["amount_minor"] == 20


async def test_the_list_can_be_narrowed_down_to_a_kind(world: World) -> None:
    person = await world.person()
    await top_up(world, person, 100)
    await spend(world, person, 30)
    (item,) = (await person.get(ENTRIES, params={"kind": "a_fee"})).json()["items"]
    assert item["amount_minor"] == -30
    assert (await person.get(ENTRIES, params={"kind": "unheard_of"})).json()["items"] == []


async def test_a_long_statement_comes_whole(world: World) -> None:
    # Given more movements than are read at once, and as many as fill two readings exactly
    person, other = await world.person(), await world.person()
    for owner, count in ((person, 1203), (other, 1000)):
        lines = [Posting(ledger.wallet(owner.id, "INR"), number) for number in range(1, count + 1)]
        total = sum(line.amount for line in lines)
        async with world.platform.database.write() as session:
            away = Posting(ledger.platform(AccountKind.CLEARING, "INR"), -total)
            await ledger.post(session, "many", [*lines, away])
        # When it is exported
        rows = read((await export(owner)).text)
        # Then each movement came once, in order
        assert [int(row["amount_minor"]) for row in rows] == list(range(1, count + 1))
        assert int(rows[-1]["balance_minor"]) == total == await world.balance(owner)
    await world.books_are_clean()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
async def test_no_cell_is_a_formula(world: World, start: str) -> None:
    person = await world.person()
    reason = f'{start}HYPERLINK("http://evil.example","click")'
    await top_up(world, person, 5, reason)
    (row,) = read((await export(person)).text)
    assert row["reason"] == f"'{reason}"


@pytest.mark.parametrize(
    "reason", ['a "quoted" word', "one, two", "first\nsecond", "first\r\nsecond", "नकद जमा", "a=b"]
)
async def test_text_comes_through_as_it_was(world: World, reason: str) -> None:
    person = await world.person()
    await top_up(world, person, 5, reason)
    answer = await export(person)
    (row,) = read(answer.text)
    assert row["reason"] == reason
    assert answer.text.endswith("\r\n")


async def test_a_wallet_in_which_nothing_moved_is_a_header(world: World) -> None:
    assert (await export(await world.person())).text.count("\r\n") == 1


async def test_a_statement_is_of_one_currency_and_of_its_owner(world: World) -> None:
    person, other = await world.person(), await world.person()
    await top_up(world, person, 100)
    await top_up(world, person, 7, currency="GOLD")
    await top_up(world, other, 900)
    (row,) = read((await export(person, currency="GOLD")).text)
    assert row["amount_minor"] == "7"
    assert [row["amount_minor"] for row in read((await export(person)).text)] == ["100"]
    assert (await world.http.get(EXPORT, params={"from": LONG_AGO.isoformat()})).status_code == 401


@pytest.mark.parametrize(
    ("since", "until", "status"),
    [
        ("2025-01-01T00:00:00Z", "2026-01-02T00:00:00Z", 200),  # 366 days
        ("2025-01-01T00:00:00Z", "2026-01-02T00:00:01Z", 422),
        ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z", 422),
        ("2025-01-02T00:00:00Z", "2025-01-01T00:00:00Z", 422),
        ("0001-01-01T00:00:00Z", "0001-06-01T00:00:00Z", 200),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 422),
        ("9999-01-01T00:00:00Z", None, 422),
        ("2025-01-01T00:00:00", "2025-02-01T00:00:00Z", 422),
        ("yesterday", None, 422),
        ("", None, 422),
        (None, None, 422),
        ("2026-01-01T00:00:00Z", "'; --", 422),
    ],
)
async def test_a_period_is_a_year_at_most(world: World, since: str | None, until: str | None, status: int) -> None:
    params = {name: value for name, value in (("from", since), ("to", until)) if value is not None}
    answer = await world.admin.get(EXPORT, params=params)
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["code"] in {"invalid_period", "validation_failed"}


@pytest.mark.parametrize(
    "params", [{"currency": "rupees"}, {"currency": "=1+1"}, {"until": "2026-01-01T00:00:00Z"}, {"limit": 5}], ids=str
)
async def test_an_export_that_is_asked_for_wrongly_is_a_422(world: World, params: dict[str, Any]) -> None:
    assert (await export(world.admin, **params)).status_code == 422


@pytest.mark.parametrize(
    "params", [{"from": "yesterday"}, {"to": "2026-01-01"}, {"kind": ""}, {"kind": "x" * 65}, {"since": "x"}], ids=str
)
async def test_a_list_that_is_narrowed_wrongly_is_a_422(world: World, params: dict[str, Any]) -> None:
    assert (await world.admin.get(ENTRIES, params=params)).status_code == 422


async def test_a_statement_of_nobody_is_empty(world: World) -> None:
    async with world.platform.database.read() as session:
        rows = statement_rows(session, uuid4(), "INR", LONG_AGO, datetime.now(UTC))
        assert [row async for row in rows] == []


@pytest.mark.parametrize(
    ("minor", "text"), [(0, "0.00"), (7, "0.07"), (-7, "-0.07"), (-105, "-1.05"), (10**17 + 1, "1000000000000000.01")]
)
def test_minor_units_are_written_as_decimals(minor: int, text: str) -> None:
    assert decimal(minor) == text

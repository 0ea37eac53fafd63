"""Wallets as their owners see them: balances, statements, and top-ups by an admin."""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from app.kernel import escrow, ledger
from app.kernel.ledger import AccountKind, Posting
from app.models.users import Role
from tests.support.world import Person, World

ENTRIES = "/api/v1/wallet/entries"


async def top_up(
    world: World, person: Person, amount: Any = 100, currency: str = "INR", by: Person | None = None
) -> Any:
    body = {"amount_minor": amount, "currency": currency, "reason": "cash at the desk"}
    return await (by or world.admin).post(f"/api/v1/admin/users/{person.id}/top-ups", body)


async def statement(person: Person, limit: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await person.get(ENTRIES, params={"limit": limit} | cursor)).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


async def test_an_empty_wallet_holds_zero(world: World) -> None:
    person = await world.person()
    assert (await person.get("/api/v1/wallet")).json() == {
        "balances": [{"currency": "INR", "balance_minor": 0, "owed_minor": 0}]
    }
    assert (await person.get(ENTRIES)).json() == {"items": [], "next_cursor": None}


async def test_a_top_up_is_on_the_statement_with_its_reason(world: World) -> None:
    person = await world.person()
    answer = await top_up(world, person, 12_345)
    assert answer.status_code == 201
    assert answer.json() == {"balances": [{"currency": "INR", "balance_minor": 12_345, "owed_minor": 0}]}
    (item,) = await statement(person, 10)
    assert (item["amount_minor"], item["kind"], item["reason"]) == (12_345, "top_up_by_admin", "cash at the desk")
    (entry,) = await world.rows("entries", subject_id=person.id)
    assert entry["actor_id"] == world.admin.id
    await world.books_are_clean()


async def test_house_currencies_are_currencies(world: World) -> None:
    person = await world.person()
    await top_up(world, person, 100)
    await top_up(world, person, 7, "GOLD")
    assert (await person.get("/api/v1/wallet")).json()["balances"] == [
        {"currency": "GOLD", "balance_minor": 7, "owed_minor": 0},
        {"currency": "INR", "balance_minor": 100, "owed_minor": 0},
    ]


@pytest.mark.parametrize("role", [None, Role.PROVIDER, Role.SUPPORT, Role.MANAGER])
async def test_only_admins_top_up(world: World, role: Role | None) -> None:
    person = await world.person(*([role] if role else []))
    async with world.unchanged():
        answer = await top_up(world, person, by=person)
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


@pytest.mark.parametrize("amount", [0, -5, 1.5, "100", True, None, 10**30, 10_000_000_00 + 1])
async def test_an_amount_that_is_none_or_too_much_is_refused(world: World, amount: Any) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await top_up(world, person, amount)).status_code == 422


@pytest.mark.parametrize("currency", ["inr", "", "₹", "X" * 9, "IN R"])
async def test_a_currency_that_is_none_is_refused(world: World, currency: str) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await top_up(world, person, 5, currency)).status_code == 422


async def test_nobody_is_not_topped_up(world: World) -> None:
    """Neither an unknown account nor the platform itself."""
    for user_id in (uuid4(), "00000000-0000-0000-0000-000000000000"):
        async with world.unchanged():
            answer = await world.admin.post(
                f"/api/v1/admin/users/{user_id}/top-ups", {"amount_minor": 5, "reason": "x"}
            )
        assert answer.status_code == 404


async def test_many_top_ups_at_once_lose_nothing(world: World) -> None:
    person = await world.person()
    answers = await asyncio.gather(*(top_up(world, person, 3) for _ in range(40)))
    assert Counter(answer.status_code for answer in answers) == {201: 40}
    assert await world.balance(person) == 120
    assert len(await statement(person, 100)) == 40


async def test_the_statement_is_the_owners_alone(world: World) -> None:
    person, other = await world.person(), await world.person()
    await top_up(world, person)
    assert await statement(other, 10) == []
    assert (await world.http.get(ENTRIES)).status_code == 401


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_the_statement_pages_through_every_movement_once(world: World, limit: int) -> None:
    # Given an account whose entries move one wallet twice, or two of its wallets at once
    person = await world.person()
    rupees, gold = ledger.wallet(person.id, "INR"), ledger.wallet(person.id, "GOLD")
    clearing = {name: ledger.platform(AccountKind.CLEARING, name) for name in ("INR", "GOLD")}
    async with world.platform.database.write() as session:
        for number in range(1, 4):
            await ledger.post(
                session, "exchange",
                [
                    Posting(rupees, 100 + number), Posting(rupees, 200 + number), Posting(gold, number),
                    Posting(clearing["INR"], -300 - 2 * number), Posting(clearing["GOLD"], -number),
                ],
            )  # fmt: skip
    # When the statement is read page by page, while more money comes in
    first = (await person.get(ENTRIES, params={"limit": limit})).json()
    await top_up(world, person, 999)
    rest = await person.get(ENTRIES, params={"limit": 100, "cursor": first["next_cursor"]})
    seen = [(item["currency"], item["amount_minor"]) for item in first["items"] + rest.json()["items"]]
    # Then each movement came once, the newest entry's first, and none that came later
    assert Counter(seen) == Counter(
        pair for number in range(1, 4) for pair in (("INR", 100 + number), ("INR", 200 + number), ("GOLD", number))
    )
    assert {amount % 100 for _, amount in seen[:3]} == {3}
    assert len(await statement(person, limit)) == 10
    assert sum(item["amount_minor"] for item in await statement(person, 100) if item["currency"] == "INR") == (
        await balance_in(person, "INR")
    )


async def balance_in(person: Person, currency: str) -> int:
    balances = (await person.get("/api/v1/wallet")).json()["balances"]
    return next(int(each["balance_minor"]) for each in balances if each["currency"] == currency)


@pytest.mark.parametrize("cursor", ["%%%", "AAAA", "A" * 22 + "A" * 43])
async def test_a_cursor_of_somewhere_else_is_refused(world: World, cursor: str) -> None:
    assert (await world.admin.get(ENTRIES, params={"cursor": cursor})).status_code == 422


async def test_a_wallet_shows_what_its_owner_owes(world: World) -> None:
    # Given somebody with a commission to pay
    person = await world.provider(funds_minor=100_00)
    async with world.platform.database.write() as session:
        await escrow.charge_commission(session, ("job", uuid4()), person.id, 30_00, "INR")
    # Then it stands beside what the wallet holds, which is whole
    answer = await person.get("/api/v1/wallet")
    assert answer.json()["balances"] == [{"currency": "INR", "balance_minor": 100_00, "owed_minor": 30_00}]

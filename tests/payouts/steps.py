"""Steps that tests of payouts share: bank accounts over HTTP, profiles and payouts in every status."""

import itertools
import secrets
from typing import Any
from uuid import UUID

import httpx

from app.models.payouts import PayoutProfileStatus as ProfileStatus
from app.models.payouts import PayoutStatus
from app.models.users import Role
from tests.support.world import Person, World

PROFILE = "/api/v1/me/payout-profile"
PAYOUTS = "/api/v1/payouts"
REASON = {"reason": "the name does not fit"}
FUNDS = 1_000_00

_numbers = itertools.count(secrets.randbelow(10**9))


def bank_account(**changed: Any) -> dict[str, Any]:
    """What somebody hands in; no two have the same number."""
    number = f"{314159:06d}{next(_numbers):010d}"
    return {"holder_name": "Sanjay Jadhav", "ifsc": "HDFC0001234", "account_number": number} | changed


async def hand_in(person: Person, account: dict[str, Any] | None = None) -> httpx.Response:
    return await person.call("PUT", PROFILE, json=account or bank_account())


async def decide(reviewer: Person, owner: Person, action: str) -> httpx.Response:
    """A reviewer's decision about the bank account as it is now."""
    profile = (await owner.get(PROFILE)).json()
    body = {"revision": max(profile["revision"], 1)} if action == "verify" else REASON
    return await reviewer.post(f"/api/v1/admin/payout-profiles/{owner.id}/{action}", body)


async def succeed(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def somebody(world: World, *roles: Role, funds_minor: int = FUNDS) -> Person:
    """An account with money in the wallet."""
    person = await world.person(*roles)
    if funds_minor:
        body = {"amount_minor": funds_minor, "reason": "for the test"}
        await succeed(await world.admin.post(f"/api/v1/admin/users/{person.id}/top-ups", body))
    return person


async def with_profile(
    world: World, status: ProfileStatus = ProfileStatus.VERIFIED, *roles: Role, funds_minor: int = FUNDS
) -> Person:
    """An account with money, and a profile that came into this status the way it usually does."""
    person = await somebody(world, *roles, funds_minor=funds_minor)
    await succeed(await hand_in(person))
    match status:
        case ProfileStatus.VERIFIED:
            await succeed(await decide(world.admin, person, "verify"))
        case ProfileStatus.REJECTED:
            await succeed(await decide(world.admin, person, "reject"))
        case ProfileStatus.RESTRICTED:
            await succeed(await decide(world.admin, person, "verify"))
            await succeed(await decide(world.admin, person, "restrict"))
    return person


async def request(person: Person, amount_minor: Any = None, **options: Any) -> httpx.Response:
    """Ask for a payout, of everything if no amount is named."""
    return await person.post(PAYOUTS, {} if amount_minor is None else {"amount_minor": amount_minor}, **options)


async def review(reviewer: Person, payout_id: str, action: str, **options: Any) -> httpx.Response:
    body = {"reference": "UTR-2026/001"} if action == "send" else REASON
    return await reviewer.post(f"/api/v1/admin/payouts/{payout_id}/{action}", body, **options)


async def payout_of(world: World, owner: Person, status: PayoutStatus) -> str:
    """A payout of all the owner's money, in this status; its id."""
    payout_id = str((await succeed(await request(owner)))["id"])
    match status:
        case PayoutStatus.SENT:
            await succeed(await review(world.admin, payout_id, "send"))
        case PayoutStatus.FAILED:
            await succeed(await review(world.admin, payout_id, "fail"))
    return payout_id


async def escrow_of(world: World, payout_id: str) -> int:
    """What is left in the payout's escrow, in minor units."""
    (account,) = await world.rows("accounts", owner_id=UUID(payout_id))
    return int(account["balance"])


async def entries_of(world: World, payout_id: str) -> list[str]:
    """The kinds of the ledger's entries about the payout, oldest first."""
    return [entry["kind"] for entry in await world.rows("entries", subject_id=UUID(payout_id))]


async def make_due(world: World, owner: Person) -> None:
    """The day of the owner's schedule has come."""
    moved = await world.execute(
        "UPDATE deadlines SET due_at = now() - interval '1 second' WHERE subject_id = cast(:id AS uuid)",
        id=str(owner.id),
    )
    assert moved == 1

"""Bank accounts: what they may be, who hears of them, and that no number is readable where it is stored."""

import asyncio
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from pydantic import SecretStr

from app.core.actor import Actor
from app.core.config import settings
from app.core.errors import TooManyRequests
from app.core.security import Seals, Unsealable
from app.kernel import sealed_columns
from app.kernel.platform import Platform
from app.models.payouts import PayoutProfileStatus as Status
from app.schemas.payouts import BankAccount
from app.services.payouts import profiles
from tests.payouts.steps import PROFILE, REASON, bank_account, decide, hand_in, succeed, with_profile
from tests.support.world import World

NEW = SecretStr("the key of next year, long enough for anything")


async def test_whoever_handed_in_nothing_is_in_the_state_none(world: World) -> None:
    person = await world.person()
    assert (await person.get(PROFILE)).json() == {
        "status": "none", "reason": None, "holder_name": None, "ifsc": None, "account_last4": None, "currency": "INR",
        "revision": 0, "schedule": "none", "next_payout_at": None, "updated_at": None,
    }  # fmt: skip


async def test_a_bank_account_waits_to_be_verified_and_admins_hear_of_it(world: World) -> None:
    # When somebody hands in a bank account
    person = await world.person()
    account = bank_account(holder_name="  Asha Kulkarni ")
    answer = await hand_in(person, account)
    # Then it is pending, and shows four digits
    profile = answer.json()
    assert answer.status_code == 200
    assert (profile["status"], profile["holder_name"], profile["ifsc"]) == ("pending", "Asha Kulkarni", "HDFC0001234")
    assert profile["account_last4"] == account["account_number"][-4:]
    assert account["account_number"] not in answer.text
    # And the admins hear of it, not the owner
    (*_, (name, heard)) = await world.told(str(person.id))
    assert name == "payout_profile.submitted"
    assert world.admin.id in heard
    assert person.id not in heard
    # And it is in the queue, with whose it is
    queue = (await world.support.get("/api/v1/admin/payout-profiles", params={"limit": 1})).json()["items"]
    assert (queue[0]["user_id"], queue[0]["user_name"]) == (str(person.id), "Some Body")


@pytest.mark.parametrize(
    ("action", "event"),
    [("verify", "verified"), ("reject", "rejected"), ("restrict", "restricted")],
)
async def test_the_owner_hears_of_a_decision_with_its_reason(world: World, action: str, event: str) -> None:
    owner = await with_profile(world, Status.PENDING, funds_minor=0)
    await succeed(await decide(world.admin, owner, action))
    assert (await world.told(str(owner.id)))[-1] == (f"payout_profile.{event}", {owner.id})
    feed = (await owner.get("/api/v1/notifications")).json()["items"]
    reason = None if action == "verify" else REASON["reason"]
    assert feed[0]["event"].get("reason") == reason
    assert (await owner.get(PROFILE)).json()["reason"] == reason
    (*_, last) = await world.trail(str(owner.id))
    assert (last["action"], last["actor_id"], last["reason"]) == (action, world.admin.id, reason)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("changed", ["holder_name", "ifsc", "account_number"])
async def test_other_bank_data_has_to_be_verified_anew(world: World, status: Status, changed: str) -> None:
    # Given a profile in each status
    account = bank_account()
    owner = await world.person()
    await succeed(await hand_in(owner, account))
    decisions = {Status.PENDING: [], Status.VERIFIED: ["verify"], Status.REJECTED: ["reject"]}
    for decision in decisions.get(status, ["verify", "restrict"]):
        await succeed(await decide(world.admin, owner, decision))
    # When one thing of it changes
    others = {"holder_name": "Somebody Else", "ifsc": "SBIN0000001", "account_number": "987654321012"}
    profile = await succeed(await hand_in(owner, account | {changed: others[changed]}))
    # Then it waits again, as another revision and without the old reason
    assert (profile["status"], profile["revision"], profile["reason"]) == ("pending", 2, None)
    # And the owner hears of it too: it may have been somebody else
    told = await world.told(str(owner.id))
    assert [name for name, _ in told[-2:]] == ["payout_profile.submitted", "payout_profile.bank_account_changed"]
    assert told[-1][1] == {owner.id}


async def test_the_same_bank_data_again_change_nothing(world: World) -> None:
    account = bank_account()
    owner = await world.person()
    await succeed(await hand_in(owner, account))
    before = await succeed(await decide(world.admin, owner, "verify"))
    async with world.unchanged():
        after = await succeed(await hand_in(owner, account))
    assert after.items() <= before.items()


async def test_verifying_is_about_the_bank_account_that_was_looked_at(world: World) -> None:
    """Whoever swaps the account while the admin looks at it does not have the new one verified."""
    owner = await with_profile(world, Status.PENDING, funds_minor=0)
    await succeed(await hand_in(owner))
    async with world.unchanged():
        answer = await world.admin.post(f"/api/v1/admin/payout-profiles/{owner.id}/verify", {"revision": 1})
    assert (answer.status_code, answer.json()["code"]) == (409, "bank_account_changed")
    assert (await owner.get(PROFILE)).json()["status"] == "pending"


async def test_many_changes_and_verifications_at_once_verify_nothing_unseen(world: World) -> None:
    owner = await with_profile(world, Status.PENDING, funds_minor=0)
    path = f"/api/v1/admin/payout-profiles/{owner.id}/verify"
    answers = await asyncio.gather(
        *(hand_in(owner) for _ in range(10)), *(world.admin.post(path, {"revision": 1}) for _ in range(10))
    )
    assert all(answer.status_code == 200 for answer in answers[:10])
    assert {answer.json().get("code") for answer in answers[10:]} <= {
        None, "bank_account_changed", "illegal_transition",
    }  # fmt: skip
    profile = (await owner.get(PROFILE)).json()
    assert (profile["status"], profile["revision"]) == ("pending", 11)


async def test_two_first_bank_accounts_at_once_make_one_profile(world: World) -> None:
    owner = await world.person()
    answers = await asyncio.gather(*(hand_in(owner) for _ in range(10)))
    assert sorted(answer.json()["revision"] for answer in answers) == list(range(1, 11))


@pytest.mark.parametrize(
    "number",
    ["", "12345678", "1" * 19, "12345678 9", "12345678a", "-123456789", "1234567.89", "१२३४५६७८९०",
     "１２３４５６７８９０", "123456789\n", "123456789\x00", 1234567890, None, ["123456789"], "'; DROP TABLE x; --"],
    ids=ascii,
)  # fmt: skip
async def test_an_account_number_is_nine_to_eighteen_digits(world: World, number: Any) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await hand_in(person, bank_account(account_number=number))
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert not number or str(number) not in answer.text


@pytest.mark.parametrize("digits", [9, 18])
async def test_the_shortest_and_the_longest_number_are_taken(world: World, digits: int) -> None:
    profile = await succeed(await hand_in(await world.person(), bank_account(account_number="0" * digits)))
    assert profile["account_last4"] == "0000"


@pytest.mark.parametrize(
    "ifsc", ["", "HDFC1001234", "hdfc0001234", "HDF00001234", "HDFC000123", "HDFC00012345", "HDFC0001234\n", None, 5]
)
async def test_an_ifsc_has_its_form(world: World, ifsc: Any) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await hand_in(person, bank_account(ifsc=ifsc))).status_code == 422


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\x00b", None, 7])
async def test_an_account_has_a_holder(world: World, name: Any) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (await hand_in(person, bank_account(holder_name=name))).status_code == 422


@pytest.mark.parametrize("body", [{}, {"revision": 0}, {"revision": 1.5}, {"revision": "1"}, {"revision": 2**31}])
async def test_verifying_names_a_revision(world: World, body: dict[str, Any]) -> None:
    owner = await with_profile(world, Status.PENDING, funds_minor=0)
    async with world.unchanged():
        answer = await world.admin.post(f"/api/v1/admin/payout-profiles/{owner.id}/verify", body)
    assert answer.status_code == 422


async def test_bank_accounts_are_handed_in_so_often_and_no_more(world: World) -> None:
    # Given an allowance of two
    person = await world.person()
    few = replace(world.platform, settings=settings().model_copy(update={"payout_profile_changes": "2/day"}))

    async def submit() -> None:
        async with world.platform.database.write() as session:
            await profiles.submit(session, few, Actor(person.id), BankAccount.model_validate(bank_account()))

    await submit()
    await submit()
    # When somebody hands in a third, then it is refused, and nothing happens
    async with world.unchanged():
        with pytest.raises(TooManyRequests):
            await submit()


async def everywhere(world: World, needle: str) -> set[str]:
    """The tables in which a text stands, as it is or inside of bytes."""
    found = set()
    async with world.platform.database.write() as session:
        await session.scalar(profiles._STORED, owner_id=world.admin.id)
        connection = session.driver_connection
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (name,) in tables:
            query = f"SELECT count(*) FROM {name} AS x WHERE x::text LIKE $1 OR x::text LIKE $2"
            if await connection.fetchval(query, f"%{needle}%", f"%{needle.encode().hex()}%"):
                found.add(name)
    return found


async def test_the_number_is_nowhere_in_clear(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    # Given a number that went through everything that there is: handed in, refused, changed, decided about, paid to
    holder, number, second = "Nowhere In Clear", "271828182845904523", "577215664901532860"
    owner = await world.person()
    await succeed(await hand_in(owner, bank_account(holder_name=holder, account_number=number)))
    answers = [
        await hand_in(owner, bank_account(holder_name=holder, account_number=f"{number}9")),
        await hand_in(owner, bank_account(holder_name="", account_number=number)),
        await hand_in(owner, bank_account(holder_name=holder, account_number=second)),
        await decide(world.admin, owner, "verify"),
        await owner.get(PROFILE),
        await owner.get("/api/v1/notifications"),
        await world.admin.post(
            f"/api/v1/admin/users/{owner.id}/top-ups", {"amount_minor": 50_000, "reason": "for the test"}
        ),
        await owner.post("/api/v1/payouts", {}, headers={"Idempotency-Key": "nowhere-in-clear"}),
    ]
    assert answers[-1].status_code == 201
    # Then no answer, no line of the log and no table shows it
    printed = capfd.readouterr()
    for secret in (number, second):
        assert not [answer.text for answer in answers if secret in answer.text]
        assert secret not in printed.out + printed.err
        assert await everywhere(world, secret) == set()
    # And this would have been found: the holder's name is where it belongs, and in no event or audit row
    assert await everywhere(world, holder) == {"payout_profiles", "payouts", "idempotency_keys"}


async def test_the_audit_trail_names_the_last_digits_and_no_more(world: World) -> None:
    owner = await with_profile(world, Status.PENDING, funds_minor=0)
    await succeed(await hand_in(owner, bank_account(account_number="123454321")))
    (*_, last) = await world.trail(str(owner.id))
    assert (last["action"], last["details"]) == ("change", {"account_last4": "4321"})


@pytest.fixture
def rotated(world: World) -> Platform:
    """The platform with a new key before the old ones, as after a restart with other settings."""
    keys = (NEW, *settings().secret_keys)
    return replace(world.platform, seals=Seals(settings().model_copy(update={"secret_keys": keys})))


async def test_a_rotation_of_keys_loses_no_bank_account(world: World, rotated: Platform) -> None:
    # Given a bank account that was handed in under the old key
    account = bank_account()
    owner = await world.person()
    await succeed(await hand_in(owner, account))
    only_new = Seals(settings().model_copy(update={"secret_keys": (NEW,)}))

    async def sealed() -> bytes:
        (row,) = await world.rows("payout_profiles", id=owner.id)
        return bytes(row["sealed_account_number"])

    # When the new key comes first, then it opens still
    assert rotated.seals.open(await sealed(), owner.id) == account["account_number"]
    with pytest.raises(Unsealable):
        only_new.open(await sealed(), owner.id)
    try:
        # When everything is sealed anew, page by page, then the old key is needed no more
        with patch.object(sealed_columns, "_RENEWED_TOGETHER", 2):
            assert await profiles.reseal(rotated) == len(await world.rows("payout_profiles"))
        assert only_new.open(await sealed(), owner.id) == account["account_number"]
        with pytest.raises(Unsealable):
            world.platform.seals.open(await sealed(), owner.id)
    finally:
        keys = (*settings().secret_keys, NEW)
        await profiles.reseal(replace(world.platform, seals=Seals(settings().model_copy(update={"secret_keys": keys}))))
    assert world.platform.seals.open(await sealed(), owner.id) == account["account_number"]


async def test_a_number_that_no_key_opens_is_handed_in_anew(world: World) -> None:
    # Given a verified account whose key was taken away too early
    account = bank_account()
    owner = await world.person()
    await succeed(await hand_in(owner, account))
    await succeed(await decide(world.admin, owner, "verify"))
    lost = Seals(settings().model_copy(update={"secret_keys": (NEW,)})).seal(account["account_number"], owner.id)
    await world.execute(
        "UPDATE payout_profiles SET sealed_account_number = decode(:lost, 'hex') WHERE id = cast(:id AS uuid)",
        lost=lost.hex(), id=str(owner.id),
    )  # fmt: skip
    # When the owner hands in the same one, then it is stored and verified anew
    assert (await succeed(await hand_in(owner, account)))["status"] == "pending"
    (row,) = await world.rows("payout_profiles", id=owner.id)
    assert world.platform.seals.open(row["sealed_account_number"], owner.id) == account["account_number"]


@pytest.mark.parametrize(
    "params", [{"cursor": "nonsense"}, {"limit": 0}, {"limit": 101}, {"status": "none"}, {"page": 2}], ids=str
)
async def test_a_queue_that_is_asked_for_wrongly_is_a_422(world: World, params: dict[str, Any]) -> None:
    assert (await world.support.get("/api/v1/admin/payout-profiles", params=params)).status_code == 422


async def test_the_queue_of_profiles_pages_through_one_status(world: World) -> None:
    made = [str((await with_profile(world, Status.RESTRICTED, funds_minor=0)).id) for _ in range(3)]
    seen: list[str] = []
    params: dict[str, Any] = {"status": "restricted", "limit": 1}
    while len(seen) < 3:
        page = (await world.support.get("/api/v1/admin/payout-profiles", params=params)).json()
        seen += [item["user_id"] for item in page["items"]]
        params["cursor"] = page["next_cursor"]
    assert seen == made[::-1]

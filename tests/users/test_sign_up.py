"""Sign-up: an account that two codes activate, and everything that does not make one."""

import asyncio
import json
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.database import Statement
from tests.support.world import PASSWORD, World
from tests.users.steps import (
    Applicant,
    codes_sent,
    events_of,
    eventually,
    forget_the_last_minute,
    instance,
    log_in,
    new_email,
    new_phone,
    sign_up,
    sign_up_form,
    wrong,
)

REGISTER = "/api/v1/auth/register"


async def keys_of(world: World, applicant: Applicant) -> dict[str, dict[str, str]]:
    """What Valkey holds on the applicant's codes."""
    client = world.platform.valkey.client
    found = {}
    async for key in client.scan_iter(match=f"auth:otp:*{applicant.id}*"):
        fields: Any = await client.hgetall(key)
        found[key.decode()] = {name.decode(): value.decode() for name, value in fields.items()}
    return found


async def test_a_new_account_waits_for_its_codes(http: httpx.AsyncClient, world: World) -> None:
    # When somebody signs up as a future provider
    form = sign_up_form(role="provider", language="hi")
    answer = await http.post(REGISTER, json=form)
    # Then the account exists, pending, as a customer who wants to become a provider
    assert answer.status_code == 201
    user = answer.json()["user"]
    assert (user["status"], user["roles"], user["requested_role"]) == ("PENDING_VERIFICATION", ["customer"], "provider")
    assert (user["name"], user["email"], user["phone"], user["language"]) == (
        form["name"], form["email"], form["phone"], "hi",
    )  # fmt: skip
    # And the event that drives the senders is out, and the audit trail knows
    assert len(await events_of(world, user["id"], "auth.registered")) == 1
    (trail,) = await world.rows("audit_trail", subject_id=UUID(user["id"]))
    assert (trail["action"], trail["to_status"]) == ("create", "PENDING_VERIFICATION")


async def test_no_answer_and_no_row_holds_the_password(http: httpx.AsyncClient, world: World) -> None:
    form = sign_up_form()
    answer = await http.post(REGISTER, json=form)
    assert PASSWORD not in answer.text
    (row,) = await world.rows("users", email=form["email"])
    assert row["password_hash"].startswith("$argon2id$")
    assert PASSWORD not in str(row)


@pytest.mark.usefixtures("working")
async def test_both_codes_activate_the_account_and_sign_in(http: httpx.AsyncClient, world: World) -> None:
    # Given a sign-up, and the two codes that were sent
    applicant = await sign_up(http)
    codes = await applicant.codes()
    # When both come back
    answer = await applicant.verify(codes)
    # Then there are tokens and the profile, and the access token works
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    lives = world.platform.settings.access_token_seconds
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", lives)
    assert (tokens["user"]["id"], tokens["user"]["status"]) == (applicant.id, "ACTIVE")
    me = await http.get("/api/v1/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert me.json() == tokens["user"]
    assert len(await events_of(world, applicant.id, "auth.verified")) == 1
    actions = [row["action"] for row in await world.rows("audit_trail", subject_id=UUID(applicant.id))]
    assert sorted(actions) == ["create", "verify"]


@pytest.mark.usefixtures("working")
async def test_codes_are_kept_in_valkey_only_and_hashed_for_ten_minutes(http: httpx.AsyncClient, world: World) -> None:
    # Given codes that were sent
    applicant = await sign_up(http)
    codes = (await applicant.codes()).values()
    # Then Valkey holds one hash for each, under the documented key, which expires
    kept = await keys_of(world, applicant)
    assert set(kept) == {f"auth:otp:{{{applicant.id}}}:{channel}" for channel in ("email", "phone")}
    for key, fields in kept.items():
        assert len(bytes.fromhex(fields["hash"])) == 32
        assert not set(fields.values()) & set(codes)
        assert 590 <= await world.platform.valkey.client.ttl(key) <= 600
    # And no table has seen a code, the job queue's included
    async with world.platform.database.read() as session:
        for name in ("events", "notifications", "audit_trail", "users", "pgqueuer", "pgqueuer_log"):
            for code in codes:
                query = (
                    f"SELECT count(*) FROM {name} AS t WHERE t::text LIKE '%\"{code}\"%' OR t::text LIKE '% {code} %'"
                )
                assert await session.scalar(Statement(text(query))) == 0


@pytest.mark.usefixtures("working")
async def test_the_hash_of_a_code_is_keyed(http: httpx.AsyncClient, world: World) -> None:
    # Given somebody who can read Valkey and knows how codes look
    applicant = await sign_up(http)
    codes = await applicant.codes()
    kept = await keys_of(world, applicant)
    # Then no plain hash of the code, alone or with its key, is what is stored
    key = f"auth:otp:{{{applicant.id}}}:email"
    for guess in (codes["email_code"], f"{key}:{codes['email_code']}", f"{codes['email_code']}:{key}"):
        assert sha256(guess.encode()).hexdigest() != kept[key]["hash"]


@pytest.mark.usefixtures("working")
async def test_codes_are_gone_when_their_time_is_over(http: httpx.AsyncClient, world: World) -> None:
    # Given codes that were sent, of which one expires this instant
    applicant = await sign_up(http)
    codes = await applicant.codes()
    await world.platform.valkey.client.pexpire(f"auth:otp:{{{applicant.id}}}:phone", 1)
    await asyncio.sleep(0.01)
    # When both come back, then the account stays as it is
    async with world.unchanged():
        answer = await applicant.verify(codes)
    assert (answer.status_code, answer.json()["code"]) == (422, "code_refused")


@pytest.mark.usefixtures("working")
async def test_one_right_code_is_not_enough_and_is_not_spent(http: httpx.AsyncClient, world: World) -> None:
    # Given codes that were sent
    applicant = await sign_up(http)
    codes = await applicant.codes()
    # When only one of them is right, whichever
    async with world.unchanged():
        for channel in codes:
            answer = await applicant.verify(codes | {channel: wrong(codes[channel])})
            assert (answer.status_code, answer.json()["code"]) == (422, "code_refused")
    # Then the refusal does not tell which, and both right ones still work together
    assert "email" not in answer.text
    assert (await applicant.verify(codes)).status_code == 200


@pytest.mark.usefixtures("working")
async def test_codes_are_not_interchangeable(http: httpx.AsyncClient, world: World) -> None:
    applicant, other = await sign_up(http), await sign_up(http)
    codes, others = await applicant.codes(), await other.codes()
    swapped = {"email_code": codes["phone_code"], "phone_code": codes["email_code"]}
    async with world.unchanged():
        assert (await applicant.verify(swapped)).status_code == 422
        assert (await applicant.verify(others)).status_code == 422


@pytest.mark.usefixtures("working")
async def test_four_wrong_tries_are_forgiven(http: httpx.AsyncClient) -> None:
    applicant = await sign_up(http)
    codes = await applicant.codes()
    for _ in range(4):
        assert (await applicant.verify(codes | {"phone_code": wrong(codes["phone_code"])})).status_code == 422
    assert (await applicant.verify(codes)).status_code == 200


@pytest.mark.parametrize("channel", ["email_code", "phone_code"])
@pytest.mark.usefixtures("working")
async def test_the_fifth_wrong_try_burns_the_code(http: httpx.AsyncClient, world: World, channel: str) -> None:
    # Given five wrong tries at one code
    applicant = await sign_up(http)
    codes = await applicant.codes()
    async with world.unchanged():
        for _ in range(5):
            assert (await applicant.verify(codes | {channel: wrong(codes[channel])})).status_code == 422
        # When the right ones come, then they are refused like any other
        answer = await applicant.verify(codes)
    assert (answer.status_code, answer.json()["code"]) == (422, "code_refused")


@pytest.mark.usefixtures("working")
async def test_guessing_in_parallel_gains_no_tries(http: httpx.AsyncClient, world: World) -> None:
    # Given a code and twenty wrong guesses at the same instant
    applicant = await sign_up(http)
    codes = await applicant.codes()
    async with world.unchanged():
        answers = await asyncio.gather(
            *(applicant.verify(codes | {"phone_code": wrong(codes["phone_code"])}) for _ in range(20))
        )
        # Then the code is burnt
        assert {answer.status_code for answer in answers} == {422}
        assert (await applicant.verify(codes)).status_code == 422


@pytest.mark.usefixtures("working")
async def test_a_new_code_takes_the_place_of_a_burnt_one(http: httpx.AsyncClient) -> None:
    # Given a burnt code
    applicant = await sign_up(http)
    codes = await applicant.codes()
    for _ in range(5):
        await applicant.verify(codes | {"phone_code": wrong(codes["phone_code"])})
    # When another one is asked for
    assert (await applicant.resend("phone")).status_code == 202

    async def arrived() -> bool:
        return len(await codes_sent(http, applicant.form["phone"])) == 2

    await eventually(arrived)
    # Then that one works together with the other channel's first
    assert (await applicant.verify(await applicant.codes())).status_code == 200


@pytest.mark.usefixtures("working")
async def test_a_new_code_makes_the_old_one_worthless(http: httpx.AsyncClient, world: World) -> None:
    applicant = await sign_up(http)
    old = await applicant.codes()
    assert (await applicant.resend("phone")).status_code == 202

    async def arrived() -> bool:
        return len(await codes_sent(http, applicant.form["phone"])) == 2

    await eventually(arrived)
    if (await applicant.codes())["phone_code"] != old["phone_code"]:  # one time in a million they are the same
        async with world.unchanged():
            assert (await applicant.verify(old)).status_code == 422


@pytest.mark.usefixtures("working")
async def test_codes_work_once_however_many_try_at_once(http: httpx.AsyncClient, world: World) -> None:
    # Given codes that were sent
    applicant = await sign_up(http)
    codes = await applicant.codes()
    # When they come back eight times at the same instant
    answers = await asyncio.gather(*(applicant.verify(codes) for _ in range(8)))
    # Then one of them signs in, with one session
    assert sorted(answer.status_code for answer in answers) == [200, *[422] * 7]
    assert len(await world.rows("sessions", user_id=UUID(applicant.id))) == 1
    assert len(await events_of(world, applicant.id, "auth.verified")) == 1


async def test_codes_of_an_unknown_account_are_refused_alike(http: httpx.AsyncClient, world: World) -> None:
    body = {"user_id": str(uuid4()), "email_code": "000000", "phone_code": "000000"}
    async with world.unchanged():
        answer = await http.post("/api/v1/auth/verify", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "code_refused")


async def test_without_codes_there_is_no_way_in(http: httpx.AsyncClient, world: World) -> None:
    # Given an account that waits for its codes
    applicant = await sign_up(http)
    # When its owner signs in with the right password, then they are told what is missing and for whom
    async with world.unchanged():
        answer = await log_in(http, applicant.form["email"])
    assert (answer.status_code, answer.json()["code"]) == (403, "verification_pending")
    assert answer.json()["user_id"] == applicant.id


async def test_resending_is_limited_to_once_a_minute_for_each_channel(http: httpx.AsyncClient, world: World) -> None:
    applicant = await sign_up(http)
    # Given one code that was asked for again
    assert (await applicant.resend("phone")).status_code == 202
    # When it is asked for once more within the minute, then not; the other channel is open
    async with world.unchanged():
        refusal = await applicant.resend("phone")
    assert (refusal.status_code, refusal.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(refusal.headers["Retry-After"]) <= 61
    assert (await applicant.resend("email")).status_code == 202


async def test_resending_is_limited_to_five_an_hour(http: httpx.AsyncClient, world: World) -> None:
    applicant = await sign_up(http)
    # Given five codes that were asked for, a minute apart
    for _ in range(5):
        assert (await applicant.resend("email")).status_code == 202
        await forget_the_last_minute(world.platform, applicant.id)
    # When a sixth is asked for, then it takes most of the hour
    async with world.unchanged():
        refusal = await applicant.resend("email")
    assert refusal.status_code == 429
    assert 3500 <= int(refusal.headers["Retry-After"]) <= 3601


async def test_resending_is_limited_for_each_address(configured: Settings) -> None:
    # Given an instance that allows three tries for each address, and many accounts
    async with instance(configured, login_tries_per_address="3/14 minutes") as other:
        answers = []
        for _ in range(4):
            body = {"user_id": str(uuid4()), "channel": "phone"}
            answers.append((await other.http.post("/api/v1/auth/codes", json=body)).status_code)
    # Then hopping from account to account does not help
    assert answers == [202, 202, 202, 429]


async def test_resending_to_nobody_is_answered_alike(http: httpx.AsyncClient, world: World) -> None:
    # Given somebody active, and somebody who does not exist
    active = await world.person()
    for user_id in (str(active.id), str(uuid4())):
        nobody = Applicant(http, user_id, {})
        # When codes are asked for them, then the answers are those of a sign-up, and nothing is sent
        async with world.unchanged():
            answers = [await nobody.resend("email") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 429]
        assert answers[0].json() == {"done": True}


@pytest.mark.parametrize("field", ["email", "phone"])
async def test_a_taken_contact_is_refused_by_name(http: httpx.AsyncClient, world: World, field: str) -> None:
    applicant = await sign_up(http)
    async with world.unchanged():
        answer = await http.post(REGISTER, json=sign_up_form(**{field: applicant.form[field]}))
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (409, "already_taken", field)


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("email", str.upper),
        ("email", lambda email: f" {email} "),
        ("phone", lambda phone: f"{phone[:3]} {phone[3:8]}-{phone[8:]}"),
    ],
)
async def test_a_contact_is_the_same_however_it_is_written(
    http: httpx.AsyncClient, world: World, field: str, written: Any
) -> None:
    applicant = await sign_up(http)
    async with world.unchanged():
        answer = await http.post(REGISTER, json=sign_up_form(**{field: written(applicant.form[field])}))
    assert (answer.status_code, answer.json()["field"]) == (409, field)


async def test_two_sign_ups_for_one_address_at_once_make_one_account(http: httpx.AsyncClient, world: World) -> None:
    email = new_email()
    answers = await asyncio.gather(*(http.post(REGISTER, json=sign_up_form(email=email)) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert len(await world.rows("users", email=email)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("password", "short 123"), ("password", "x" * 129), ("password", "1234567890"), ("password", "qwertyuiop"),
        ("password", "Password123!"), ("password", "P@ssword2024"), ("password", "1q2w3e4r5t"),
        ("password", "aaaaaaaaaaaaaaa"), ("password", "abababababab"), ("password", "localbazaar1"),
        ("password", "nul\x00nul\x00nul"), ("password", 1234567890),
        ("phone", "9876543210"), ("phone", "+91"), ("phone", "+9112345"), ("phone", "phone"), ("phone", ""),
        ("phone", "+449098790000"), ("phone", "+91" + "9" * 30),
        ("email", "asha"), ("email", "asha@"), ("email", "a b@mail.localbazaar.in"), ("email", ""),
        ("email", "asha@mail.localbazaar.in\r\nBcc: all@mail.localbazaar.in"),
        ("email", "a" * 250 + "@mail.localbazaar.in"),
        ("name", ""), ("name", "   "), ("name", "n" * 201), ("name", "nul\x00"),
        ("role", "admin"), ("role", "manager"), ("role", "support"), ("role", "king"),
        ("language", "tlh"), ("status", "ACTIVE"), ("roles", ["admin"]), ("id", str(UUID(int=1))),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
async def test_what_does_not_fit_makes_no_account(
    http: httpx.AsyncClient, world: World, field: str, value: object
) -> None:
    async with world.unchanged():
        answer = await http.post(REGISTER, json=sign_up_form(**{field: value}))
    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_failed"
    assert answer.json()["errors"][0]["where"] == ["body", field]


@pytest.mark.parametrize("password", ["ten letter", "u" * 64 + "nusual!" * 9 + "z", "पासवर्ड बहुत लंबा है"])
async def test_unusual_passwords_of_a_fair_length_are_fine(http: httpx.AsyncClient, password: str) -> None:
    assert 10 <= len(password) <= 128
    applicant = await sign_up(http, password=password)
    assert (await log_in(http, applicant.form["email"], password)).json()["code"] == "verification_pending"


async def test_a_lone_surrogate_is_a_422(http: httpx.AsyncClient, world: World) -> None:
    body = json.dumps(sign_up_form(name="\ud800 Rao")).encode()
    async with world.unchanged():
        answer = await http.post(REGISTER, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_an_address_that_folds_unlike_in_the_database_is_no_accident(http: httpx.AsyncClient) -> None:
    # Given letters whose small form depends on who makes it
    for letter in ("İ", "ẞ", "Ω", "K", "Å", "Σ", "ǅ"):
        answer = await http.post(REGISTER, json=sign_up_form(email=f"{letter}x{new_email()}"))
        # Then the address is either taken or refused, never an error of ours
        assert answer.status_code in {201, 422}, (letter, answer.text)


async def test_sign_ups_are_limited_for_each_address(configured: Settings, world: World) -> None:
    async with instance(configured, sign_ups_per_address="2/17 minutes") as other:
        # Given two sign-ups from one address
        for _ in range(2):
            assert (await other.http.post(REGISTER, json=sign_up_form())).status_code == 201
        # When a third comes, then it has to wait
        async with world.unchanged():
            refusal = await other.http.post(REGISTER, json=sign_up_form())
    assert refusal.status_code == 429
    assert 900 <= int(refusal.headers["Retry-After"]) <= 17 * 60 + 1


async def test_guesses_are_limited_for_each_address_across_accounts(configured: Settings, world: World) -> None:
    async with instance(configured, login_tries_per_address="3/19 minutes") as other:
        statuses = []
        async with world.unchanged():
            for _ in range(4):
                body = {"user_id": str(uuid4()), "email_code": "123456", "phone_code": "123456"}
                statuses.append((await other.http.post("/api/v1/auth/verify", json=body)).status_code)
    assert statuses == [422, 422, 422, 429]


async def test_without_valkey_no_code_is_checked_and_nothing_breaks(configured: Settings, world: World) -> None:
    # Given an instance that has lost its Valkey
    async with instance(configured, redis_url="unix:///nowhere/valkey.sock?db=0") as other:
        body = {"user_id": str(uuid4()), "email_code": "123456", "phone_code": "123456"}
        async with world.unchanged():
            answer = await other.http.post("/api/v1/auth/verify", json=body)
        # Then it says so, and people who have a password still get in
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        person = await world.person()
        assert (await log_in(other.http, person.email)).status_code == 200


async def test_a_phone_number_is_stored_in_e_164(http: httpx.AsyncClient) -> None:
    phone = new_phone()
    answer = await http.post(REGISTER, json=sign_up_form(phone=f"{phone[:3]} {phone[3:8]} {phone[8:]}"))
    assert answer.json()["user"]["phone"] == phone

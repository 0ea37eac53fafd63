"""Opening a checkout: one page, a provider that may be away, and return addresses that lead nowhere else."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.adapters.payments.port import Order, ProviderAway, ProviderRefused, RefundOrder
from app.core.config import Settings
from app.core.money import AMOUNT_LIMIT
from app.models.payments import PaymentStatus as Status
from tests.payments.steps import AMOUNT, PAYMENTS, in_status, paid, row_of, top_up, use
from tests.support.world import FAR_AWAY, Person, World
from tests.users.steps import Instance, elsewhere, instance

SHOP = "https://shop.localbazaar.in"


@pytest.fixture(scope="module")
async def payer(world: World) -> Person:
    return await world.person()


@pytest.fixture(scope="module")
async def other(configured: Settings) -> AsyncIterator[Instance]:
    """An instance with a single database connection, little patience, and another page than its own to return to."""
    changed: dict[str, Any] = {
        "database_pool_size": 1,
        "database_pool_timeout_seconds": 2,
        "payment_provider_seconds": 0.5,
        "allowed_origins": (SHOP,),
    }
    async with instance(configured, **changed) as opened:
        yield opened


def path(payment: dict[str, Any]) -> str:
    return f"{PAYMENTS}/{payment['id']}/checkout"


async def test_a_checkout_that_is_opened_again_is_the_same(world: World, payer: Person) -> None:
    payment = await top_up(payer)
    answers = await asyncio.gather(*(payer.post(path(payment)) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    [url] = {answer.json()["checkout_url"] for answer in answers}
    assert len(await world.rows("sandbox_checkouts", payment_id=UUID(payment["id"]))) == 1
    async with world.unchanged():
        assert (await payer.post(path(payment))).json()["checkout_url"] == url


async def test_nothing_is_lost_while_the_provider_is_away(world: World, payer: Person, other: Instance) -> None:
    payment = await top_up(payer)
    before = await row_of(world, payment)
    away = True

    async def answer(_: Order | RefundOrder) -> None:
        if away:
            raise ProviderAway()

    stub = use(other.platform, answer)
    async with world.unchanged():
        refused = await elsewhere(payer, other.http).post(path(payment))
    assert (refused.status_code, refused.json()["code"]) == (503, "payment_provider_away")
    assert "retry-after" in refused.headers
    assert await row_of(world, payment) == before
    away = False
    opened = await elsewhere(payer, other.http).post(path(payment))
    assert (opened.status_code, opened.json()["status"]) == (200, "PENDING")
    assert stub.asked == [UUID(payment["id"])] * 2


async def test_what_the_provider_does_not_take_has_failed(world: World, payer: Person, other: Instance) -> None:
    payment = await top_up(payer)

    async def answer(_: Order | RefundOrder) -> None:
        raise ProviderRefused("No such currency here. " + "x" * 1000)

    use(other.platform, answer)
    refused = await elsewhere(payer, other.http).post(path(payment))
    assert (refused.status_code, refused.json()["code"]) == (409, "checkout_refused")
    assert refused.json()["reason"].startswith("No such currency here.")
    row = await row_of(world, payment)
    assert (row["status"], len(row["failure"])) == (Status.FAILED, 500)
    assert await world.told(payment["id"]) == [("payment.failed", {payer.id})]
    again = await payer.post(path(payment))
    assert (again.json()["code"], again.json()["allowed_actions"]) == ("illegal_transition", ["cancel"])


async def test_a_provider_that_hangs_holds_up_nobody_else(world: World, payer: Person, other: Instance) -> None:
    # Given an instance with one database connection, and a provider that never answers
    payment = await top_up(payer)
    here = elsewhere(payer, other.http)

    async def answer(_: Order | RefundOrder) -> None:
        await asyncio.Event().wait()

    stub = use(other.platform, answer)
    began = time.monotonic()
    hanging = [asyncio.create_task(here.post(path(payment))) for _ in range(5)]
    while len(stub.asked) < 5:  # noqa: ASYNC110 - the stub tells no other way
        await asyncio.sleep(0.01)
    # When others read meanwhile
    reads = await asyncio.gather(*(here.get(f"{PAYMENTS}/{payment['id']}") for _ in range(20)))
    assert {read.status_code for read in reads} == {200}
    assert not any(one.done() for one in hanging)
    # Then whoever waits is told after half a second
    answers = await asyncio.gather(*hanging)
    assert {(one.status_code, one.json()["code"]) for one in answers} == {(503, "payment_provider_away")}
    assert time.monotonic() - began < 5
    assert (await row_of(world, payment))["status"] == Status.CREATED


async def test_a_provider_that_is_not_in_use_any_more_is_away(world: World, payer: Person) -> None:
    payment = await top_up(payer)
    await world.execute("UPDATE payments SET provider = 'stripe' WHERE id = cast(:id AS uuid)", id=payment["id"])
    async with world.unchanged():
        answer = await payer.post(path(payment))
    assert (answer.status_code, answer.json()["code"]) == (503, "payment_provider_away")


async def test_a_payment_that_was_given_up_while_the_provider_was_asked_stays_so(
    world: World, payer: Person, other: Instance
) -> None:
    payment = await top_up(payer)

    async def answer(_: Order | RefundOrder) -> None:
        assert (await payer.post(f"{PAYMENTS}/{payment['id']}/cancel")).status_code == 200

    use(other.platform, answer)
    answered = await elsewhere(payer, other.http).post(path(payment))
    assert (answered.status_code, answered.json()["code"]) == (409, "illegal_transition")
    assert (await row_of(world, payment))["status"] == Status.EXPIRED


async def create(person: Person, **body: Any) -> tuple[int, str | None]:
    answer = await person.post(PAYMENTS, {"purpose": "top_up", "amount_minor": AMOUNT} | body)
    return answer.status_code, answer.json().get("code")


@pytest.mark.parametrize("rest", ["", "/", "/wallet?tab=1#top", "?next=https://evil.example", "//evil.example/", "#"])
async def test_the_browser_may_return_to_this_service_and_to_allowed_origins(
    payer: Person, other: Instance, configured: Settings, rest: str
) -> None:
    assert await create(payer, return_url=configured.public_url + rest) == (201, None)
    assert await create(elsewhere(payer, other.http), return_url=SHOP + rest) == (201, None)


OWN, HOST = "http://127.0.0.1:8000", "127.0.0.1:8000"
FOREIGN = [
    "https://evil.example", f"https://{HOST}", "http://127.0.0.1", "http://127.0.0.1:8001", "http://127.0.0.1:08000",
    f"{OWN}.evil.example", f"{OWN}@evil.example", f"http://evil.example@{HOST}", f"http://a:b@{HOST}/",
    f"http://@{HOST}/", f"http://evil.example#@{HOST}", f"http://evil.example?@{HOST}/", f"http://evil.example/{OWN}",
    f"http://{HOST}%2eevil.example", f"http://{HOST}%00.evil.example", f"http://{HOST}%5c@evil.example",
    f"http://{HOST}&@evil.example", f"http://{HOST};@evil.example", "http://127.1:8000", "http://2130706433:8000",
    "http://[::ffff:127.0.0.1]:8000", "http://[127.0.0.1]:8000", "http://[", "http://]", "http://[::1", "http://",
    "http:///evil.example", f"http:/{HOST}", f"http:{HOST}", f"//{HOST}", "http://:8000", f"http://{HOST}:", "https://x:y",
    f"{SHOP}:443", f"{SHOP}:8443", f"{SHOP}.", "http://shop.localbazaar.in", f"{SHOP}@evil.example", "https://SHOP.localbazaar.in",
    "https://evil-shop.localbazaar.in", "https://localbazaar.in",
]  # fmt: skip
MALFORMED = [
    f"http://{HOST}\\@evil.example", f"http:\\\\{HOST}", f"{OWN}/\\evil", f"{OWN}/\r\nSet-Cookie: a=b", f"{OWN}/\n",
    f"\n{OWN}", f" {OWN}", f"{OWN} ", f"{OWN}/a b", f"ht\ttp://{HOST}", f"{OWN}/\t", f"{OWN}/\x00", f"{OWN}/\x01",
    f"{OWN}/\x7f", f"{OWN}/\u2028", f"http://{HOST}\u3002evil.example", "http://evil.example\u2100.com",
    "http://\uff41.example", "http://münchen.example", f"{OWN}/\ud800", "javascript:alert(1)", "javascript://%0aalert(1)",
    f"javascript://{HOST}/%0aalert(1)", "data:text/html,x", f"ftp://{HOST}", f"HTTP://{HOST}", "/wallet", "", "x",
    f"{OWN}/" + "x" * 500, f"blob:{OWN}", f"view-source:{OWN}",
]  # fmt: skip


async def test_the_browser_returns_nowhere_else(world: World, payer: Person, other: Instance) -> None:
    here = elsewhere(payer, other.http)
    async with world.unchanged():
        for url in FOREIGN:
            assert await create(here, return_url=url) in [
                (422, "return_url_refused"), (422, "validation_failed")
            ], url  # fmt: skip
        for url in MALFORMED:
            escaped = "".join(f"\\u{ord(letter):04x}" for letter in url)
            body = f'{{"purpose": "top_up", "amount_minor": 100, "return_url": "{escaped}"}}'
            headers = {"content-type": "application/json"}
            answer = await here.call("POST", PAYMENTS, content=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed"), url


@pytest.mark.parametrize("url", ["https://evil.example", f"{OWN}@evil.example", "http://[::1", "http://[", SHOP])
async def test_a_foreign_return_address_is_refused_by_name(world: World, payer: Person, url: str) -> None:
    async with world.unchanged():
        assert await create(payer, return_url=url) == (422, "return_url_refused")


@pytest.mark.parametrize("amount", [0, -1, 1.0, 0.5, "100", True, None, [], AMOUNT_LIMIT + 1, 2**63, 2**64])
async def test_what_is_no_amount_is_not_paid(world: World, payer: Person, amount: Any) -> None:
    async with world.unchanged():
        assert await create(payer, amount_minor=amount) == (422, "validation_failed")


async def test_amounts_have_a_limit_and_the_platforms_currency(world: World, payer: Person) -> None:
    limit = world.platform.settings.wallet_top_up_limit_minor
    assert (await top_up(payer, limit))["amount_minor"] == limit
    assert (await top_up(payer, 1))["amount_minor"] == 1
    async with world.unchanged():
        assert await create(payer, amount_minor=limit + 1) == (422, "amount_too_large")
        assert await create(payer, currency="USD") == (422, "currency_refused")
        assert await create(payer, currency="GOLD") == (422, "currency_refused")
        assert await create(payer, currency="inr") == (422, "validation_failed")


async def test_a_purpose_comes_with_what_belongs_to_it_only(world: World, payer: Person) -> None:
    subject = str(uuid4())
    async with world.unchanged():
        for body in (
            {"purpose": "top_up"},
            {"purpose": "top_up", "amount_minor": 1, "subject_id": subject},
            {"purpose": "lead"},
            {"purpose": "lead", "amount_minor": 1},
            {"purpose": "lead", "amount_minor": 1, "subject_id": subject},
            {"purpose": "lead", "subject_id": "x"},
            {"purpose": "tip", "amount_minor": 1},
            {"purpose": "top_up", "amount_minor": 1, "status": "SUCCEEDED"},
            {"purpose": "top_up", "amount_minor": 1, "payer_id": subject},
        ):
            answer = await payer.post(PAYMENTS, body)
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed"), body


async def test_a_lead_is_paid_for_by_those_who_may_buy_it_alone(world: World, payer: Person) -> None:
    customer = await world.person()
    request_id = await world.request(customer)
    buyer = await world.provider()
    await buyer.post(f"/api/v1/service-requests/{request_id}/purchase")
    denied = [
        (payer, (404, "not_found")),
        (await world.provider(at=FAR_AWAY), (404, "not_found")),
        (await world.provider(approved=False), (404, "not_found")),
        (customer, (403, "not_matching")),
        (world.admin, (403, "not_matching")),
        (buyer, (409, "already_purchased")),
    ]
    async with world.unchanged():
        for person, refusal in denied:
            answer = await person.post(PAYMENTS, {"purpose": "lead", "subject_id": request_id})
            assert (answer.status_code, answer.json()["code"]) == refusal, person.email
        answer = await buyer.post(PAYMENTS, {"purpose": "lead", "subject_id": str(uuid4())})
        assert answer.status_code == 404
    # Nor when it is sold out or over
    await world.execute("UPDATE service_requests SET lead_cap = 1 WHERE id = cast(:id AS uuid)", id=request_id)
    late = await world.provider(funds_minor=0)
    async with world.unchanged():
        sold_out = await late.post(PAYMENTS, {"purpose": "lead", "subject_id": request_id})
    assert (sold_out.status_code, sold_out.json()["code"]) == (409, "lead_sold_out")
    free = await world.request(customer)
    await world.execute("UPDATE service_requests SET fee_minor = 0 WHERE id = cast(:id AS uuid)", id=free)
    async with world.unchanged():
        nothing = await late.post(PAYMENTS, {"purpose": "lead", "subject_id": free})
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_pay")


async def test_lists_show_ones_own_to_the_payer_and_all_to_admins(world: World) -> None:
    person = await world.person()
    made = [(await in_status(world, person, status))["id"] for status in (Status.CREATED, Status.SUCCEEDED)]
    held = await in_status(world, person, Status.UNDER_REVIEW)
    own = (await person.get(PAYMENTS)).json()
    assert [item["id"] for item in own["items"]] == [held["id"], *reversed(made)]
    first = (await person.get(PAYMENTS, params={"limit": 2})).json()
    rest = (await person.get(PAYMENTS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == [held["id"], *reversed(made)]
    assert rest["next_cursor"] is None
    assert all("captured_minor" not in item for item in own["items"])
    review = (await world.admin.get("/api/v1/admin/payments", params={"status": "UNDER_REVIEW"})).json()["items"]
    assert {item["status"] for item in review} == {"UNDER_REVIEW"}
    [seen] = [item for item in review if item["id"] == held["id"]]
    assert (seen["captured_minor"], seen["payer_id"]) == (AMOUNT - 1, str(person.id))


async def test_a_payment_that_was_paid_without_its_page_being_opened_is_paid(world: World) -> None:
    person = await world.person()
    payment = await top_up(person)
    await paid(world, payment)
    assert await world.balance(person) == AMOUNT
    answer = await person.post(path(payment))
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")


async def test_nobody_begins_payments_without_end(configured: Settings, world: World) -> None:
    # Given a server on which somebody may begin two payments an hour, and has
    person = await world.person()
    async with instance(configured, payments_per_payer="2/hour") as limited:
        there = elsewhere(person, limited.http)
        for _ in range(2):
            await top_up(there)
        # When a third is begun, then nothing appears
        async with world.unchanged():
            answer = await there.post(PAYMENTS, {"purpose": "top_up", "amount_minor": 100})
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        assert int(answer.headers["Retry-After"]) > 0

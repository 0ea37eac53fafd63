"""Bad leads: reported within seven days, decided once, paid back once (leads.md: Bad lead)."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest

from tests.service_requests.conftest import PATH, Cast, succeed
from tests.support.world import Person, World

FEE = 5000
REPORT = {"reason": "unreachable", "note": "The number does not exist."}
WHY = {"reason": "We called, nobody there."}


async def bought(world: World, cast: Cast) -> str:
    """A lead of the purchaser; its id."""
    request_id = await world.request(cast.customer)
    return str((await succeed(cast.purchaser.post(f"{PATH}/{request_id}/purchase"))).json()["id"])


async def reported(world: World, cast: Cast) -> str:
    lead_id = await bought(world, cast)
    await succeed(cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", REPORT))
    return lead_id


async def test_a_report_goes_to_support_and_the_regions_managers(world: World, cast: Cast) -> None:
    lead_id = await reported(world, cast)
    (name, told) = (await world.told(lead_id))[-1]
    assert name == "lead.reported"
    assert {cast.support.id, cast.manager.id} <= told
    assert told.isdisjoint({cast.other_manager.id, cast.customer.id, cast.purchaser.id, cast.admin.id})
    step = (await world.trail(lead_id))[-1]
    assert (step["action"], step["actor_id"], step["reason"]) == ("report", cast.purchaser.id, REPORT["note"])
    assert step["details"] == {"report_reason": "unreachable", "report_note": REPORT["note"]}


async def test_an_accepted_report_returns_the_fee(world: World, cast: Cast) -> None:
    lead_id = await reported(world, cast)
    balance = await world.balance(cast.purchaser)
    answer = await succeed(cast.manager.post(f"/api/v1/leads/{lead_id}/accept-report", WHY))
    assert (answer.json()["status"], answer.json()["decision_reason"]) == ("REFUNDED", WHY["reason"])
    assert await world.balance(cast.purchaser) == balance + FEE
    assert (await world.told(lead_id))[-1] == ("lead.refunded", {cast.purchaser.id})
    (fee,) = await world.rows("entries", idempotency_key=f"lead_fee:{lead_id}")
    (refund,) = await world.rows("entries", reverses_id=fee["id"])
    assert (refund["actor_id"], refund["reason"]) == (cast.manager.id, WHY["reason"])
    await world.books_are_clean()


async def test_a_refused_report_keeps_the_fee_and_says_why(world: World, cast: Cast) -> None:
    lead_id = await reported(world, cast)
    balance = await world.balance(cast.purchaser)
    await succeed(cast.support.post(f"/api/v1/leads/{lead_id}/refuse-report", {"reason": "They answered."}))
    assert await world.balance(cast.purchaser) == balance
    assert (await world.told(lead_id))[-1] == ("lead.report_refused", {cast.purchaser.id})
    (lead,) = [each for each in await listed(cast.purchaser, "/api/v1/leads") if each["id"] == lead_id]
    assert (lead["status"], lead["decision_reason"]) == ("REFUSED", "They answered.")
    # and cannot be tried a second time
    async with world.unchanged():
        again = await cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", REPORT)
    assert (again.status_code, again.json()["current_status"]) == (409, "REFUSED")


async def listed(person: Person, path: str) -> list[dict[str, object]]:
    return list((await succeed(person.get(path, params={"limit": 100}))).json()["items"])


@pytest.mark.parametrize(("age", "code"), [("6 days 23:59", 200), ("7 days 00:01", 409)])
async def test_a_report_comes_within_seven_days(world: World, cast: Cast, age: str, code: int) -> None:
    lead_id = await bought(world, cast)
    await world.execute(
        f"UPDATE lead_purchases SET created_at = now() - interval '{age}' WHERE id = cast(:id AS uuid)", id=lead_id
    )
    if code == 200:
        await succeed(cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", REPORT))
        return
    async with world.unchanged():
        answer = await cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", REPORT)
    assert (answer.status_code, answer.json()["code"]) == (409, "report_too_late")


async def test_reporting_twenty_times_at_once_is_one_report(world: World, cast: Cast) -> None:
    lead_id = await bought(world, cast)
    answers = await asyncio.gather(*(cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", REPORT) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    assert [name for name, _ in await world.told(lead_id)].count("lead.reported") == 1


async def test_twenty_deciders_at_once_decide_once(world: World, cast: Cast) -> None:
    # Given a reported lead
    lead_id = await reported(world, cast)
    balance = await world.balance(cast.purchaser)
    # When support, the manager and the admin accept and refuse it, twenty times at once
    answers = await asyncio.gather(
        *(
            (cast.support, cast.manager, cast.admin)[number % 3].post(
                f"/api/v1/leads/{lead_id}/{'accept' if number % 2 else 'refuse'}-report", WHY
            )
            for number in range(20)
        )
    )
    # Then one decision was made, and the money followed it, once
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    (lead,) = await world.rows("lead_purchases", id=UUID(lead_id))
    assert await world.balance(cast.purchaser) == balance + (FEE if lead["status"] == "REFUNDED" else 0)
    decisions = [step["action"] for step in await world.trail(lead_id)][2:]
    assert len(decisions) == 1
    await world.books_are_clean()


async def test_twenty_acceptances_at_once_refund_once(world: World, cast: Cast) -> None:
    lead_id = await reported(world, cast)
    balance = await world.balance(cast.purchaser)
    answers = await asyncio.gather(
        *(cast.support.post(f"/api/v1/leads/{lead_id}/accept-report", WHY) for _ in range(20))
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    assert await world.balance(cast.purchaser) == balance + FEE
    await world.books_are_clean()


async def test_a_refunded_lead_is_not_refunded_again_by_the_end_of_its_request(world: World, cast: Cast) -> None:
    lead_id = await reported(world, cast)
    (lead,) = await world.rows("lead_purchases", id=UUID(lead_id))
    await succeed(cast.support.post(f"/api/v1/leads/{lead_id}/accept-report", WHY))
    balance = await world.balance(cast.purchaser)
    await succeed(cast.customer.post(f"{PATH}/{lead['service_request_id']}/cancel", WHY))
    assert await world.balance(cast.purchaser) == balance
    await world.books_are_clean()


async def test_a_report_that_waits_is_settled_by_the_end_of_its_request(world: World, cast: Cast) -> None:
    lead_id = await reported(world, cast)
    (lead,) = await world.rows("lead_purchases", id=UUID(lead_id))
    await succeed(cast.customer.post(f"{PATH}/{lead['service_request_id']}/cancel", WHY))
    async with world.unchanged():
        answer = await cast.support.post(f"/api/v1/leads/{lead_id}/accept-report", WHY)
    assert (answer.status_code, answer.json()["current_status"]) == (409, "REFUNDED")


async def test_an_unknown_reason_is_refused(world: World, cast: Cast) -> None:
    lead_id = await bought(world, cast)
    async with world.unchanged():
        answer = await cast.purchaser.post(f"/api/v1/leads/{lead_id}/report", {"reason": "dull", "note": "x"})
    assert answer.status_code == 422


async def test_a_manager_sees_reports_of_the_own_regions(world: World, cast: Cast) -> None:
    lead_id = await reported(world, cast)
    for person, sees in ((cast.support, True), (cast.admin, True), (cast.manager, True), (cast.other_manager, False)):
        ids = {lead["id"] for lead in await listed(person, "/api/v1/leads/reported")}
        assert (lead_id in ids) == sees
    async with world.unchanged():
        assert (await cast.purchaser.get("/api/v1/leads/reported")).status_code == 403


async def test_whoever_got_the_fee_back_is_out_of_the_race(world: World, cast: Cast) -> None:
    # Given a bought lead whose report was accepted, so that the fee went back
    lead_id = await reported(world, cast)
    await succeed(world.support.post(f"/api/v1/leads/{lead_id}/accept-report", WHY))
    request_id = (await world.rows("lead_purchases", id=UUID(lead_id)))[0]["service_request_id"]
    proof = {"proof_id": await cast.purchaser.upload()}
    async with world.unchanged():
        # When the provider wants to start or to complete all the same, then that is for buyers
        answers = [
            await cast.purchaser.post(f"{PATH}/{request_id}/start"),
            await cast.purchaser.post(f"{PATH}/{request_id}/complete", proof),
        ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "not_a_purchaser")] * 2

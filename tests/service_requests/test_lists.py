"""Lists: whose they are, their filters, and pages that neither repeat nor skip a row while others are added."""

from typing import Any

from app.models.service_requests import ServiceRequestStatus as Status
from tests.service_requests.conftest import PATH, Cast, succeed
from tests.support.world import FAR_AWAY, Person, World

ADMIN = "/api/v1/admin/service-requests"


async def pages(person: Person, path: str, **filters: Any) -> list[dict[str, Any]]:
    """Everything that the list holds, page by page."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await succeed(person.get(path, params={"limit": 3} | filters | cursor))).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


async def test_the_own_list_pages_through_everything_once(world: World) -> None:
    # Given a customer with seven requests
    customer = await world.person()
    made = [await world.request(customer) for _ in range(7)]
    # When they page through the list while they post more
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await succeed(customer.get(PATH, params=params))).json()
        seen += [item["id"] for item in page["items"]]
        await world.request(customer)
        if (cursor := page["next_cursor"]) is None:
            break
    # Then each of the seven came once, newest first, and no later one got in between
    assert seen == made[::-1]


async def test_the_last_page_may_be_full(world: World) -> None:
    customer = await world.person()
    for _ in range(4):
        await world.request(customer)
    page = (await customer.get(PATH, params={"limit": 4})).json()
    assert (len(page["items"]), page["next_cursor"]) == (4, None)


async def test_the_own_list_is_the_own_and_filters_by_status(world: World, cast: Cast) -> None:
    customer = await world.person()
    kept, cancelled = await world.request(customer), await world.request(customer)
    await succeed(customer.post(f"{PATH}/{cancelled}/cancel", {"reason": "mended"}))
    await world.request(cast.customer)
    assert {item["id"] for item in await pages(customer, PATH)} == {kept, cancelled}
    assert [item["id"] for item in await pages(customer, PATH, status="CANCELLED")] == [cancelled]
    assert await pages(customer, PATH, status="EXPIRED") == []
    assert (await customer.get(PATH, params={"status": "LOST"})).status_code == 422


async def test_bad_cursors_and_limits_are_refused(cast: Cast) -> None:
    for params in ({"cursor": "%%%"}, {"cursor": "AAAA"}, {"limit": 0}, {"limit": 101}, {"offset": 1}):
        for person, path in ((cast.customer, PATH), (cast.winner, "/api/v1/leads/open"), (cast.admin, ADMIN)):
            assert (await person.get(path, params=params)).status_code == 422, (path, params)


async def test_open_leads_are_those_that_match_and_are_not_bought(world: World, cast: Cast) -> None:
    # Given a new provider, and requests here, far away, of another trade, bought, and closed
    provider = await world.provider()
    customer = await world.person()
    here, bought, closed = [await world.request(customer) for _ in range(3)]
    far = await world.request(customer, at=FAR_AWAY)
    other = await world.request(customer, service="painting", answers={"scope": "room"})
    await succeed(provider.post(f"{PATH}/{bought}/purchase"))
    await succeed(customer.post(f"{PATH}/{closed}/cancel", {"reason": "mended"}))
    await succeed(cast.winner.post(f"{PATH}/{here}/purchase"))
    # When they look through their open leads
    leads = {lead["id"]: lead for lead in await pages(provider, "/api/v1/leads/open")}
    # Then only the matching open one is there, with distance, fee and number of buyers
    assert leads.keys() & {here, bought, closed, far, other} == {here}
    lead = leads[here]
    assert (lead["fee_minor"], lead["currency"], lead["buyers_count"], lead["lead_cap"]) == (5000, "INR", 1, 5)
    assert 0 <= lead["distance_metres"] < 1000
    # and the bought one is in the other list
    assert [lead["service_request_id"] for lead in await pages(provider, "/api/v1/leads")] == [bought]


async def test_bought_leads_page_through_everything_once(world: World) -> None:
    provider, customer = await world.provider(), await world.person()
    requests = [await world.request(customer) for _ in range(5)]
    for request_id in requests:
        await succeed(provider.post(f"{PATH}/{request_id}/purchase"))
    leads = await pages(provider, "/api/v1/leads", limit=2)
    assert [lead["service_request_id"] for lead in leads] == requests[::-1]


async def test_only_providers_have_lists_of_leads(cast: Cast) -> None:
    for path in ("/api/v1/leads", "/api/v1/leads/open"):
        assert (await cast.customer.get(path)).status_code == 403
        assert (await cast.admin.get(path)).status_code == 403


async def test_staff_filter_by_every_state(world: World, cast: Cast) -> None:
    made = {status: await cast.request(status) for status in Status}
    for status, request_id in made.items():
        found = (await succeed(cast.admin.get(ADMIN, params={"status": status, "limit": 100}))).json()["items"]
        assert {item["status"] for item in found} == {status}
        assert request_id in {item["id"] for item in found}


async def test_staff_filter_by_region_age_and_provider(world: World, cast: Cast) -> None:
    customer, provider = await world.person(), await world.provider()
    old, new = await world.request(customer), await world.request(customer)
    far = await world.request(customer, at=FAR_AWAY)
    await succeed(provider.post(f"{PATH}/{new}/purchase"))
    await world.execute(
        "UPDATE service_requests SET created_at = now() - interval '40 days' WHERE id = cast(:id AS uuid)", id=old
    )

    async def found(person: Person = cast.admin, **filters: str) -> set[str]:
        items = await pages(person, ADMIN, limit=100, **filters)
        return {item["id"] for item in items} & {old, new, far}

    made_at = (await customer.get(f"{PATH}/{new}")).json()["created_at"]
    assert await found() == {old, new, far}
    assert await found(region_id=str(world.region_id)) == {old, new}
    assert await found(provider_id=str(provider.id)) == {new}
    assert await found(provider_id=str(provider.id), status="PENDING") == set()
    assert await found(created_before=made_at) == {old}
    assert await found(created_after=made_at) == {far}
    assert await found(region_id=str(world.region_id), created_before=made_at) == {old}
    assert (await cast.admin.get(ADMIN, params={"created_before": "2026-01-01T00:00:00"})).status_code == 422
    # Managers see their own regions, support sees all, others none
    assert await found(cast.manager) == {old, new}
    assert await found(cast.other_manager) == {far}
    assert await found(cast.other_manager, region_id=str(world.region_id)) == set()
    assert await found(cast.support) == {old, new, far}
    for person in (cast.customer, cast.winner, cast.stranger):
        assert (await person.get(ADMIN)).status_code == 403

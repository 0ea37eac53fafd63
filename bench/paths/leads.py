"""Service requests, and the leads that providers buy."""

from collections.abc import Sequence

from bench.flows import open_leads
from bench.paths.asking import COUNT, REASON, Question, person
from bench.paths.town import Town
from bench.world import ANSWERS, HERE


async def questions(town: Town) -> Sequence[Question]:
    """In an order in which each finds what it needs: a request is bought, started, completed, approved."""
    world = town.world
    fresh = await open_leads(world, town.market, COUNT)
    bought = await world.requests(COUNT)
    own = world.readable[:COUNT]
    wanted = {
        "service_id": world.service_id, "description": "The tap drips.", "answers": ANSWERS,
        "address": "12 Karve Road", "position": HERE.model_dump(),
    }  # fmt: skip
    customer, provider = person(world, "customer_id"), person(world, "provider_id", "provider")
    one = "service-requests/{id}"
    complete = provider.post(f"{one}/complete", lambda made: {"proof_id": made.proof_id})
    return [
        Question("post a request", customer.post("service-requests", wanted, once=True), fresh),
        Question("read an own request", customer.get(one), own),
        Question("own requests", customer.get("service-requests"), own),
        Question("open leads near me", provider.get("leads/open"), fresh),
        Question("read an open lead", provider.get(one), fresh),
        Question("buy a lead", provider.post(f"{one}/purchase", once=True), fresh),
        Question("start", provider.post(f"{one}/start"), bought),
        Question("complete", complete, bought),
        Question("send back", customer.post(f"{one}/send-back", REASON), bought[: COUNT // 2]),
        Question("approve", customer.post(f"{one}/approve"), bought[COUNT // 2 :]),
        Question("cancel, fees go back", customer.post(f"{one}/cancel", REASON), fresh),
        Question("bought leads", provider.get("leads"), bought),
    ]

"""What is measured against the limit: one entry for each hot path. A new flow joins by an entry here, and one in
`bench/limit.py` under the path that it names.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from bench.stage import request, token
from bench.work import Market, Offer, Order, Talk
from bench.world import Made, World

TEXT: Final = "The tap in the kitchen drips again. Could you come on Thursday afternoon?"


@dataclass(frozen=True)
class Path:
    """One path: the subjects of its requests, and what is asked about each."""

    name: str
    subjects: Callable[[World, Market, int], Awaitable[Sequence[Any]]]
    product: Callable[[World, Any], bytes]
    uses_up: bool = field(default=False, kw_only=True)
    """Each request needs a subject of its own."""


@dataclass(frozen=True)
class Flow(Path):
    """A path that is measured against the limit."""

    limit: Callable[[Any], bytes]
    crowded: bool = field(default=False, kw_only=True)
    """It is measured with a crowd of connections too."""
    only_looks: bool = field(default=False, kw_only=True)
    """It changes nothing, so that both sides have to answer the same."""


async def readable(world: World, _: Market, __: int) -> Sequence[Made]:
    return world.readable


async def _bought(world: World, _: Market, count: int) -> Sequence[Made]:
    return await world.requests(count)


async def open_leads(world: World, _: Market, count: int) -> Sequence[Made]:
    """Each with the provider who is to buy it."""
    fresh = await world.requests(count, status="PENDING", buyers=0, near=True)
    buyers = world.providers
    return [made._replace(provider_id=buyers[n % len(buyers)].id) for n, made in enumerate(fresh)]


async def _orders(_: World, market: Market, count: int) -> Sequence[Order]:
    return await market.orders(count)


async def _offers(_: World, market: Market, count: int) -> Sequence[Offer]:
    return await market.offers(count)


async def _talks(_: World, market: Market, __: int) -> Sequence[Talk]:
    return await market.talks()


def as_person(world: World, user_id: UUID | None, *roles: str) -> str:
    assert user_id is not None
    return token(world.person(user_id), "customer", *roles)


READ: Final = Flow(
    "read one request",
    readable,
    lambda world, made: request(
        "GET", f"/api/v1/service-requests/{made.id}", bearer=as_person(world, made.customer_id)
    ),
    lambda made: request("GET", f"/read/{made.customer_id}/{made.id}"),
    crowded=True,
    only_looks=True,
)
LIST: Final = Flow(
    "list 20 own requests",
    readable,
    lambda world, made: request("GET", "/api/v1/service-requests", bearer=as_person(world, made.customer_id)),
    lambda made: request("GET", f"/list/{made.customer_id}/-"),
    crowded=True,
    only_looks=True,
)
COMPLETE: Final = Flow(
    "complete a lead",
    _bought,
    lambda world, made: request(
        "POST",
        f"/api/v1/service-requests/{made.id}/complete",
        bearer=as_person(world, made.provider_id, "provider"),
        body={"proof_id": made.proof_id},
    ),
    lambda made: request("POST", f"/complete/{made.provider_id}/{made.id}", body={"proof_id": made.proof_id}),
    uses_up=True,
    crowded=True,
)
BUY_LEAD: Final = Flow(
    "buy a lead",
    open_leads,
    lambda world, made: request(
        "POST", f"/api/v1/service-requests/{made.id}/purchase", bearer=as_person(world, made.provider_id, "provider")
    ),
    lambda made: request("POST", f"/buy-lead/{made.provider_id}/{made.id}"),
    uses_up=True,
)
BUY_ORDER: Final = Flow(
    "buy a work order",
    _offers,
    lambda world, offer: request(
        "POST",
        "/api/v1/work-orders",
        bearer=as_person(world, offer.buyer_id),
        body={"advertised_service_id": offer.service_id, "revision": 1},
    ),
    lambda offer: request("POST", f"/buy-order/{offer.buyer_id}/{offer.service_id}", body={"revision": 1}),
    uses_up=True,
)
APPROVE: Final = Flow(
    "approve a work order",
    _orders,
    lambda world, order: request(
        "POST", f"/api/v1/work-orders/{order.id}/approve", bearer=as_person(world, order.advertiser_id, "advertiser")
    ),
    lambda order: request("POST", f"/approve/{order.advertiser_id}/{order.id}"),
    uses_up=True,
)
SEND: Final = Flow(
    "send a message",
    _talks,
    lambda world, talk: request(
        "POST",
        f"/api/v1/conversations/{talk.id}/messages",
        bearer=as_person(world, talk.sender_id),
        body={"text": TEXT},
    ),
    lambda talk: request("POST", f"/send/{talk.sender_id}/{talk.id}", body={"text": TEXT}),
)
FLOWS: Final = (READ, LIST, COMPLETE, BUY_LEAD, BUY_ORDER, APPROVE, SEND)

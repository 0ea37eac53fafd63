"""Work orders, from the purchase to the verdict, and their statistics."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from bench.paths.asking import COUNT, REASON, Question, person
from bench.paths.town import Town
from bench.work import Order

_WAITING: Final = 3_200
_IMAGES: Final = """
INSERT INTO files (id, owner_id, purpose, content_type, size_bytes, sha256)
SELECT uuidv7(), id, 'evidence', 'image/jpeg', 1000, '' FROM unnest($1::uuid[]) WITH ORDINALITY AS booster (id, n)
ORDER BY n
RETURNING id
"""


class _Work(NamedTuple):
    """A work order with what its booster has to show for it."""

    id: UUID
    buyer_id: UUID
    advertiser_id: UUID
    booster_id: UUID
    image_id: UUID


async def questions(town: Town) -> Sequence[Question]:
    """In an order in which each finds what it needs: an order is assigned, done, looked at, approved, rated."""
    waiting = await town.market.orders(_WAITING)
    boosters = {order.booster_id for order in waiting}
    await town.appoint([town.world.person(booster_id) for booster_id in boosters], "booster")
    seen, offers = waiting[:COUNT], await town.market.offers(COUNT)
    work = await _with_images(town, await town.market.orders(COUNT, "PENDING"))
    good, bad = work[: COUNT // 2], work[COUNT // 2 :]
    called_off = await town.market.orders(COUNT, "PENDING")
    buyer, booster = person(town.world, "buyer_id"), person(town.world, "booster_id", "booster")
    advertiser = person(town.world, "advertiser_id", "advertiser")
    one = "work-orders/{id}"
    return [
        Question(
            "buy",
            buyer.post(
                "work-orders", lambda offer: {"advertised_service_id": offer.service_id, "revision": 1}, once=True
            ),
            offers,
        ),
        Question("assign", advertiser.post(f"{one}/assign", lambda order: {"booster_id": order.booster_id}), work),
        Question("start", booster.post(f"{one}/start"), work),
        Question(
            "submit evidence",
            booster.post(f"{one}/submit", lambda order: {"image_ids": [order.image_id], "notes": "Done in time."}),
            work,
        ),
        Question("take under review", advertiser.post(f"{one}/open-review"), work),
        Question("approve", advertiser.post(f"{one}/approve", once=True), good),
        Question("rate", buyer.post(f"{one}/rate", {"rating": 5}), good),
        Question("reject", advertiser.post(f"{one}/reject", REASON), bad),
        Question("dispute", buyer.post(f"{one}/dispute", REASON), bad),
        Question("cancel, the price goes back", buyer.post(f"{one}/cancel", REASON, once=True), called_off),
        Question("read one", buyer.get(one), seen),
        Question("rounds of evidence", advertiser.get(f"{one}/evidence"), seen),
        Question("bought", buyer.get("work-orders"), seen),
        Question("bought, in one status", buyer.get("work-orders?status=EVIDENCE_SUBMITTED"), seen),
        Question("done as a booster", booster.get("work-orders?side=booster"), seen),
        Question("sold as an advertiser", advertiser.get("work-orders?side=advertiser"), seen),
        Question("to review for the team", advertiser.get("work-orders?side=team"), seen),
        Question("to review", advertiser.get("work-orders/to-review"), seen),
        Question("statistics of a booster", booster.get("work-orders/statistics/booster"), work),
        Question("statistics of an advertiser", advertiser.get("work-orders/statistics/advertiser"), seen),
    ]


async def _with_images(town: Town, orders: Sequence[Order]) -> list[_Work]:
    images = await town.fetch(_IMAGES, [order.booster_id for order in orders])
    return [_Work(*order, image["id"]) for order, image in zip(orders, images, strict=True)]

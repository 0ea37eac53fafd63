"""Services at a fixed price: looking for one, and what advertisers do with theirs."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from bench.paths.asking import COUNT, NOBODY, Question, person
from bench.paths.town import Town
from bench.work import CURRENCY, PRICE_MINOR

_ON_SALE: Final = 3_200
_MADE: Final = """
INSERT INTO advertised_services (id, advertiser_id, status, title, description, price_minor, currency)
SELECT uuidv7(), ($2::uuid[])[n % cardinality($2::uuid[]) + 1], 'ACTIVE', 'Run ' || n || ' through a dungeon',
       'In time, or your money back. Number ' || n % 97 || ' of ninety-seven.', $3::bigint + n % 900, $4
FROM generate_series(1, $1::int) n
RETURNING id, advertiser_id
"""


class _Service(NamedTuple):
    id: UUID
    advertiser_id: UUID


async def questions(town: Town) -> Sequence[Question]:
    await town.market.services()
    sellers = [each.id for each in town.world.providers]
    rows = await town.fetch(_MADE, _ON_SALE, sellers, PRICE_MINOR, CURRENCY)
    about = [_Service(**row) for row in rows[:COUNT]]
    advertiser = person(town.world, "advertiser_id", "advertiser")
    offer = {"title": "A dungeon run", "description": "In time.", "price_minor": PRICE_MINOR, "currency": CURRENCY}
    every, own = "advertised-services", "me/advertised-services"
    between = f"currency={CURRENCY}&price_from_minor=200&price_to_minor=250"
    return [
        Question("on sale", NOBODY.get(every), about),
        Question("search by words", NOBODY.get(f"{every}?words=dungeon%20ninety"), about),
        Question("search by rare words", NOBODY.get(f"{every}?words=Run%20777"), about),
        Question("search by price", NOBODY.get(f"{every}?{between}"), about),
        Question("of one advertiser", NOBODY.get(f"{every}?advertiser_id={{advertiser_id}}"), about),
        Question("read one", NOBODY.get(f"{every}/{{id}}"), about),
        Question("own", advertiser.get(own), about),
        Question("read an own one", advertiser.get(f"{own}/{{id}}"), about),
        Question("publish", advertiser.post(every, offer, once=True), about),
        Question("change", advertiser.put(f"{every}/{{id}}", offer | {"revision": 1}), about),
        Question("pause", advertiser.post(f"{every}/{{id}}/pause"), about),
        Question("resume", advertiser.post(f"{every}/{{id}}/resume"), about),
        Question("archive", advertiser.post(f"{every}/{{id}}/archive"), about),
    ]

"""Conversations about service requests, and what is written in them."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from bench.flows import TEXT
from bench.paths.asking import COUNT, Question, person
from bench.paths.town import Town

_TALKS: Final = slice(640, 1_280)
"""Of what can be talked about: the market's conversations are about those before."""
_WRITTEN: Final = 30
_MADE: Final = """
WITH talks AS MATERIALIZED (
    SELECT uuidv7() AS id, *
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS talk (subject_id, customer_id, provider_id)
), made AS (
    INSERT INTO conversations (id, subject_type, subject_id, counterpart_id, region_id, last_number)
    SELECT id, 'service_request', subject_id, provider_id, $4, $5::int FROM talks
), written AS (
    INSERT INTO messages (id, conversation_id, number, sender_id, text, image_ids)
    SELECT uuidv7(), talks.id, number, CASE WHEN number % 2 = 0 THEN customer_id ELSE provider_id END, $6, '{}'
    FROM talks, generate_series(1, $5::int) number
    RETURNING id, conversation_id, number
), joined AS (
    INSERT INTO conversation_participants (conversation_id, user_id, read_number, unread_count, activity_id)
    SELECT talks.id, user_id, $5::int - 6, 3, written.id
    FROM talks JOIN written ON conversation_id = talks.id AND number = $5::int,
         unnest(ARRAY[customer_id, provider_id]) AS user_id
)
SELECT id, subject_id, customer_id, provider_id FROM talks
"""


class _Talk(NamedTuple):
    id: UUID
    subject_id: UUID
    customer_id: UUID
    provider_id: UUID


async def questions(town: Town) -> Sequence[Question]:
    talked = town.world.readable[_TALKS]
    ids = ([made.id for made in talked], [made.customer_id for made in talked], [made.provider_id for made in talked])
    rows = await town.fetch(_MADE, *ids, town.world.region_id, _WRITTEN, TEXT)
    about = [_Talk(**row) for row in rows][:COUNT]
    customer, provider = person(town.world, "customer_id"), person(town.world, "provider_id", "provider")
    one = "conversations/{id}"
    return [
        Question("own conversations", customer.get("conversations"), about),
        Question("conversations about one", customer.get("conversations?subject_id={subject_id}"), about),
        Question("read one", customer.get(one), about),
        Question("messages", provider.get(f"{one}/messages"), about),
        Question("open the one that is there", customer.post("conversations", _wanted), about),
        Question("send", customer.post(f"{one}/messages", {"text": TEXT}), about),
        Question("mark as read", provider.put(f"{one}/read", {"number": _WRITTEN + 1}), about),
        Question("whom one has blocked", customer.get("me/blocks"), about),
    ]


def _wanted(talk: _Talk) -> object:
    return {"subject_type": "service_request", "subject_id": talk.subject_id, "counterpart_id": talk.provider_id}

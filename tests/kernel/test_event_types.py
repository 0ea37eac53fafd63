"""Which events a word stands for: a name, a family, or all."""

import pytest
from sqlalchemy import ARRAY, Text, bindparam, select

from app.core.database import Statement
from app.kernel import event_types
from app.kernel.event_types import EventTypeUnknown
from tests.support.world import World


@pytest.mark.parametrize(
    ("types", "answers"),
    [
        (["service_request.created"], True),
        (["service_request.*"], True),
        (["*"], True),
        (["payment.*", "service_request.*"], True),
        ([], False),
        (["service_request.expired"], False),
        (["payment.*"], False),
        (["service_request"], False),
        (["service_request.created.*"], False),
        (["created.*"], False),
        ([".*"], False),
    ],
)
async def test_an_event_answers_to_its_name_its_family_and_the_word_for_all(
    world: World, types: list[str], answers: bool
) -> None:
    name, wanted = bindparam("name", type_=Text), bindparam("types", type_=ARRAY(Text))
    statement = Statement(select(event_types.matches(name, wanted)))
    async with world.platform.database.read() as session:
        assert await session.scalar(statement, name="service_request.created", types=types) is answers


def test_names_families_and_the_word_for_all_are_known() -> None:
    event_types.check(["service_request.created", "service_request.*", "*"])


def test_words_that_no_event_answers_to_are_named_in_their_order() -> None:
    with pytest.raises(EventTypeUnknown) as refusal:
        event_types.check(["service_request.creatd", "service_request.*", "created.*", "service_request", "*"])
    assert refusal.value.extra == {"event_types": ["created.*", "service_request", "service_request.creatd"]}

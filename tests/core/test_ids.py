"""Identifiers that sort by the time of their birth and cannot be guessed."""

import time
from itertools import pairwise
from uuid import RFC_4122, uuid4

import pytest

from app.core.ids import born_at, first_of, uuid7


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = [uuid7() for _ in range(1000)]
    assert {(uuid.version, uuid.variant) for uuid in made} == {(7, RFC_4122)}


def test_an_id_tells_the_millisecond_of_its_birth() -> None:
    before = time.time_ns() // 1_000_000
    born = uuid7().int >> 80
    assert before <= born <= time.time_ns() // 1_000_000


def test_the_birth_of_an_id_is_told_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.ids.time.time_ns", lambda: 1_800_000_000_123_456_789)
    assert born_at(uuid7()) == 1_800_000_000.123


def test_an_id_of_another_version_tells_no_birth() -> None:
    with pytest.raises(ValueError, match="UUIDv7"):
        born_at(uuid4())


def test_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for millisecond in (1, 2, 1000, 1_800_000_000_000, 2**47):
        monkeypatch.setattr("app.core.ids.time.time_ns", lambda at=millisecond: at * 1_000_000)
        made.append(uuid7())
    assert all(earlier < later for earlier, later in pairwise(made))


def test_ids_of_one_millisecond_have_nothing_in_common_but_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.ids.time.time_ns", lambda: 1_800_000_000_000_000_000)
    made = [uuid7().int for _ in range(2000)]
    assert len(set(made)) == 2000
    # Each of the 74 random bits is now one, now zero.
    ones = zeros = 0
    for value in made:
        ones |= value
        zeros |= ~value
    random_bits = (0xFFF << 64) | (2**62 - 1)
    assert ones & zeros & random_bits == random_bits


def test_the_first_of_a_time_lies_between_what_was_made_before_and_what_was_made_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    for milliseconds in (1_800_000_000_122, 1_800_000_000_123):
        monkeypatch.setattr("app.core.ids.time.time_ns", lambda now=milliseconds: now * 1_000_000)
        made.append(uuid7())
    assert made[0] < first_of(1_800_000_000.1235) <= made[1]


def test_times_that_no_id_can_have_are_before_all_and_behind_all() -> None:
    assert first_of(-1.0) < uuid7() < first_of(1e18)

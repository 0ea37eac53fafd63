"""Parts of money: exact, with integers only, whatever the amounts (money.md: What moves). And amounts for people."""

import itertools
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.money import AMOUNT_LIMIT, commission, shown, split

amounts = st.integers(0, AMOUNT_LIMIT)
rates = st.integers(0, 10_000)
shares = st.lists(st.integers(0, AMOUNT_LIMIT), min_size=1, max_size=20).filter(any)


@pytest.mark.parametrize(
    ("amount", "rate", "expected"),
    [(1000, 1000, 100), (5, 1000, 0), (15, 1000, 2), (25, 1000, 2), (35, 1000, 4), (6, 1000, 1), (0, 1000, 0),
     (99, 10_000, 99), (99, 0, 0), (1, 5000, 0), (3, 5000, 2), (AMOUNT_LIMIT, 1, AMOUNT_LIMIT // 10_000)],
)  # fmt: skip
def test_a_commission_is_rounded_half_even(amount: int, rate: int, expected: int) -> None:
    assert commission(amount, rate) == expected


@given(amounts, rates)
def test_a_commission_is_what_decimals_say_and_a_whole_number(amount: int, rate: int) -> None:
    found = commission(amount, rate)
    assert type(found) is int
    assert found == (Decimal(amount) * rate / 10_000).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert 0 <= found <= amount


@given(amounts, amounts, rates, rates)
def test_a_commission_grows_with_the_amount_and_with_the_rate(a: int, b: int, low: int, high: int) -> None:
    assert commission(min(a, b), low) <= commission(max(a, b), low)
    assert commission(a, min(low, high)) <= commission(a, max(low, high))


@pytest.mark.parametrize(("amount", "rate"), [(-1, 1000), (100, -1), (100, 10_001)])
def test_there_is_no_commission_on_less_than_nothing_nor_above_the_whole(amount: int, rate: int) -> None:
    with pytest.raises(ValueError, match="no commission"):
        commission(amount, rate)


@pytest.mark.parametrize(
    ("amount", "wanted", "expected"),
    [(100, [1, 1, 1], [34, 33, 33]), (2, [1, 1, 1], [1, 1, 0]), (100, [50, 30, 20], [50, 30, 20]),
     (10, [0, 1], [0, 10]), (0, [3, 4], [0, 0]), (7, [5], [7]), (101, [1, 2], [34, 67])],
)  # fmt: skip
def test_what_rounding_leaves_over_goes_to_the_largest_remainders(
    amount: int, wanted: list[int], expected: list[int]
) -> None:
    assert split(amount, wanted) == expected


@given(amounts, shares)
def test_parts_add_up_and_each_is_within_one_minor_unit_of_its_share(amount: int, wanted: list[int]) -> None:
    parts = split(amount, wanted)
    assert {type(part) for part in parts} == {int}
    assert sum(parts) == amount
    for part, share in zip(parts, wanted, strict=True):
        assert abs(part - Fraction(amount * share, sum(wanted))) < 1
        assert share or not part


@given(amounts, shares)
def test_a_larger_share_never_gets_less(amount: int, wanted: list[int]) -> None:
    pairs = sorted(zip(wanted, split(amount, wanted), strict=True))
    for (small, of_small), (large, of_large) in itertools.pairwise(pairs):
        assert of_small <= of_large or small == large


@given(amounts, shares)
def test_splitting_is_deterministic_and_equal_shares_differ_by_one_at_most(amount: int, wanted: list[int]) -> None:
    parts = split(amount, wanted)
    assert parts == split(amount, tuple(wanted))
    for share in set(wanted):
        equal = [part for part, of in zip(parts, wanted, strict=True) if of == share]
        assert equal == sorted(equal, reverse=True)
        assert max(equal) - min(equal) <= 1


@pytest.mark.parametrize(("amount", "wanted"), [(-1, [1]), (1, [2, -1]), (1, []), (1, [0, 0])])
def test_what_cannot_be_split_is_refused(amount: int, wanted: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        split(amount, wanted)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "words"),
    [
        (1, "INR", "₹0.01"),
        (100, "INR", "₹1.00"),
        (99_999, "INR", "₹999.99"),
        (100_000, "INR", "₹1,000.00"),
        (123_450, "INR", "₹1,234.50"),
        (9_999_999, "INR", "₹99,999.99"),
        (10_000_000, "INR", "₹1,00,000.00"),
        (1_234_567_89, "INR", "₹12,34,567.89"),
        (100_000_000_005, "INR", "₹1,00,00,00,000.05"),
        (-123_450, "INR", "-₹1,234.50"),
        (0, "INR", "₹0.00"),
        (123_456_789, "EUR", "EUR 1,234,567.89"),
        (500, "GOLD", "GOLD 5.00"),
    ],
)
def test_amounts_are_written_as_people_write_them(amount_minor: int, currency: str, words: str) -> None:
    assert shown(amount_minor, currency) == words

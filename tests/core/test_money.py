"""Amounts for people: the Indian grouping for rupees, the code before all else."""

import pytest

from app.core.money import shown


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

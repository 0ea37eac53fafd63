"""One text message holds 160 characters of the GSM alphabet, or 70 places of Unicode."""

import unicodedata

import pytest

from app.core.texts import one_text_message


def places(words: str) -> int:
    return len(words.encode("utf-16-be")) // 2


@pytest.mark.parametrize("words", ["", "x" * 160, "Your bill: £5 @ Åse", "€" * 80, "क" * 70, "😀" * 35, "₹" + "x" * 69])
def test_what_fits_stays_as_it_is(words: str) -> None:
    assert one_text_message(words) == words


@pytest.mark.parametrize(
    ("words", "shortened"),
    [
        ("x" * 161, "x" * 157 + "..."),
        ("€" * 81, "€" * 78 + "..."),  # each takes two places
        ("😀" * 36, "😀" * 34 + "…"),  # two places in UTF-16, too
        ("₹" + "x" * 70, "₹" + "x" * 68 + "…"),  # one such sign makes it a message of 70
        ("word " * 40, ("word " * 31).rstrip() + "..."),
        ("x" * 150 + " and more words", "x" * 150 + " and..."),
    ],
)
def test_what_does_not_fit_is_cut_at_a_word(words: str, shortened: str) -> None:
    assert one_text_message(words) == shortened


@pytest.mark.parametrize("start", range(6))
def test_hindi_is_never_cut_between_a_letter_and_its_signs(start: int) -> None:
    words = "x" * start + "क्षत्रियों" * 20
    shortened = one_text_message(words)
    assert places(shortened) <= 70
    assert shortened.endswith("…")
    kept = shortened[:-1]
    assert words.startswith(kept)
    assert unicodedata.category(words[len(kept)])[0] != "M"
    assert not kept.endswith("\u094d")


def test_signs_without_end_leave_at_least_something_that_can_be_sent() -> None:
    assert one_text_message("क" + "\u093c" * 200) == "…"

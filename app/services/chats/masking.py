"""Masking contact details: telephone numbers, mail and web addresses, handles in any spelling (realtime.md: Chat).

Strict on purpose: while nobody has paid, a list of prices that is hidden costs less than a number that gets through.
What is spread over several messages, or described in words of one's own, gets through.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

HIDDEN: Final = "[hidden]"
"""Stands in for what was masked; its letters keep apart the digits on both sides of it."""
DIGITS_HIDDEN: Final = 7
"""As many digits in a row are masked, or more, whatever punctuation stands between them."""

_FOLDED: Final = 4
_PASSES: Final = 8
_LOOK_ALIKES: Final = frozenset("oil")
_DIGITS: Final = re.compile(r"\d+|(?<![oil])[oil]++(?=\d)|(?<=\d)[oil]+")
"""Digits, and what may stand in for some beside them."""
_GAP: Final = r"[\s()\[\]{}<>_*-]{1,5}"
_TOP: Final = (
    "com|in|net|org|co|io|me|app|link|ly|gl|info|biz|dev|xyz|online|site|shop|store|page|club|live|pro|tv|cc|uk|us|gg"
)
_ADDRESSES: Final = tuple(
    (re.compile(needed), re.compile(pattern))
    for needed, pattern in (
        ("://", r"[a-z][a-z0-9+.-]{1,20}://\S+"),
        (r"www\.", r"\bwww\.\S+"),
        ("@", r"(?:[\w.+-]{1,64}\s{0,3})?@\s{0,3}[^\W\d][\w.-]*"),
        ("@", r"[\w.+-]{1,64}@[\w.-]+"),
        # Of the word before it the last character: a hyphen may belong to the word or to the gap, and trying both for
        # each of many takes half a second. `_name_before` finds the rest.
        ("dot", rf"[\w-]{_GAP}dot{_GAP}(?:{_TOP})\b"),
        (rf"\.(?:{_TOP})\b", rf"\b[\w-]{{1,64}}(?:\.[\w-]{{1,64}}){{0,5}}\.(?:{_TOP})\b(?:/\S*)?"),
    )
)
_AT: Final = re.compile(rf"[\w.+-]{_GAP}at{_GAP}\Z")
_AT_LENGTH: Final = 13
_WORD_LENGTH: Final = 64


class _Plain(NamedTuple):
    """The text as a reader takes it, and where in the original each of its characters stands."""

    text: str
    places: Sequence[int]


def masked(text: str) -> str:
    """The text with `HIDDEN` in the place of each contact detail; the same text where there is none.

    Once more over what it leaves, until nothing is found: taking one thing away may bring two others together. A text
    that was made to go on like that is hidden whole. It runs between other requests, so its time is bounded, too.
    """
    for _ in range(_PASSES):
        spans = _spans(_plain(text))
        if not spans:
            return text
        for start, end in reversed(spans):
            text = text[:start] + HIDDEN + text[end:]
    return HIDDEN


def _plain(text: str) -> _Plain:
    """Folded: wide, circled and Indian digits become ASCII, capitals small, and what nobody sees is left out."""
    if text.isascii():
        return _Plain(text.lower(), range(len(text)))
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        # Ligatures of whole phrases hold no contact detail: letters enough to be something else are taken of them.
        for folded in unicodedata.normalize("NFKC", character).casefold()[:_FOLDED]:
            # Invisible: joiners, marks of direction, selectors of a font, keycaps around a digit.
            if unicodedata.category(folded) in {"Cf", "Me"} or "\ufe00" <= folded <= "\ufe0f":
                continue
            value = unicodedata.digit(folded, None)
            characters.append(folded if value is None else str(value))
            places.append(place)
    return _Plain("".join(characters), places)


def _digits_of(words: str, digits: int) -> dict[str, int]:
    return {_plain(word).text: digits for word in words.split()}


_WORDS: Final = _digits_of(
    "zero one two three four five six seven eight nine double twenty thirty forty fourty fifty sixty seventy eighty"
    " ninety shunya shoonya ek do teen tin char chaar paanch panch chhe chhah chheh saat sat aath nau nou"
    " शून्य जीरो ज़ीरो एक दो तीन चार पाँच पांच पाच छह छः छे सात आठ नौ वन टू थ्री फोर फाइव सिक्स सेवन एट नाइन डबल",
    1,
) | _digits_of("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen triple ट्रिपल", 2)
"""How many digits a word stands for, at least."""
_DIGITS_OF_A_WORD: Final = max(_WORDS.values())
_WORD: Final = re.compile("|".join(sorted(map(re.escape, _WORDS), key=len, reverse=True)))


def _spans(plain: _Plain) -> list[tuple[int, int]]:
    """What is to be masked in the original, in its order and without overlaps."""
    text = plain.text
    addresses = (match for needed, pattern in _ADDRESSES if needed.search(text) for match in pattern.finditer(text))
    found = [(_name_before(text, match.start()), match.end()) for match in addresses]
    found += _rows_of_digits(text)
    joined: list[tuple[int, int]] = []
    for start, end in sorted((plain.places[start], plain.places[end - 1] + 1) for start, end in found):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _name_before(text: str, start: int) -> int:
    """Where an address begins of which something was found here: at its word, or at whose it is (`asha at …`)."""
    start = _word_start(text, start)
    at = _AT.search(text, max(0, start - _AT_LENGTH), start)
    return start if at is None else _word_start(text, at.start())


def _word_start(text: str, place: int) -> int:
    first = max(0, place - _WORD_LENGTH)
    while place > first and (text[place - 1].isalnum() or text[place - 1] in "_.+-"):
        place -= 1
    return place


def _rows_of_digits(text: str) -> list[tuple[int, int]]:
    """Rows of digits, number words and letters that stand in for digits, with punctuation or a lone letter between."""
    if _digits_at_most(text) < DIGITS_HIDDEN:
        return []
    rows: list[tuple[int, int]] = []
    start = end = count = place = 0
    while place < len(text):
        length, digits, ends_row = _token(text, place)
        if digits:
            start = start if count else place
            count, end = count + digits, place + length
        place += length
        if ends_row or place >= len(text):
            if count >= DIGITS_HIDDEN:
                while start and text[start - 1] in "+(":
                    start -= 1
                rows.append((start, end))
            count = 0
    return rows


def _digits_at_most(text: str) -> int:
    """No fewer than there are, found at a glance: in most messages that is too few for a row."""
    return sum(map(len, _DIGITS.findall(text))) + _DIGITS_OF_A_WORD * len(_WORD.findall(text))


def _token(text: str, place: int) -> tuple[int, int, bool]:
    """What begins here: its length, for how many digits it stands, and whether it ends a row of them."""
    if text[place].isdigit():
        return 1, 1, False
    if not _is_letter(text[place]):
        return 1, 0, False
    if word := _WORD.match(text, place):
        return len(word.group()), _WORDS[word.group()], False
    end = place
    while end < len(text) and _is_letter(text[end]):
        end += 1
    beside_a_digit = text[end : end + 1].isdigit() or text[place - 1 : place].isdigit()
    if beside_a_digit and _LOOK_ALIKES.issuperset(text[place:end]):
        return end - place, end - place, False
    return end - place, 0, end - place > 1


def _is_letter(character: str) -> bool:
    """Vowel signs of Indian scripts are no letters to Unicode, but parts of one."""
    return character.isalpha() or unicodedata.category(character).startswith("M")

"""What fits into one text message: 160 characters of the GSM alphabet, or 70 of any other."""

import unicodedata
from typing import Final

_GSM: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_ESCAPED: Final = frozenset("\f^{}\\[~]|€")
"""They take two places."""
_GSM_PLACES: Final = 160
_UCS2_PLACES: Final = 70
_VIRAMA: Final = frozenset("\u094d\u09cd\u0a4d\u0acd\u0bcd\u0c4d\u0ccd\u0d4d")
_JOINERS: Final = frozenset("\u200c\u200d")


def one_text_message(words: str) -> str:
    """The words, shortened to what one text message holds, at the end of a word if there is one.

    One character outside of the GSM alphabet, such as any of Hindi, makes the whole message one of 70 places, in which
    what lies outside of Unicode's first plane takes two. No letter is parted from its signs.
    """
    is_gsm = all(character in _GSM or character in _GSM_ESCAPED for character in words)
    places, dots = (_GSM_PLACES, "...") if is_gsm else (_UCS2_PLACES, "…")
    if _taken(words, is_gsm) <= places:
        return words
    end = len(words)
    while _taken(words[:end], is_gsm) > places - len(dots) or not _may_end(words, end):
        end -= 1
    space = words.rfind(" ", 0, end + 1)
    # A word that takes half of the message is cut: more is lost without it than with a piece of it.
    return words[: space if space > end // 2 else end].rstrip() + dots


def _taken(words: str, is_gsm: bool) -> int:
    if is_gsm:
        return len(words) + sum(character in _GSM_ESCAPED for character in words)
    return len(words.encode("utf-16-be")) // 2


def _may_end(words: str, end: int) -> bool:
    """Whether a letter and all of its signs end here."""
    if end == 0:
        return True
    following, last = words[end : end + 1], words[end - 1]
    continues = bool(following) and (unicodedata.category(following).startswith("M") or following in _JOINERS)
    return not continues and last not in _VIRAMA and last not in _JOINERS

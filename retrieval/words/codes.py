"""Makes terms of words with letters and digits: quantities in parts, model numbers whole and in parts.

18v -> 18 v     2x4 -> 2 x 4     AB-1234 -> ab1234 ab 1234     WH-1000XM5 -> wh1000xm5 1000xm5 wh 1000 xm 5
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import regex

_AMOUNT = r"\d[\d./]*(?:-\d+/\d+)?"
#: A quantity ("18v", "12-gauge") or dimensions ("2x4x8ft", "x2-1/2"): as a whole it is nobody's name.
_QUANTITY = regex.compile(
    rf"x?{_AMOUNT}(?:[-_]?[^\W\d_]\D*)?|x?{_AMOUNT}(?:[a-z]{{0,2}}[-_]?x[-_]?{_AMOUNT})+[-_]?[^\W\d_]*"
)
_SEPARATOR = regex.compile("[-_]")
LONGEST = 64
#: Letters beside digits that may be a misspelled word ("contracto0r"); fewer are part of a code.
SHORTEST_MISSPELLED = 5
#: Characters of a code that may be a name which people and vectors know: ps5, mp3, wd40.
LONGEST_NAME = 6


def names(word: str) -> list[str]:
    """Return the model numbers in `word`: all of it without hyphens, and the pieces that mix letters and digits."""
    pieces = _SEPARATOR.split(word)
    if len(word) > LONGEST or _QUANTITY.fullmatch(word):
        return []
    if not _mixed(word):
        return ["".join(pieces)] if len(pieces) > 2 and all(map(str.isdigit, pieces)) else []  # 978-3-16-148410-0
    whole = ["".join(pieces)]
    mixed = [piece for piece in pieces if _mixed(piece) and not _QUANTITY.fullmatch(piece)] if len(pieces) > 1 else []
    return whole + mixed


def asked(word: str, parts: Sequence[str], known: Container[str]) -> list[str]:
    """Return which of the `parts` of `word` to ask for, where it mixes letters and digits.

    Those that are known, if they are most of it; a digit alone is not, and never speaks for a word of many parts. Else
    8f3a9c1e77 would find whatever is number 8, 3 or 9. A word of letters that is not known is left to the speller.
    """
    few = len(parts) <= 3 or _QUANTITY.fullmatch(word) is not None
    found = [part for part in parts if part in known and (few or len(part) > 1)]
    length = sum(len(part) for part in parts)
    if found and 2 * sum(len(part) for part in found if len(part) > 1 or length <= 4 or few) >= length:
        return [part for part in parts if part in found or (few and part.isalpha())]
    return [part for part in parts if part.isalpha() and len(part) >= SHORTEST_MISSPELLED] if few else []


def is_unknown(word: str, parts: Sequence[str], known: Container[str]) -> bool:
    """Tell whether `word` is a code, no quantity or hyphenated word, and nothing of it that mixes is known."""
    if is_plain(word, parts) or _QUANTITY.fullmatch(word):
        return False
    return not any(name in known for name in names(word))


def has_meaning(word: str, parts: Sequence[str]) -> bool:
    """Tell whether a word that is not letters alone can mean anything to who has never seen it.

    A quantity, a short name, and a word with a stray digit can; a number and an identifier cannot.
    """
    if not any(part.isalpha() for part in parts):
        return False
    if _QUANTITY.fullmatch(word) or is_plain(word, parts) or sum(map(len, parts)) <= LONGEST_NAME:
        return True
    return len(parts) <= 3 and any(part.isalpha() and len(part) >= SHORTEST_MISSPELLED for part in parts)


def is_plain(word: str, parts: Sequence[str]) -> bool:
    """Tell whether hyphens alone part the letters of `word` from its digits, and few: "2-light", "ab-1234"."""
    return len(parts) <= 3 and not any(_mixed(piece) for piece in _SEPARATOR.split(word))


def _mixed(piece: str) -> bool:
    return any(c.isdigit() for c in piece) and any(c.isalpha() for c in piece)

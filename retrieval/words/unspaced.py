"""Makes terms of scripts that put no blank between words: characters, and pairs of neighbours.

A pair needs no dictionary, so neither a word that one lacks nor a cut that one gets wrong loses a match: 蓝牙耳机 is
found in 无线蓝牙耳机 and so is 牙耳. A character is one with its marks (Thai vowels and tones, kana with voicing).
"""

from __future__ import annotations

from collections.abc import Container
from itertools import pairwise

import regex

SCRIPTS = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Bopomofo}\p{Yi}"
    r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}"
)
#: Of these one character can be a word of its own.
_MEANS_A_WORD = regex.compile(r"[\p{Han}\p{Hangul}]")
_CHARACTER = regex.compile(r"\X")


def terms_of_text(run: str) -> list[str]:
    """Return the characters of `run` and the pairs of neighbours."""
    characters = _characters(run)
    return characters + [a + b for a, b in pairwise(characters)]


def terms_of_query(run: str, known: Container[str]) -> list[str]:
    """Return what to ask for `run`: its known pairs, and ideographs or syllables of Hangul that are in none of them."""
    characters = _characters(run)
    if len(characters) == 1:
        return characters
    pairs = [a + b for a, b in pairwise(characters)]
    have = [pair in known for pair in pairs]
    beside = zip([False, *have], [*have, False], strict=True)
    alone = [c for c, found in zip(characters, beside, strict=True) if not any(found) and _MEANS_A_WORD.match(c)]
    return [pair for pair, found in zip(pairs, have, strict=True) if found] + alone


def _characters(run: str) -> list[str]:
    return [str(character) for character in _CHARACTER.findall(run)]

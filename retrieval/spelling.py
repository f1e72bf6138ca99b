"""Corrects words that no product has: to a near spelling, or to two words that were run together.

There is no dictionary but the catalog's own vocabulary. All words are compared at once: first by length and by
which letters they have, then the few that are left by edit distance, so a word costs well under a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

SHORTEST = 4  # shorter words have too many neighbours
SHORTEST_FOR_TWO = 8  # two edits are likely one word only in a long one
LONGEST = 32
SHORTEST_PART = 3


class Speller:
    """Corrects words against a vocabulary; of equally near words the more frequent one wins."""

    def __init__(self, frequency: Mapping[str, int], is_word: Callable[[str], bool] = str.isalpha) -> None:
        """Prepare the known words; `frequency` is the number of documents that have each.

        `is_word` tells which terms can be misspelled; it is the tokenizer's.
        """
        self._frequency = frequency
        self._is_word = is_word
        self._words = [word for word in frequency if is_word(word) and SHORTEST - 1 <= len(word) <= LONGEST]
        self._lengths = np.array([len(word) for word in self._words], dtype=np.int16)
        self._letters = np.array([_letters(word) for word in self._words], dtype=np.uint64)

    def correct(self, word: str) -> list[str]:
        """Return the known words meant by `word`: itself, its nearest neighbour, its two parts, or none."""
        if word in self._frequency:
            return [word]
        if not self._is_word(word) or not SHORTEST <= len(word) <= LONGEST:
            return []
        near = self._nearest(word, 1)
        if near is not None:
            return [near]
        parts = self._parts(word)
        if parts:
            return parts
        far = self._nearest(word, 2) if len(word) >= SHORTEST_FOR_TWO else None
        return [far] if far is not None else []

    def _nearest(self, word: str, distance: int) -> str | None:
        """Return the most frequent known word within `distance` edits."""
        alike = np.abs(self._lengths - len(word)) <= distance
        # an edit changes at most two of the letters that occur; a swap of neighbours none
        alike &= np.bitwise_count(self._letters ^ np.uint64(_letters(word))) <= 2 * distance
        candidates = [self._words[i] for i in np.flatnonzero(alike)]
        if not candidates:
            return None
        near = np.flatnonzero(edit_distances(word, candidates, distance) <= distance)
        return min((candidates[i] for i in near), key=lambda known: (-self._frequency[known], known), default=None)

    def _parts(self, word: str) -> list[str]:
        """Split `word` into two known words, those whose rarer one is most frequent; [] if there are none."""
        pairs = [(word[:i], word[i:]) for i in range(SHORTEST_PART, len(word) - SHORTEST_PART + 1)]
        known = [(a, b) for a, b in pairs if a in self._frequency and b in self._frequency]
        return list(max(known, key=lambda pair: min(map(self._frequency.__getitem__, pair)), default=()))


def _letters(word: str) -> int:
    """Return the set of letters that occur, as 64 bits."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) & 63)
    return bits


def edit_distances(word: str, others: list[str], most: int) -> NDArray[np.int16]:
    """Count insertions, deletions, replacements and swaps of neighbours from `word` to each of `others`.

    int16 [len(others)]: the restricted Damerau-Levenshtein distance, in which no letter is edited twice. One table cell
    is computed for all words at a time.
    Only cells within `most` of the diagonal are computed: a distance above `most` is only known to be above it.
    """
    width = max(map(len, others))
    letters = np.array(others, dtype=f"U{width}").view(np.uint32).reshape(len(others), width).T
    lengths = np.array([len(other) for other in others])
    before, last, row = np.full((3, width + 1, len(others)), most + 1, dtype=np.int16)
    last[:] = np.arange(width + 1, dtype=np.int16)[:, None]
    for i, letter in enumerate(map(ord, word), start=1):
        row[:] = most + 1
        row[0] = i
        differs = letters != letter
        for j in range(max(1, i - most), min(width, i + most) + 1):
            np.minimum(last[j] + 1, row[j - 1] + 1, out=row[j])
            np.minimum(row[j], last[j - 1] + differs[j - 1], out=row[j])
            if i > 1 and j > 1:
                swapped = (letters[j - 2] == letter) & (letters[j - 1] == ord(word[i - 2]))
                np.minimum(row[j], before[j - 2] + 1, out=row[j], where=swapped)
        before, last, row = last, row, before
    return np.asarray(last[lengths, np.arange(len(others))])

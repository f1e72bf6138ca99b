"""Splits text into search terms: the one interface of index, query, speller and evaluation.

An index remembers the version of its tokenizer, and is asked by that one for as long as a release can be served.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from retrieval.words.version_2 import Version2
from retrieval.words.version_3 import Version3


class Tokenizer(Protocol):
    """Makes the terms of an item's text, and those to ask an index for; both by the same rules."""

    @property
    def version(self) -> int:
        """Return a number that rises whenever the same text of an item could give other terms."""

    def normalize(self, text: str) -> str:
        """Bring `text` into the spelling in which equal questions are equal."""

    def document(self, text: str) -> list[str]:
        """Return the terms under which `text` is found, repeats kept."""

    def query(self, text: str, known: Container[str]) -> list[str]:
        """Return the terms to ask for, of an index that has those in `known`; others are for the speller."""

    def has_meaning(self, text: str) -> bool:
        """Tell whether `text` can be understood without any of its terms: numbers and long codes only name things."""

    def lone_codes(self, text: str, known: Container[str]) -> list[str]:
        """Return the codes, letters and digits alone, if `text` is nothing but codes that are not known; else none."""

    def is_word(self, term: str) -> bool:
        """Tell whether `term` is a word that can be misspelled, and not a number, a code or a pair of characters."""


CURRENT: Tokenizer = Version3()
_ALL: dict[int, Tokenizer] = {2: Version2(), CURRENT.version: CURRENT}


def tokenizer(version: int) -> Tokenizer:
    """Return the tokenizer of that version. Raises ValueError."""
    if version not in _ALL:
        raise ValueError(f"it was built with tokenizer {version}; this engine has {', '.join(map(str, sorted(_ALL)))}")
    return _ALL[version]


def tokens(text: str) -> list[str]:
    """Return the terms of `text` by the current tokenizer."""
    return CURRENT.document(text)


def normalize(text: str) -> str:
    """Bring `text` into one spelling by the current tokenizer."""
    return CURRENT.normalize(text)

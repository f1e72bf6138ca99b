"""Splits text as releases with tokenizer 2 were indexed; for their indexes alone, and never changed.

12-Gauge Men's Angles, 1 1/2"   ->   12 gauge men angle 1 1/2 in
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

_VULGAR_FRACTION = re.compile("[\u00bc-\u00be\u2150-\u215e]")
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])['\u2019](?=[^\W\d_])")
_INCH_MARK = re.compile("(?<=\\d)\\s*(?:\"|''|[\u201d\u2033])")
_FOOT_MARK = re.compile("(?<=\\d)\\s*['\u2019\u2032]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TERM = re.compile(r"\d+(?:[./]\d+)*|[^\W\d_]+")

#: Units as catalogs write them; only behind a number, since "square" and "volt" are also words.
UNITS = {
    "inch": "in",
    "foot": "ft",
    "feet": "ft",
    "gallon": "gal",
    "pound": "lb",
    "ounce": "oz",
    "volt": "v",
    "watt": "w",
    "amp": "a",
    "ampere": "a",
    "square": "sq",
    "cubic": "cu",
}


def normalize(text: str) -> str:
    """Bring `text` into one spelling: compatibility forms, accents and case folded, marks of length as words."""
    if not text.isascii():
        text = _VULGAR_FRACTION.sub(r" \g<0>", text)  # else 1½ would fold to 11/2
        text = unicodedata.normalize("NFKD", text).replace("\u2044", "/")
        text = unicodedata.normalize("NFC", "".join(c for c in text if not unicodedata.combining(c)))
    text = _APOSTROPHE.sub("", text.casefold())
    text = _FOOT_MARK.sub(" ft ", _INCH_MARK.sub(" in ", text))
    return _THOUSANDS.sub("", text)


def singular(word: str) -> str:
    """Take the s of a plural off `word`, but never below three letters."""
    if len(word) <= 3 or word[-1] != "s" or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    return word[:-1]


def tokens(text: str) -> list[str]:
    """Return the search terms of `text`, in order, repeats kept."""
    terms: list[str] = []
    after_number = False
    for word in _TERM.findall(normalize(text)):
        term = singular(word)
        terms.append(UNITS.get(term, term) if after_number else term)
        after_number = word[0].isdigit()
    return terms


class Version2:
    """Splits at everything but letters and digits, which part from each other; accents of all scripts are folded."""

    version = 2

    def normalize(self, text: str) -> str:
        return normalize(text)

    def document(self, text: str) -> list[str]:
        return tokens(text)

    def query(self, text: str, known: Container[str]) -> list[str]:  # noqa: ARG002
        return tokens(text)

    def has_meaning(self, text: str) -> bool:
        return bool(tokens(text))

    def lone_codes(self, text: str, known: Container[str]) -> list[str]:  # noqa: ARG002
        return []

    def is_word(self, term: str) -> bool:
        return term.isalpha()

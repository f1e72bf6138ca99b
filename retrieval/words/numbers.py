"""Brings numbers and what stands behind them into one spelling: thousands, decimals, feet and inches, units."""

from __future__ import annotations

import regex

_DECADE = regex.compile(r"(?<=\d)'(?=s\b)")  # the 80's
_SWISS_THOUSANDS = regex.compile(r"(?<![\d.,'])(\d{1,3})'(?=\d{3}(?!\d))")
_INCH_MARK = regex.compile(r"(?<=\d)\s*(?:\"|'')")
_FOOT_MARK = regex.compile(r"(?<=\d)\s*'")
_THOUSANDS = regex.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)|(?<![\d.,])\d{1,2}(?:,\d{2})+,\d{3}(?!\d)")
#: A comma parts decimals for certain only behind a nought: "3,4" may be two sizes.
_DECIMAL_COMMA = regex.compile(r"(?<![\w.,])0,(?=\d{1,3}(?![\d,]))")
#: Behind a letter or a dot it ends an abbreviation or a gap ("No.5", "1...5"); "3x.5" is two numbers.
_LEADING_DOT = regex.compile(r"(?<![\w.])\.(?=\d)|(?<=\dx)\.(?=\d)")
_TRAILING_NOUGHTS = regex.compile(r"(?<![\w.])(\d+\.\d*?[1-9])0+(?![\d.])")

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


def spell_numbers(text: str) -> str:
    """Return folded `text` with each number in one spelling, and marks of length as words.

    1,000 -> 1000   .5 -> 0.5   0,5 -> 0.5   2.50 -> 2.5   6'2" -> 6 ft 2 in
    """
    if "'" in text:
        text = _SWISS_THOUSANDS.sub(r"\1", _DECADE.sub("", text))
    if "'" in text or '"' in text:
        text = _FOOT_MARK.sub(" ft ", _INCH_MARK.sub(" in ", text))
    if "," in text:
        text = _DECIMAL_COMMA.sub("0.", _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text))
    if "." in text:
        text = _TRAILING_NOUGHTS.sub(r"\1", _LEADING_DOT.sub("0.", text))
    return text

"""Says what one value means, whichever program wrote it and by whichever door it comes: files and HTTP ask here.

A reader returns the value, None where the value is a way to say that there is none, or UNREADABLE where it cannot be
taken for sure. `ingestion.formats.columns` reads whole columns; where it takes a shorter way, the result is the same.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Final, Literal, TypeAlias

from ingestion.formats.times import read_epoch, read_time


class _Mark(Enum):
    UNREADABLE = "unreadable"


UNREADABLE: Final = _Mark.UNREADABLE
Unreadable: TypeAlias = Literal[_Mark.UNREADABLE]
#: What a text column holds: an identifier, the shopper's identifier, a typed query, or other words.
Meaning = Literal["identifier", "shopper", "query", "words"]

#: How pandas, R, spreadsheets, databases and JavaScript write that there is no value.
MISSING: Final = (
    "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan", "NaT", "<NaT>",
    "None", "none", "NULL", "Null", "null", "<null>", "<NULL>", "(null)", "[null]", "#NULL!", "#REF!", "#VALUE!",
    "#DIV/0!", "#NAME?", "#NUM!", "nil", "undefined", "\\N", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip
#: Numbers, times and yes or no can hold none of these, however it is written.
MISSING_WORDS: Final = frozenset(word.lower() for word in (*MISSING, "-", "--", "?", "missing", "empty"))
LONGEST_MISSING: Final = max(map(len, MISSING))
#: Missing in a query too, where `nan` is bread and `none` a word like any other.
MISSING_QUERIES: Final = ("#N/A", "#N/A N/A", "#NA", "<NA>", "<NaT>", "<null>", "<NULL>", "(null)", "[null]", "\\N")
#: true and false as languages, databases and spreadsheets (in their own language) write them.
TRUE: Final = ("true", "t", "yes", "y", "1", "1.0", "on", "wahr", "vrai", "verdadero", "verdadeiro", "vero", "waar")
FALSE: Final = ("false", "f", "no", "n", "0", "0.0", "off", "falsch", "faux", "falso", "onwaar")
#: A number that a spreadsheet or R has shortened (1.23457E+12): which identifier it was is lost.
SHORTENED: Final = r"^[+-]?[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2,3}$"
NUMBER: Final = r"^[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?$"
#: From here on several whole numbers are the same floating-point number.
INEXACT: Final = 2**53

_MISSING, _MISSING_QUERIES = frozenset(MISSING), frozenset(MISSING_QUERIES)
_SHORTENED, _NUMBER = re.compile(SHORTENED), re.compile(NUMBER)
_YES_OR_NO = {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}


def meaning_of(column: str) -> Meaning:
    """Return what the text in a column of the contract is."""
    if column == "user_id":
        return "shopper"
    return "identifier" if column.endswith("_id") else "query" if column == "query" else "words"


def read_text(value: object, meaning: Meaning) -> str | Unreadable | None:
    """Return text. A whole number is its digits; one that was or may have been rounded is unreadable."""
    if value is None:
        return None
    if isinstance(value, str):
        if not value or value.isspace():
            return None
        if not value.isascii() and not _encodable(value):
            return UNREADABLE
        if meaning in ("identifier", "shopper") and "+" in value and _SHORTENED.match(value):
            return UNREADABLE
        if meaning != "shopper" and len(value) <= LONGEST_MISSING:  # such a shopper is nobody, not missing
            return None if value in (_MISSING_QUERIES if meaning == "query" else _MISSING) else value
        return value
    return number_as_text(value)


def number_as_text(value: object) -> str | Unreadable | None:
    """Return the digits of a whole number that no float has changed, None for NaN."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # thousands of digits
            return UNREADABLE
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < INEXACT else UNREADABLE
    return UNREADABLE


def read_moment(value: object) -> datetime | Unreadable | None:
    """Return the instant in UTC, of text, or of a number since 1970 in the unit that its size tells."""
    found: datetime | None = None
    if value is None:
        return None
    if isinstance(value, str):
        found = read_time(value)
        if found is None and _says_nothing(value):
            return None
    elif isinstance(value, datetime):
        try:
            found = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError:  # the first or the last hours that there are
            return UNREADABLE
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        if _is_nan(value):
            return None
        if isinstance(value, int) or math.isfinite(value):  # no float holds a number of 400 digits
            # a whole number is what its digits say: 20261125 is a date
            digits = number_as_text(value) if not isinstance(value, Decimal) else f"{value:f}"
            found = read_time(digits) if isinstance(digits, str) else read_epoch(value)
    return UNREADABLE if found is None else found


def read_number(value: object) -> float | Unreadable | None:
    """Return a finite number; true is none, and a decimal comma or a thousands mark is not taken."""
    if value is None:
        return None
    if type(value) is float:
        return None if value != value else _finite(value)
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.match(text):
            return _finite(float(text))
        return None if _says_nothing(text) else UNREADABLE
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return UNREADABLE
    if _is_nan(value):
        return None
    try:
        return _finite(float(value))
    except OverflowError:
        return UNREADABLE


def read_whole(value: object) -> int | Unreadable | None:
    """Return a whole number of 32 bits; 3.0 is one."""
    number = read_number(value)
    if number is None or number is UNREADABLE:
        return number
    return int(number) if number.is_integer() and abs(number) < 2**31 else UNREADABLE


def read_yes_or_no(value: object) -> bool | Unreadable | None:
    """Return true or false."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if value != value:  # NaN
            return None
        return bool(value) if value in (0, 1) else UNREADABLE
    if not isinstance(value, str):
        return UNREADABLE
    found = _YES_OR_NO.get(value.strip().lower())
    return found if found is not None else None if _says_nothing(value) else UNREADABLE


def _is_nan(value: float | Decimal) -> bool:
    """Say whether a number is none; asking a signaling NaN whether it equals itself would raise."""
    return value.is_nan() if isinstance(value, Decimal) else value != value


def _says_nothing(text: str) -> bool:
    return not text or text.isspace() or text.strip().lower() in MISSING_WORDS


def _finite(number: float) -> float | Unreadable:
    return number if math.isfinite(number) else UNREADABLE


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character
        return False
    return True

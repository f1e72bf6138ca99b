"""Converts a column as it came in to one of the contract; what cannot be converted is marked, never guessed.

What a value means is said in `ingestion.formats.values`; here are the quick ways to the same for millions. A
conversion returns the new column and a mask of the rows that held something but nothing usable. Files of text (CSV,
JSON lines) arrive as strings, Parquet as the type that its writer chose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import TIMESTAMP
from ingestion.formats.values import (
    INEXACT,
    LONGEST_MISSING,
    MISSING,
    MISSING_QUERIES,
    SHORTENED,
    UNREADABLE,
    Meaning,
    read_moment,
    read_number,
    read_yes_or_no,
)

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
#: pa.Array or pa.ChunkedArray; pyarrow has no types
Column: TypeAlias = Any

#: Numbers that Arrow reads as `read_number` does; what looks otherwise is read value by value.
_WHOLE_DECIMAL = r"^(0E-[0-9]+|-?[0-9]+(\.0+)?)$"
_SIMPLE_NUMBER = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$"
#: What a column of numbers with a gap becomes when pandas writes it: 7.0.
_FLOATED = r"^-?(0|[1-9][0-9]{0,30})\.0+$"
#: Whole numbers of so many digits are all different floats.
_EXACT_DIGITS = 15
#: Values that are read in one go, so that an odd one slows its neighbours alone.
_CHUNK = 8_192
#: The years 1 to 9999 in seconds since 1970.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True)
class ConvertedColumn:
    """A column of the contract's type, and which rows held something that did not convert."""

    column: pa.Array
    invalid: Mask


def family(kind: pa.DataType) -> str:
    """Return what a Parquet type stands for; a partition whose column changes it is refused. `any` fits all."""
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_null(kind):
        return "any"
    if _is_text(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "boolean"
    if _is_number(kind):
        return "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "time"
    return "other"


def convert(raw: Column, target: pa.DataType, meaning: Meaning = "words") -> ConvertedColumn:
    """Return `raw` as `target` (string, timestamp, int32, float64 or bool); `meaning` says what text in it is."""
    if isinstance(raw, pa.ChunkedArray):
        raw = raw.combine_chunks() if raw.num_chunks != 1 else raw.chunk(0)
    if pa.types.is_dictionary(raw.type):
        raw = raw.cast(raw.type.value_type)
    if _is_text(raw.type):
        raw = raw if raw.type == pa.string() else raw.cast(pa.string())
        raw = _where(pc.not_equal(raw, ""), raw)  # an empty cell is no value
    elif pa.types.is_floating(raw.type):  # nor is what pandas puts where there is none
        raw = _where(pc.invert(pc.is_nan(raw)), raw)
    if pa.types.is_null(raw.type):
        return ConvertedColumn(pa.nulls(len(raw), target), np.zeros(len(raw), bool))
    if pa.types.is_string(target):
        raw = _present(raw, meaning) if raw.type == pa.string() else raw
        column = _text(raw, meaning)
    elif target == TIMESTAMP and (pa.types.is_timestamp(raw.type) or pa.types.is_date(raw.type)):
        raw = raw.cast(pa.timestamp("ms")) if pa.types.is_date(raw.type) else raw
        column = _of_calendar(raw).cast(TIMESTAMP, safe=False)
    elif target == TIMESTAMP:
        return _times(raw)
    elif pa.types.is_boolean(target):
        return _each(raw, read_yes_or_no, target)
    else:
        return _whole_numbers(raw, target) if pa.types.is_integer(target) else _numbers(raw)
    return ConvertedColumn(column, mask(pc.and_(pc.is_valid(raw), pc.is_null(column))))


def without_floats(raw: Column) -> tuple[Column, Mask]:
    """Return the identifiers of a CSV column in which floats wrote each (7.0 is 7), and the rows that no float holds.

    That is so where every value is a whole number with `.0`; in another column `7.0` is a name, and stays as it is.
    """
    nowhere = np.zeros(len(raw), bool)
    floated = pc.fill_null(pc.match_substring_regex(raw, _FLOATED), False)
    if not pc.any(floated).as_py():
        return raw, nowhere
    others = pc.drop_null(raw.filter(pc.invert(floated)))
    known = pc.or_(pc.is_in(others, pa.array([*MISSING, ""])), pc.match_substring_regex(others, SHORTENED))
    if not pc.all(known).as_py() and len(others):
        return raw, nowhere
    digits = pc.replace_substring_regex(raw, r"\.0+$", "")
    rounded = pc.and_(floated, pc.greater(pc.binary_length(digits), _EXACT_DIGITS))
    return pc.if_else(pc.and_(floated, pc.invert(rounded)), digits, raw), mask(rounded)


def holds_any(column: Column, which: Bytes) -> bool:
    """Say whether any of the column's texts has one of the bytes `which`; much quicker than asking each of them."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        _, offsets, data = chunk.buffers()
        if data is None or not len(chunk):
            continue
        first, last = np.frombuffer(offsets, np.int32)[[chunk.offset, chunk.offset + len(chunk)]]
        if which[np.frombuffer(data, np.uint8)[first:last]].any():
            return True
    return False


def bytes_of(characters: str) -> Bytes:
    """Return a table of 256 that is true for these ASCII characters, for `holds_any`."""
    table = np.zeros(256, bool)
    table[list(characters.encode("ascii"))] = True
    return table


def mask(values: Column) -> Mask:
    """Return a Boolean column as NumPy, null as False."""
    filled = pc.fill_null(values, False)
    return np.asarray(
        filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy(), bool
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _where(keep: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(pc.fill_null(keep, False), values, pa.scalar(None, values.type))


_PLUS = bytes_of("+")


def _present(raw: pa.Array, meaning: Meaning) -> pa.Array:
    """Set to null what says that there is no value; see `ingestion.formats.values.read_text`."""
    raw = _where(pc.invert(pc.utf8_is_space(raw)), raw)
    if meaning == "shopper" or (pc.min(pc.binary_length(raw)).as_py() or 0) > LONGEST_MISSING:
        return raw
    missing = pc.is_in(raw, pa.array(MISSING_QUERIES if meaning == "query" else MISSING))
    return _where(pc.invert(missing), raw) if pc.any(missing).as_py() else raw


def _text(raw: pa.Array, meaning: Meaning) -> pa.Array:
    if raw.type == pa.string():
        if meaning not in ("identifier", "shopper"):
            return raw
        if not holds_any(raw, _PLUS):
            return raw
        return _where(pc.invert(pc.match_substring_regex(raw, SHORTENED)), raw)
    if pa.types.is_floating(raw.type):  # identifiers that passed through a nullable pandas column: 7.0
        whole = pc.and_(pc.is_finite(raw), pc.and_(pc.equal(raw, pc.floor(raw)), pc.less(pc.abs(raw), float(INEXACT))))
        return _where(whole, raw).cast(pa.int64()).cast(pa.string())
    if pa.types.is_integer(raw.type):
        return raw.cast(pa.string())
    if pa.types.is_decimal(raw.type):  # written as 7.00, and 0 with many places as 0E-20
        digits = raw.cast(pa.string())
        whole = pc.match_substring_regex(digits, _WHOLE_DECIMAL)
        return _where(whole, pc.replace_substring_regex(digits, "[.E].*", ""))
    return pa.nulls(len(raw), pa.string())


def _times(raw: pa.Array) -> ConvertedColumn:
    """Convert text, or numbers since 1970; the way of Arrow where it takes all of them, else one by one."""
    if raw.type != pa.string():
        return _each(raw, read_moment, TIMESTAMP)
    for attempt in (TIMESTAMP, pa.timestamp("us")):  # all rows with a zone, or none
        try:
            column = _of_calendar(raw.cast(attempt).cast(TIMESTAMP))
            return ConvertedColumn(column, mask(pc.and_(pc.is_valid(raw), pc.is_null(column))))
        except pa.ArrowInvalid:
            continue
    if len(raw) <= _CHUNK:
        return _each(raw, read_moment, TIMESTAMP)
    parts = [_times(raw.slice(at, _CHUNK)) for at in range(0, len(raw), _CHUNK)]
    return ConvertedColumn(pa.concat_arrays([p.column for p in parts]), np.concatenate([p.invalid for p in parts]))


def _numbers(raw: pa.Array) -> ConvertedColumn:
    if raw.type == pa.string():
        simple = pc.fill_null(pc.match_substring_regex(raw, _SIMPLE_NUMBER), True)
        column = _where(simple, raw).cast(pa.float64())
        odd = pc.invert(simple)
        if not pc.any(odd).as_py():
            return ConvertedColumn(column, np.zeros(len(raw), bool))
        read = _each(raw.filter(odd), read_number, pa.float64())
        invalid = mask(odd)
        invalid[invalid] = read.invalid
        return ConvertedColumn(pc.replace_with_mask(column, odd, read.column), invalid)
    if not _is_number(raw.type):
        return ConvertedColumn(pa.nulls(len(raw), pa.float64()), mask(pc.is_valid(raw)))
    values = raw.cast(pa.float64(), safe=False)
    column = _where(pc.is_finite(values), values)
    return ConvertedColumn(column, mask(pc.and_(pc.is_valid(raw), pc.is_null(column))))


def _whole_numbers(raw: pa.Array, target: pa.DataType) -> ConvertedColumn:
    found = _numbers(raw)
    values = found.column
    fits = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**31))
    column = _where(fits, values).cast(target)
    return ConvertedColumn(column, found.invalid | mask(pc.and_(pc.is_valid(values), pc.is_null(column))))


def _each(raw: pa.Array, read: Callable[[Any], Any], target: pa.DataType) -> ConvertedColumn:
    """Read every different value of `raw` by the rule for one."""
    if not (_is_text(raw.type) or _is_number(raw.type) or pa.types.is_boolean(raw.type)):
        return ConvertedColumn(pa.nulls(len(raw), target), mask(pc.is_valid(raw)))
    encoded = raw.dictionary_encode()
    found = [read(value) for value in encoded.dictionary.to_pylist()]
    values = pa.array([None if value is UNREADABLE else value for value in found], target)
    unreadable = pa.array([value is UNREADABLE for value in found], pa.bool_())
    return ConvertedColumn(values.take(encoded.indices), mask(unreadable.take(encoded.indices)))


def _of_calendar(times: pa.Array) -> pa.Array:
    """Set to null what is outside of the years 1 to 9999, the ones that Python's times know."""
    scale = _PER_SECOND.get(times.type.unit)
    if scale is None:  # nanoseconds do not reach so far
        return times
    low, high = _FIRST_SECOND * scale, (_LAST_SECOND + 1) * scale - 1
    values = times.cast(pa.int64())
    ends = pc.min_max(values).as_py()
    if ends["min"] is None or (low <= ends["min"] and ends["max"] <= high):
        return times
    return _where(pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high)), times)

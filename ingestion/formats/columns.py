"""Converts a column as it came in to one of the contract; what cannot be converted is marked, never guessed.

A conversion returns the new column and a mask of the rows that held something but nothing usable. Files of
text (CSV, JSON lines) arrive as strings, Parquet as the type that its writer chose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import TIMESTAMP

Mask = np.ndarray[Any, np.dtype[np.bool_]]
#: pa.Array or pa.ChunkedArray; pyarrow has no types
Column: TypeAlias = Any

_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]"
_DAY_ONLY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_ZONED = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ].*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
#: fromisoformat takes more than ISO 8601, such as a zone of +02:60.
_MOMENT = re.compile(r"^.{10}[T ][0-9]{2}(:?[0-9]{2}(:?[0-9]{2}(\.[0-9]+)?)?)?(Z|[+-][0-9]{2}(:?[0-5][0-9])?)\Z")
_WHOLE_DECIMAL = r"^(0E-[0-9]+|-?[0-9]+(\.0+)?)$"
_NUMBER = r"^[+-]?([0-9]{1,18}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?$"
_TRUE = ("true", "1", "yes", "t", "y")
_FALSE = ("false", "0", "no", "f", "n")
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
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "time"
    return "other"


def convert(raw: Column, target: pa.DataType) -> ConvertedColumn:
    """Return `raw` as `target`: string, timestamp, int32, float64 or bool."""
    if isinstance(raw, pa.ChunkedArray):
        raw = raw.combine_chunks() if raw.num_chunks != 1 else raw.chunk(0)
    if pa.types.is_dictionary(raw.type):
        raw = raw.cast(raw.type.value_type)
    if _is_text(raw.type) and raw.type != pa.string():
        raw = raw.cast(pa.string())
    if raw.type == pa.string():  # an empty cell is no value
        raw = pc.if_else(pc.equal(raw, ""), pa.scalar(None, pa.string()), raw)
    if pa.types.is_null(raw.type):
        column = pa.nulls(len(raw), target)
    elif target == TIMESTAMP:
        column = _time(raw)
    elif pa.types.is_string(target):
        column = _text(raw)
    elif pa.types.is_boolean(target):
        column = _boolean(raw)
    elif pa.types.is_integer(target):
        column = _whole(raw, target)
    else:
        column = _number(raw)
    return ConvertedColumn(column, mask(pc.and_(pc.is_valid(raw), pc.is_null(column))))


def mask(values: Column) -> Mask:
    """Return a Boolean column as NumPy, null as False."""
    filled = pc.fill_null(values, False)
    return np.asarray(
        filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy(), bool
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _where(keep: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(pc.fill_null(keep, False), values, pa.scalar(None, values.type))


def _text(raw: pa.Array) -> pa.Array:
    if raw.type == pa.string():
        return raw
    if pa.types.is_floating(raw.type):  # identifiers that passed through a nullable pandas column: 7.0
        whole = pc.and_(pc.is_finite(raw), pc.and_(pc.equal(raw, pc.floor(raw)), pc.less(pc.abs(raw), 2.0**53)))
        return _where(whole, raw).cast(pa.int64()).cast(pa.string())
    if pa.types.is_integer(raw.type):
        return raw.cast(pa.string())
    if pa.types.is_decimal(raw.type):  # written as 7.00, and 0 with many places as 0E-20
        digits = raw.cast(pa.string())
        whole = pc.match_substring_regex(digits, _WHOLE_DECIMAL)
        return _where(whole, pc.replace_substring_regex(digits, "[.E].*", ""))
    return pa.nulls(len(raw), pa.string())


def _time(raw: pa.Array) -> pa.Array:
    """Convert ISO 8601 or a timestamp; a time without a zone is taken as UTC."""
    if pa.types.is_date(raw.type):
        raw = raw.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(raw.type):
        return _of_calendar(raw).cast(TIMESTAMP, safe=False)
    if raw.type != pa.string():
        return pa.nulls(len(raw), TIMESTAMP)
    for attempt in (TIMESTAMP, pa.timestamp("us")):  # all rows with a zone, or none: the fast way
        try:
            return _of_calendar(raw.cast(attempt).cast(TIMESTAMP))
        except pa.ArrowInvalid:
            continue
    import pandas as pd

    # every row gets its zone here: pandas lends a row without one the offset of the row before
    day, zoned = pc.match_substring_regex(raw, _DAY_ONLY), pc.match_substring_regex(raw, _ZONED)
    raw = pc.case_when(
        pc.make_struct(day, zoned, pc.match_substring_regex(raw, _DATE)),
        pc.binary_join_element_wise(raw, "T00:00:00Z", ""),
        raw,
        pc.binary_join_element_wise(raw, "Z", ""),
    )
    # pandas counts nanoseconds, which begin in 1677 and end in 2262: years beyond are read one by one
    year = pc.utf8_slice_codeunits(raw, 0, 4)
    far = pc.fill_null(pc.or_(pc.less(year, "1678"), pc.greater(year, "2261")), False)
    times = pd.to_datetime(_where(pc.invert(far), raw).to_pandas(), errors="coerce", utc=True, format="ISO8601")
    found = pa.array(times.astype("datetime64[us, UTC]"), TIMESTAMP, from_pandas=True)
    moments = [_moment(text) for text in raw.filter(far).to_pylist()]
    return pc.replace_with_mask(found, far, pa.array(moments, TIMESTAMP))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if _MOMENT.match(text) else None
    except (ValueError, OverflowError):  # no such day, or not in the years 1 to 9999 in UTC
        return None


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


def _number(raw: pa.Array) -> pa.Array:
    if raw.type == pa.string():
        raw = _where(pc.match_substring_regex(raw, _NUMBER), raw)
        return raw.cast(pa.float64())
    if pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type) or pa.types.is_decimal(raw.type):
        values = raw.cast(pa.float64(), safe=False)
        return _where(pc.is_finite(values), values)
    return pa.nulls(len(raw), pa.float64())


def _whole(raw: pa.Array, target: pa.DataType) -> pa.Array:
    values = _number(raw)
    fits = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**31))
    return _where(fits, values).cast(target)


def _boolean(raw: pa.Array) -> pa.Array:
    if pa.types.is_boolean(raw.type):
        return raw
    if raw.type == pa.string():
        word = pc.utf8_lower(raw)
    elif pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type):
        word = _text(raw.cast(pa.float64(), safe=False))
    else:
        return pa.nulls(len(raw), pa.bool_())
    true, false = pc.is_in(word, pa.array(_TRUE)), pc.is_in(word, pa.array(_FALSE))
    return _where(pc.or_(true, false), true)

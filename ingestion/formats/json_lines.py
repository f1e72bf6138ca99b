"""Reads JSON lines. A broken line costs that line, never the file.

`NaN` and `Infinity` are no JSON, and Python and pandas write them all the same; here they are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa

from contracts.events import CATALOG, EVENTS, JUDGMENTS
from ingestion.formats.raw_files import ParsedText, Refused
from ingestion.formats.values import INEXACT, UNREADABLE, number_as_text

#: Columns of text, in which true or 0.5 is no value; `attributes` is a JSON object or the text of one.
_TEXT = {f.name for table in (EVENTS, CATALOG, JUDGMENTS) for f in table if f.type == pa.string()} - {"attributes"}


def parse_json_lines(data: bytes, columns: Sequence[str] | None) -> ParsedText:
    """Read one object per line. Values become strings; a nested one is refused, except the column `attributes`."""
    objects: list[dict[str, object]] = []
    numbers: list[int] = []
    refused: list[Refused] = []
    number = 0
    for line in data.split(b"\n"):
        if not line or line.isspace():
            continue
        number += 1
        try:
            value = _loads(line)
        except (ValueError, RecursionError):
            refused.append(Refused(number, "unparseable_line", len(line)))
            continue
        if not isinstance(value, dict):
            refused.append(Refused(number, "not_an_object", len(line)))
            continue
        objects.append(value)
        numbers.append(number)
    names: dict[str, None] = {}
    for value in objects:
        if not value.keys() <= names.keys():
            names.update(dict.fromkeys(value))
    kept = [c for c in names if columns is None or c in columns]
    nested: set[int] = set()
    wrong: dict[str, set[int]] = {}
    lines: list[bytes] = []

    def written(row: int, column: str) -> str:
        """Return a number of one row as its line has it; the parser has made an inexact one of it."""
        if not lines:
            lines.extend(line for line in data.split(b"\n") if line and not line.isspace())
        return str(json.loads(lines[numbers[row] - 1], parse_int=str, parse_float=str)[column])

    arrays = [_column(objects, c, nested, wrong.setdefault(c, set()), written) for c in kept]
    table = pa.table(arrays, names=kept) if kept else pa.table({})
    row_numbers = pa.array(numbers, pa.int64())
    masks = {name: np.isin(np.arange(len(objects)), list(rows)) for name, rows in wrong.items() if rows}
    if nested:
        good = np.array([i not in nested for i in range(len(objects))], bool)
        refused.extend(Refused(numbers[i], "nested_value", 0) for i in sorted(nested))
        table, row_numbers = table.filter(pa.array(good)), row_numbers.filter(pa.array(good))
        masks = {name: rows[good] for name, rows in masks.items()}
    return ParsedText(table, row_numbers, refused, tuple(c for c in names if c not in kept), masks)


def _loads(line: bytes) -> object:
    """Read one line. Raises ValueError."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        if b"NaN" not in line and b"Infinity" not in line:
            raise
        value = json.loads(line.decode())
        json.dumps(value, ensure_ascii=False).encode()  # half of a character is no text
        return value


def _column(
    objects: list[dict[str, object]],
    name: str,
    nested: set[int],
    wrong: set[int],
    written: Callable[[int, str], str],
) -> pa.Array:
    values = [o.get(name) for o in objects]
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowException, TypeError, ValueError):
        pass
    texts: list[str | None] = []
    for row, value in enumerate(values):
        if value is None or isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict | list) and name != "attributes":
            nested.add(row)
            texts.append(None)
        else:
            try:
                if isinstance(value, float) and abs(value) >= INEXACT and (digits := written(row, name)).isdigit():
                    value = int(digits) if len(digits) < _PYTHON_DIGITS else digits
                texts.append(_as_text(value))
                if name in _TEXT and number_as_text(value) is UNREADABLE and not isinstance(value, str):
                    wrong.add(row)
            except (TypeError, RecursionError):  # nested deeper than can be written, or read, once more
                nested.add(row)
                texts.append(None)
    return pa.array(texts, pa.string())


def _as_text(value: object) -> str | None:
    """Return a value as text; 7.0 and 7 name the same thing, as in Parquet."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            return None if math.isnan(value) else str(value)
        digits = number_as_text(value)
        if isinstance(digits, str):
            return digits
        return f"{Decimal(repr(value)):f}" if abs(value) >= INEXACT else repr(value)
    return orjson.dumps(value).decode()


#: Python makes no text of an integer of more digits, and no integer of such a text.
_PYTHON_DIGITS = 4_000

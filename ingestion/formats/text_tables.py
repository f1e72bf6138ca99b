"""Reads CSV and JSON lines. A broken line costs that line, never the file.

CSV goes through pyarrow's parser at full speed when it finds nothing to complain about; otherwise it is read
again line by line, so that a stray quote or a cut line takes down one record and the next one starts afresh.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv

from contracts.errors import UnreadableFile
from ingestion.formats.raw_files import Refused

_DELIMITERS = (",", "\t", ";", "|")
#: A quoted value may run over this many lines before its opening quote counts as stray.
_RECORD_MAX_LINES = 500
_MAX_COLUMNS = 2_000
#: From here on several whole numbers are the same floating-point number.
_INEXACT = 2.0**53

Parsed = tuple[pa.Table, pa.Array, list[Refused], tuple[str, ...]]


def parse_csv(data: bytes, name: str, columns: Sequence[str] | None, *, multiline: bool, quoted: bool = True) -> Parsed:
    """Read rows as strings.

    `columns`: the ones to keep (None: all); `multiline`: values may hold line breaks; `quoted`: a value may stand in
    double quotes (else they are letters like any other).

    Raises UnreadableFile when the first line is no header.
    """
    first, _, rest = data.partition(b"\n")
    header, delimiter = _header(first.rstrip(b"\r"), name, columns)
    kept = [c for c in header if columns is None or c in columns]
    dropped = tuple(c for c in header if c not in kept)
    table = _fast_csv(rest, header, kept, delimiter, multiline=multiline, quoted=quoted)
    if table is not None:
        return table, pa.array(range(1, table.num_rows + 1), pa.int64()), [], dropped
    rows, numbers, refused = _slow_csv(rest, len(header), delimiter, multiline=multiline, quoted=quoted)
    picks = [header.index(c) for c in kept]
    arrays = [pa.array([row[i] or None for row in rows], pa.string()) for i in picks]
    return pa.table(arrays, names=kept), pa.array(numbers, pa.int64()), refused, dropped


def _header(line: bytes, name: str, columns: Sequence[str] | None) -> tuple[list[str], str]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile(
            f"{name} is neither Parquet, CSV nor JSON lines in UTF-8", remedy="export it again in one of these"
        ) from None
    if not text.strip() or any(ord(c) < 32 and c != "\t" for c in text):
        raise UnreadableFile(f"{name} does not start with a header line", remedy="write the column names first")
    delimiter = max(_DELIMITERS, key=text.count)
    try:
        header = [c.strip() for c in next(csv.reader([text], delimiter=delimiter, strict=True))]
    except csv.Error as error:
        raise UnreadableFile(f"the header of {name} cannot be read: {error}", remedy="check its quotes") from None
    if len(header) > _MAX_COLUMNS:
        raise UnreadableFile(f"{name} has {len(header)} columns", remedy=f"at most {_MAX_COLUMNS} are read")
    twice = sorted({c for c in header if header.count(c) > 1 and c})
    if twice:
        # where the header line is missing, these are a shopper's data
        which = f"the column {twice[0]!r}" if twice[0] in (columns or ()) else "a column"
        raise UnreadableFile(f"{name} has {which} twice", remedy="give every column its own name")
    return header, delimiter


def _fast_csv(
    data: bytes, header: list[str], kept: list[str], delimiter: str, *, multiline: bool, quoted: bool
) -> pa.Table | None:
    """Read the whole file at once; None when a single line is out of order."""
    data = data.strip(b"\r\n")
    if not data:
        return pa.table({c: pa.array([], pa.string()) for c in kept})
    try:
        table = pa_csv.read_csv(
            io.BytesIO(data),
            read_options=pa_csv.ReadOptions(column_names=header, block_size=8 << 20),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=multiline, quote_char='"' if quoted else False
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=kept,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None
    if quoted and b'"' in data and _swallows(data, table.num_rows, delimiter, multiline=multiline):
        return None
    return table.select(kept)


def _swallows(data: bytes, rows: int, delimiter: str, *, multiline: bool) -> bool:
    """Check whether a stray quote, in any column, may have made one of several of the rows that pyarrow found."""
    if multiline and _well_quoted(data, delimiter):
        return False
    text = np.frombuffer(data, np.uint8)
    after_returns = text[np.flatnonzero(text == ord("\r")) + 1]  # `data` does not end with one
    if rows == data.count(b"\n") + 1 and (after_returns == ord("\n")).all():
        return False  # a line each
    return rows != sum(1 for line in data.splitlines() if line)  # slower: blank lines, or odd line breaks


def _well_quoted(data: bytes, delimiter: str) -> bool:
    """Check whether every quote begins a value, ends one, or is one of a pair that stands for a quote.

    pyarrow takes letters behind a closing quote, and the next quote then begins a value in the middle of a line.
    """
    text = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(text == ord('"'))
    if len(quotes) % 2:
        return False
    outside = np.zeros(256, bool)
    outside[list(f'{delimiter}"\r\n'.encode())] = True
    before, after = quotes[::2] - 1, quotes[1::2] + 1
    return bool(outside[text[before[before >= 0]]].all() and outside[text[after[after < len(text)]]].all())


def _slow_csv(
    data: bytes, width: int, delimiter: str, *, multiline: bool, quoted: bool
) -> tuple[list[list[str]], list[int], list[Refused]]:
    """Read line by line: rows of `width` strings, their record numbers, and the records that are none."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    refused: list[Refused] = []
    lines = data.split(b"\n")
    number, at = 0, 0
    while at < len(lines):
        line = lines[at].removesuffix(b"\r")
        if not line:
            at += 1
            continue
        number += 1
        taken, found = 1, _fields(line, delimiter, quoted=quoted)
        if multiline and isinstance(found, str) and line.count(b'"') % 2:
            taken, found = _joined(lines, at, delimiter, width)
        if isinstance(found, str):
            refused.append(Refused(number, found, len(line)))
        elif len(found) != width:
            refused.append(Refused(number, "wrong_column_count", len(line)))
        else:
            rows.append(found)
            numbers.append(number)
        at += taken
    return rows, numbers, refused


def _fields(line: bytes, delimiter: str, *, quoted: bool = True) -> list[str] | str:
    """Return the values of one record, or the reason why it has none."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    if not quoted or '"' not in text:
        return text.split(delimiter)
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return "unparseable_line"
    return found[0] if len(found) == 1 else "unparseable_line"


def _joined(lines: list[bytes], at: int, delimiter: str, width: int) -> tuple[int, list[str] | str]:
    """Join a record over several lines: the shortest run of them whose quotes close and whose width fits."""
    run, quotes = [lines[at]], lines[at].count(b'"')
    for extra in range(1, min(_RECORD_MAX_LINES, len(lines) - at)):
        run.append(lines[at + extra])
        quotes += lines[at + extra].count(b'"')
        if quotes % 2 == 0:
            found = _fields(b"\n".join(run).removesuffix(b"\r"), delimiter)
            if not isinstance(found, str) and len(found) == width:
                return extra + 1, found
            return 1, "unparseable_line"
    return 1, "unparseable_line"


def parse_json_lines(data: bytes, columns: Sequence[str] | None) -> Parsed:
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
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
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
    lines: list[bytes] = []

    def written(row: int, column: str) -> str:
        """Return a number of one row as its line has it; the parser has made an inexact one of it."""
        if not lines:
            lines.extend(line for line in data.split(b"\n") if line and not line.isspace())
        return str(json.loads(lines[numbers[row] - 1], parse_int=str, parse_float=str)[column])

    arrays = [_json_column(objects, c, nested, written) for c in kept]
    table = pa.table(arrays, names=kept) if kept else pa.table({})
    row_numbers = pa.array(numbers, pa.int64())
    if nested:
        good = pa.array([i not in nested for i in range(len(objects))])
        refused.extend(Refused(numbers[i], "nested_value", 0) for i in sorted(nested))
        table, row_numbers = table.filter(good), row_numbers.filter(good)
    return table, row_numbers, refused, tuple(c for c in names if c not in kept)


def _json_column(
    objects: list[dict[str, object]], name: str, nested: set[int], written: Callable[[int, str], str]
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
                inexact = isinstance(value, float) and abs(value) >= _INEXACT
                texts.append(written(row, name) if inexact else _as_text(value))
            except (TypeError, RecursionError):  # nested deeper than can be written, or read, once more
                nested.add(row)
                texts.append(None)
    return pa.array(texts, pa.string())


def _as_text(value: object) -> str:
    """Return a value as text; 7.0 and 7 name the same thing, as in Parquet."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return orjson.dumps(value).decode()

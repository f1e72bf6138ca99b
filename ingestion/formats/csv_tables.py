"""Reads CSV. A broken line costs that line, never the file.

CSV goes through pyarrow's parser at full speed when it finds nothing to complain about; otherwise it is read
again line by line, so that a stray quote or a cut line takes down one record and the next one starts afresh.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from contracts.errors import UnreadableFile
from ingestion.formats.raw_files import ParsedText, Refused

_DELIMITERS = (",", "\t", ";", "|")
#: A quoted value may run over this many lines before its opening quote counts as stray.
_RECORD_MAX_LINES = 500
_MAX_COLUMNS = 2_000


def parse_csv(
    data: bytes, name: str, columns: Sequence[str] | None, *, multiline: bool, quoted: bool = True
) -> ParsedText:
    """Read rows as strings.

    `columns`: the ones to keep (None: all); `multiline`: values may hold line breaks; `quoted`: a value may stand in
    double quotes (else they are letters like any other).

    Raises UnreadableFile when the first line is no header, or a later one is another header.
    """
    first, _, rest = data.partition(b"\n")
    header, delimiter = _header(first.rstrip(b"\r"), name, columns)
    kept = [c for c in header if columns is None or c in columns]
    dropped = tuple(c for c in header if c not in kept)
    table = _fast_csv(rest, header, kept, delimiter, multiline=multiline, quoted=quoted)
    refused: list[Refused] = []
    if table is not None:
        numbers = pa.array(np.arange(1, table.num_rows + 1, dtype=np.int64))
    else:
        rows, listed, refused = _slow_csv(rest, len(header), delimiter, multiline=multiline, quoted=quoted)
        arrays = [pa.array([row[header.index(c)] or None for row in rows], pa.string()) for c in kept]
        table, numbers = pa.table(arrays, names=kept), pa.array(listed, pa.int64())
    again = _repeated_header(table, numbers, name) if columns is not None and kept else None
    if again is not None:
        refused += [Refused(n, "repeated_header", 0) for n in numbers.filter(again).to_pylist()]
        table, numbers = table.filter(pc.invert(again)), numbers.filter(pc.invert(again))
    return ParsedText(table, numbers, refused, dropped)


def _repeated_header(table: pa.Table, numbers: pa.Array, name: str) -> pa.Array | None:
    """Find lines that say the header again, as files put together with `cat` do; None without any.

    Raises UnreadableFile at one that names the columns in another order: what follows it stands in wrong columns.
    """
    names = pa.array(table.column_names)
    found = pa.array(np.ones(table.num_rows, bool))
    for column in table.columns:
        says = pc.is_in(pc.utf8_trim(column, " \ufeff"), names)
        found = pc.and_(found, says.combine_chunks() if isinstance(says, pa.ChunkedArray) else says)
        if not pc.any(found).as_py():
            return None
    for line, number in zip(table.filter(found).to_pylist(), numbers.filter(found).to_pylist(), strict=True):
        if [value.strip(" \ufeff") for value in line.values()] != table.column_names:
            raise UnreadableFile(
                f"{name} has a second header line (record {number}), with its columns in another order",
                remedy="give the files that it was put together from one by one",
            )
    return found


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

"""Reads the rows of any file. Its first bytes say what it is, not its name.

A file that is damaged or of no use as a whole raises UnreadableFile; damage inside text files is taken record
by record. Nothing here runs anything that a file says: Parquet, CSV and JSON only, and no pickle is opened.
"""

from __future__ import annotations

import re
import stat
import zlib
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import UnreadableFile
from ingestion.formats.columns import family
from ingestion.formats.csv_tables import parse_csv
from ingestion.formats.json_lines import parse_json_lines
from ingestion.formats.raw_files import RawFile, printable

#: Largest file that is read at once, in bytes after decompression; and most rows of one Parquet file.
FILE_MAX_BYTES = 4 << 30
FILE_MAX_ROWS = 50_000_000
#: What a text file is shows in this many bytes.
_SNIFFED = 1 << 20

_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"ORC": "an ORC file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "a database",
}


def read_raw(
    path: Path,
    columns: Sequence[str] | None,
    required: Sequence[str] = (),
    *,
    multiline: bool = False,
    quoted: bool = True,
    max_bytes: int = FILE_MAX_BYTES,
) -> RawFile:
    """Read the rows of one Parquet, CSV or JSON lines file, plain or gzipped.

    `columns` are kept, others dropped and reported (None keeps all); `required` must be there.
    Raises UnreadableFile, naming the file and the remedy.
    """
    name = printable(path.name)
    data = _bytes_of(path, max_bytes)
    if data[:4] == b"PAR1":
        raw = _parquet(data, name, columns, max_bytes)
    else:
        for magic, what in _FOREIGN.items():
            if data.startswith(magic):
                raise UnreadableFile(
                    f"{name} is {what}", remedy="give Parquet, CSV or JSON lines in UTF-8, plain or gzipped"
                )
        data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\n\xef\xbb\xbf", b"\n")  # of files put together, too
        if _is_json_lines(data, {*(columns or ()), *required}):
            raw = RawFile.of_text(name, "jsonl", parse_json_lines(data, columns))
        elif data[:_SNIFFED].lstrip().startswith(b"["):
            raise UnreadableFile(f"{name} is a JSON array", remedy="write one JSON object per line instead")
        else:
            raw = RawFile.of_text(name, "csv", parse_csv(data, name, columns, multiline=multiline, quoted=quoted))
    missing = [c for c in required if c not in raw.table.column_names]
    if missing and (raw.table.num_rows or not raw.refused):
        raise UnreadableFile(
            f"{name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
            f" (it has {_there(raw, columns or required)})",
            remedy="see docs/data-contract.md for the columns",
        )
    return raw


def _is_json_lines(data: bytes, known: Set[str]) -> bool:
    """Judge by the first line or, since that one may be damaged, by a second one that is a whole object."""
    first, _, rest = data[:_SNIFFED].lstrip().partition(b"\n")
    if first.startswith(b"{"):
        return True
    second, _, rest = rest.lstrip().partition(b"\n")
    if not second.startswith(b"{"):
        return False
    try:
        orjson.loads(second)
    except orjson.JSONDecodeError:
        return False
    if first.startswith(b"["):  # the last object of an array over several lines is a whole one, too
        return not rest.lstrip().startswith((b"]", b","))
    # a header line is of CSV, even if its first row looks like something else
    return known.isdisjoint(cell.strip('" \r') for cell in re.split(r"[,\t;|]", first.decode(errors="replace")))


def _there(raw: RawFile, known: Sequence[str]) -> str:
    """Return the known columns of a file. Where the header line is missing, others are a shopper's data."""
    named = [c for c in raw.table.column_names if c in known]
    others = len(raw.table.column_names) + len(raw.dropped) - len(named)
    if not others:
        return ", ".join(named) or "none"
    hint = "; is the header line missing?" if raw.format == "csv" else ""
    return f"{', '.join(named) or 'none of these'} and {others} other{'s' if others > 1 else ''}{hint}"


def _bytes_of(path: Path, max_bytes: int) -> bytes:
    """Return the file's content, gunzipped when it is gzip, at most `max_bytes` of it."""
    name, whole = printable(path.name), printable(str(path))
    try:
        about = path.stat()
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{whole} cannot be opened: {error}", remedy="check the path") from None
    if not stat.S_ISREG(about.st_mode):
        raise UnreadableFile(f"{whole} is not a regular file", remedy="name the files one by one")
    if about.st_size > max_bytes:
        raise _too_big(name, max_bytes)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"{whole} cannot be read: {error.strerror}", remedy="check its permissions") from None
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, name, max_bytes)
    if not data:
        raise UnreadableFile(f"{name} is empty", remedy="check the export that wrote it")
    return data


def _gunzip(data: bytes, name: str, max_bytes: int) -> bytes:
    """Unpack all members of a gzip file; one that is cut or whose checksum is wrong is refused as a whole."""
    parts: list[bytes] = []
    size = 0
    while data.lstrip(b"\0"):
        member = zlib.decompressobj(wbits=31)
        try:
            while not member.eof:
                part = member.decompress(data, 64 << 20)
                size += len(part)
                if size > max_bytes:
                    raise _too_big(name, max_bytes)
                if not part and not member.unconsumed_tail and not member.eof:
                    raise UnreadableFile(f"{name} is cut off", remedy="copy it again, it is shorter than it should be")
                parts.append(part)
                data = member.unused_data if member.eof else member.unconsumed_tail
        except zlib.error as error:
            raise UnreadableFile(f"{name} is damaged: {error}", remedy="copy it again") from None
    return b"".join(parts)


def _too_big(name: str, max_bytes: int) -> UnreadableFile:
    return UnreadableFile(f"{name} is larger than {max_bytes:,} bytes", remedy="split it into files by day")


def _parquet(data: bytes, name: str, columns: Sequence[str] | None, max_bytes: int) -> RawFile:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = list(file.schema_arrow.names)
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        if file.metadata.num_rows > FILE_MAX_ROWS or sum(max(g.total_byte_size, 0) for g in groups) > max_bytes:
            raise _too_big(name, max_bytes)
        twice = sorted({c for c in names if names.count(c) > 1})
        if twice:
            which = f"the column {twice[0]!r}" if twice[0] in (columns or ()) else "a column"
            raise UnreadableFile(f"{name} has {which} twice", remedy="give every column its own name")
        kept = [c for c in names if columns is None or c in columns]
        table = file.read(columns=kept).select(kept).replace_schema_metadata(None)
        table.validate(full=True)
        table = _plain(table)
    except UnreadableFile:
        raise
    except Exception as error:  # a damaged file may make the parser raise anything
        reason = str(error).split("\n", 1)[0][:200]
        raise UnreadableFile(f"{name} is damaged: {reason}", remedy="write or copy the Parquet file again") from None
    return RawFile(
        name=name,
        format="parquet",
        table=table,
        numbers=pa.array(np.arange(1, table.num_rows + 1, dtype=np.int64)),
        families={c: family(table.schema.field(c).type) for c in kept},
        dropped=tuple(c for c in names if c not in kept),
    )


def _plain(table: pa.Table) -> pa.Table:
    """Convert to types that every operation knows; a time in a zone is a moment, whether we know the zone or not."""
    for at, column in enumerate(table.schema):
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.tz not in (None, "UTC"):
            kind = pa.timestamp(kind.unit, "UTC")
        elif pa.types.is_string_view(kind):
            kind = pa.string()
        elif pa.types.is_binary_view(kind):
            kind = pa.binary()
        elif pa.types.is_float16(kind):
            kind = pa.float32()
        if kind != column.type:
            table = table.set_column(at, pa.field(column.name, kind), table.column(at).cast(kind))
    return table

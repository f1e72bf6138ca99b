"""Decides which rows of a file belong to erased shoppers, and returns the file without them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import Tampered
from ingestion.formats.columns import Mask, mask
from ingestion.pseudonymize import PERSONAL

NAMES = re.compile(r"u_[0-9a-f]{32}")
_BYTES = re.compile(NAMES.pattern.encode())
_NO_ONE = re.compile(r'"user_id":')
#: A quarantined row as JSON; see ingestion.rules.quarantine.
_AS_JSON = "row"
#: Time columns, and how far back a row's time reaches: feature rows cover the day that ends at theirs.
_TIMES = {"event_time": timedelta(0), "event_timestamp": timedelta(days=1)}
_MAGIC = b"PAR1"
_OVERLAP = 64
_CHUNK = 1 << 22


@dataclass
class ErasureSubject:
    """Erased shoppers: `until` gives, per pseudonym, the time up to which rows are removed.

    `clear` maps identifiers as the shop sends them to pseudonyms: searched for in the edge's logs, and only ever in
    memory. `sessions` are hashed sessions of the shoppers, found on the way.
    """

    until: Mapping[str, datetime]
    clear: Mapping[str, str] = field(default_factory=dict, repr=False)
    sessions: set[str] = field(default_factory=set)

    def goes(self, name: str | None, at: datetime | None) -> bool:
        """Check whether a row with this pseudonym and time is removed; a row without a time is."""
        until = self.until.get(name or "")
        return until is not None and (at is None or at <= until)


def is_table(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _MAGIC


def count(path: Path, whom: ErasureSubject) -> int:
    """Count the rows of the erased in a file; in a file that is no table, how often they are named. Raises Tampered."""
    if not is_table(path):
        return _named(path, whom)
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in (*PERSONAL, _AS_JSON, *_TIMES) if name in file.schema_arrow.names]
            if not {*PERSONAL, _AS_JSON} & set(columns):
                return 0
            return sum(int(rows_to_remove(batch, whom).sum()) for batch in file.iter_batches(columns=columns))
    except (pa.ArrowException, OSError) as error:
        raise Tampered(f"a table cannot be read: {error}", remedy="restore it from a snapshot, then again") from None


def without(path: Path, whom: ErasureSubject) -> tuple[pa.Table, pa.Table]:
    """Return the rows of a table that stay, in their order, and those that are removed."""
    table = pq.read_table(path)
    going = pa.array(rows_to_remove(table, whom))
    return table.filter(pc.invert(going)), table.filter(going)


def rows_of(path: Path, whom: ErasureSubject) -> Iterator[dict[str, Any]]:
    """Yield what a file says of the shoppers: rows of a table, or how often any other file names them."""
    if is_table(path):
        for row in without(path, whom)[1].to_pylist():
            yield dict(row)
    elif named := _named(path, whom):
        yield {"named": named}


def rows_to_remove(rows: pa.Table | pa.RecordBatch, whom: ErasureSubject) -> Mask:
    """Return a mask of the rows to remove.

    Remembers sessions of the erased; a row that names nobody but one of these sessions is removed too.
    """
    names = rows.schema.names
    going: Mask = np.zeros(rows.num_rows, bool)
    if whom.until:
        at = next((name for name in _TIMES if name in names), None)
        for column in (name for name in PERSONAL if name in names):
            for row in _hits(rows.column(column), whom.until):
                going[row] |= whom.goes(rows.column(column)[row].as_py(), _time(rows, at, row))
        if {*PERSONAL} <= set(names):
            whom.sessions.update(v for i in np.flatnonzero(going) if (v := rows.column("session_id")[i].as_py()))
        if _AS_JSON in names:
            for row, text in enumerate(rows.column(_AS_JSON).to_pylist()):
                going[row] |= text is not None and _goes(text, whom)
    return going


def _hits(column: Any, names: Iterable[str]) -> list[int]:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return []
    found = pc.is_in(column, value_set=pa.array(list(names), column.type))
    return [int(i) for i in np.flatnonzero(mask(found))]


def _time(rows: pa.Table | pa.RecordBatch, column: str | None, row: int) -> datetime | None:
    value = rows.column(column)[row].as_py() if column else None
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)) - _TIMES[str(column)]


def _goes(text: str, whom: ErasureSubject) -> bool:
    named = set(NAMES.findall(text))
    if not named.isdisjoint(whom.until):
        return True
    return not named.isdisjoint(whom.sessions) and not _NO_ONE.search(text)


def _named(path: Path, whom: ErasureSubject) -> int:
    """Count how often the erased are named in a file of any format, in bounded memory."""
    wanted = {name.encode() for name in whom.until}
    times, before = 0, b""
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            data = before + data
            end = len(data) if len(data) < _CHUNK else len(data) - _OVERLAP
            for match in _BYTES.finditer(data):
                if match.start() < end:
                    times += match[0] in wanted
            before = data[end:]
    return times + sum(match[0] in wanted for match in _BYTES.finditer(before))

"""Keeps rows that may not go on, with their reason. Persons appear in them as keyed hashes too.

The raw row is kept as JSON so that a shop can find what to repair: identifiers hashed, e-mail addresses
replaced, long values cut, and columns outside of the contract left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.raw_files import Refused
from ingestion.pseudonymize import PERSONAL, redact_text

#: File of a partition with the rows that were set aside.
QUARANTINED = "quarantine.parquet"

QUARANTINE = pa.schema(
    [
        pa.field("reason", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("record", pa.int64(), nullable=False),
        pa.field("row", pa.string()),
    ]
)
_MAX_SHOWN = 200


def quarantine_rows(
    rows: pa.Table, reasons: pa.Array, numbers: pa.Array, file: str, hash_identifier: Callable[[str], str]
) -> pa.Table:
    """Return `rows` as they came in, each with its reason, as a QUARANTINE table."""
    shown = _showable(rows)
    texts = [_as_json(row, hash_identifier) for row in shown.to_pylist()] if rows.num_columns else [None] * len(reasons)
    files = pa.array([file] * len(reasons), pa.string())
    return pa.table([reasons, files, numbers.cast(pa.int64()), pa.array(texts, pa.string())], schema=QUARANTINE)


def quarantine_records(records: Iterable[Refused], file: str) -> pa.Table:
    """Quarantine records that never became a row; only their number, reason and size are kept."""
    listed = list(records)
    return pa.table(
        [
            pa.array([r.reason for r in listed], pa.string()),
            pa.array([file] * len(listed), pa.string()),
            pa.array([r.number for r in listed], pa.int64()),
            pa.array([None] * len(listed), pa.string()),
        ],
        schema=QUARANTINE,
    )


def ordered(table: pa.Table) -> pa.Table:
    """Sort in a fixed order, so that the same rows give the same bytes."""
    order = [("file", "ascending"), ("record", "ascending"), ("reason", "ascending"), ("row", "ascending")]
    return table.sort_by(order).combine_chunks()


def counts(reasons: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """Count how often each reason occurs, by name."""
    found = Counter({v["values"]: v["counts"] for v in pc.value_counts(reasons).to_pylist()})
    return dict(sorted(found.items()))


def _showable(rows: pa.Table) -> pa.Table:
    """Return `rows` with times as text: one that no calendar has cannot become a Python object."""
    for at, column in enumerate(rows.schema):
        if pa.types.is_temporal(column.type):
            values = rows.column(at)
            try:
                texts = values.cast(pa.string())
            except pa.ArrowException:
                texts = values.cast(pa.int64(), safe=False).cast(pa.string())
            rows = rows.set_column(at, column.name, texts)
    return rows


def _as_json(row: dict[str, object], hash_identifier: Callable[[str], str]) -> str:
    shown: dict[str, object] = {}
    for name, value in row.items():
        if value is None:
            continue
        text = value if isinstance(value, str) else str(value)
        if name in PERSONAL:
            shown[name] = hash_identifier(text)
        elif isinstance(value, bool | int | float) and abs(value) < 2**53:
            shown[name] = value
        else:
            shown[name] = redact_text(text[: 4 * _MAX_SHOWN])[:_MAX_SHOWN]
    return orjson.dumps(shown, option=orjson.OPT_SORT_KEYS).decode()

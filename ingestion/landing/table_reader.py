"""Reads files in the contract as tables, for use outside of the lake (evaluation).

Bad rows are left out here and counted; the nightly chain takes the long way (land, validate), which keeps them.
Identifiers of persons are as in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from contracts.errors import UnreadableFile
from ingestion.formats.raw_files import RawFile
from ingestion.formats.table_files import read_raw
from ingestion.rules.quarantine import counts
from ingestion.rules.reasons import CATALOG_REASONS, EVENT_REASONS, JUDGMENT_REASONS
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA, JUDGMENT_SCHEMA, TableSchema
from ingestion.rules.split import duplicates, split_rows


def read_file(path: Path, schema: TableSchema) -> RawFile:
    """Read the rows of one file as they are. Raises UnreadableFile, naming file and remedy."""
    # events hold no line breaks, so there every line is one record and a stray quote costs one line
    return read_raw(path, schema.arrow.names, schema.required, multiline=schema.name != "events")


def read_events(paths: Path | Iterable[Path]) -> pa.Table:
    """Return the EVENTS rows of the files, each event once per day, by time and id.

    Raises UnreadableFile when a file has no usable row.
    """
    return _read(paths, EVENT_SCHEMA).sort_by([("event_time", "ascending"), ("event_id", "ascending")])


def read_catalog(paths: Path | Iterable[Path]) -> pa.Table:
    """Return the CATALOG rows of the files, by item. Raises UnreadableFile when a file has no usable row."""
    return _read(paths, CATALOG_SCHEMA).sort_by("item_id")


def read_judgments(paths: Path | Iterable[Path]) -> pa.Table:
    """Return the JUDGMENTS rows of the files. Raises UnreadableFile when a file has no usable row."""
    return _read(paths, JUDGMENT_SCHEMA)


def _read(paths: Path | Iterable[Path], schema: TableSchema) -> pa.Table:
    tables = []
    for path in [paths] if isinstance(paths, Path) else paths:
        raw = read_file(path, schema)
        split = split_rows(raw, schema, now=datetime.now(UTC) if schema.name == "events" else None)
        if not split.kept.num_rows:
            raise no_usable_row(raw, split.reasons)
        tables.append(split.kept)
    if not tables:
        return schema.arrow.empty_table()
    rows = pa.concat_tables(tables).combine_chunks()
    if len(tables) > 1:  # what is in several files is there once
        rows = rows.filter(pa.array(~duplicates(rows, schema, np.ones(rows.num_rows, bool))))
    return rows


def no_usable_row(raw: RawFile, reasons: pa.Array) -> UnreadableFile:
    """Return the error for a file of which nothing can be kept."""
    found = counts(reasons.drop_null())
    for record in raw.refused:
        found[record.reason] = found.get(record.reason, 0) + 1
    worst = sorted(found.items(), key=lambda p: -p[1])[:3]
    why = ", ".join(f"{n} x {reason}" for reason, n in worst)
    meanings = CATALOG_REASONS | JUDGMENT_REASONS | EVENT_REASONS
    explained = "; ".join(meanings[reason] for reason, _ in worst[:1] if reason in meanings)
    return UnreadableFile(
        f"none of the {raw.read:,} rows of {raw.name} can be used ({why or 'it has none'})",
        remedy=(f"{explained}; " if explained else "") + "docs/data-contract.md explains each reason",
    )

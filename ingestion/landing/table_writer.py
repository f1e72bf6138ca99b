"""Writes a converted public data set as files of the contract, as `caravan convert` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from artifacts.lake import write_table
from ingestion.formats.raw_files import RawFile
from ingestion.rules.quarantine import counts
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA, JUDGMENT_SCHEMA, TableSchema
from ingestion.rules.split import split_rows
from ingestion.sources import ConvertedDataset


def write_converted(converted: ConvertedDataset, out: Path) -> dict[str, dict[str, Any]]:
    """Write `events`, `test_events`, `catalog` and `judgments` where the set has them; rows and what was left out."""
    parts: list[tuple[str, pa.Table | None, TableSchema, list[str]]] = [
        ("events.parquet", converted.events, EVENT_SCHEMA, ["event_time", "event_id"]),
        ("test_events.parquet", converted.test_events, EVENT_SCHEMA, ["event_time", "event_id"]),
        ("catalog.parquet", converted.catalog, CATALOG_SCHEMA, ["item_id"]),
        ("judgments.parquet", converted.judgments, JUDGMENT_SCHEMA, ["query", "item_id"]),
    ]
    written: dict[str, dict[str, Any]] = {}
    for file, table, schema, order in parts:
        if table is None:
            (out / file).unlink(missing_ok=True)  # of another set: it would pass for this one's
            continue
        raw = RawFile(
            name=file,
            format="adapter",
            table=table.combine_chunks(),
            numbers=pa.array(range(1, table.num_rows + 1), pa.int64()),
        )
        split = split_rows(raw, schema)
        rows = split.kept.sort_by([(name, "ascending") for name in order]).combine_chunks()
        write_table(rows, out / file)
        written[file] = {"rows": rows.num_rows, "left_out": counts(split.reasons.drop_null())}
    if converted.skipped:
        written["(lines of the source)"] = {"rows": 0, "left_out": dict(converted.skipped)}
    return written

"""Merges the landed batches of one day: every event once, in one order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA
from contracts.events import EVENTS
from ingestion.landing import batches
from ingestion.rules.quarantine import QUARANTINE, QUARANTINED, quarantine_rows
from ingestion.rules.schema import EVENT_SCHEMA
from ingestion.rules.split import duplicates


def merge(folders: list[Path], names: list[str]) -> tuple[pa.Table, pa.Table]:
    """Return the rows of all batches by time and id, each event once; and everything quarantined."""
    parts, asides = [], []
    for folder, name in zip(folders, names, strict=True):
        rows = pq.read_table(folder / DATA, schema=batches.LANDED)
        parts.append(rows.append_column("file", pa.array([name] * rows.num_rows, pa.string())))
        asides.append(pq.read_table(folder / QUARANTINED, schema=QUARANTINE))
    rows = pa.concat_tables(parts).combine_chunks()
    again = duplicates(rows.select(EVENTS.names), EVENT_SCHEMA, np.ones(rows.num_rows, bool))
    repeated = rows.filter(pa.array(again))
    for file in sorted(set(repeated.column("file").to_pylist())):
        of_file = repeated.filter(pc.equal(repeated.column("file"), file))
        reasons = pa.array(["duplicate_event_id"] * of_file.num_rows, pa.string())
        shown = of_file.select(EVENTS.names)
        asides.append(
            quarantine_rows(shown, reasons, of_file.column("record").combine_chunks(), file, lambda _: "[not hashed]")
        )
    kept = rows.filter(pa.array(~again)).select(EVENTS.names).cast(EVENTS)
    kept = kept.sort_by([("event_time", "ascending"), ("event_id", "ascending")]).combine_chunks()
    return kept, pa.concat_tables(asides)

"""Merges the landed batches of one day: every event once, in one order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA
from contracts.events import EVENTS
from ingestion.formats.columns import mask
from ingestion.landing import batches
from ingestion.pseudonymize import keep_pseudonym
from ingestion.rules.nobody import crowds
from ingestion.rules.quarantine import QUARANTINE, QUARANTINED, quarantine_rows
from ingestion.rules.schema import EVENT_SCHEMA
from ingestion.rules.split import duplicates


def merge(folders: list[Path], names: list[str]) -> tuple[pa.Table, pa.Table]:
    """Return the rows of all batches by time and id, each event once and of persons; and everything quarantined."""
    parts, asides = [], []
    for folder, name in zip(folders, names, strict=True):
        rows = pq.read_table(folder / DATA, schema=batches.LANDED)
        parts.append(rows.append_column("file", pa.array([name] * rows.num_rows, pa.string())))
        asides.append(pq.read_table(folder / QUARANTINED, schema=QUARANTINE))
    rows = pa.concat_tables(parts).combine_chunks()
    again = duplicates(rows.select(EVENTS.names), EVENT_SCHEMA, np.ones(rows.num_rows, bool))
    nobodys = mask(pc.is_in(rows.column("user_id"), crowds(rows.filter(pa.array(~again)).column("user_id")))) & ~again
    for reason, found in (("duplicate_event_id", again), ("nobody", nobodys)):
        aside = rows.filter(pa.array(found))
        for file in sorted(set(aside.column("file").to_pylist())):
            of_file = aside.filter(pc.equal(aside.column("file"), file))
            reasons = pa.array([reason] * of_file.num_rows, pa.string())
            shown, records = of_file.select(EVENTS.names), of_file.column("record").combine_chunks()
            asides.append(quarantine_rows(shown, reasons, records, file, keep_pseudonym))
    kept = rows.filter(pa.array(~(again | nobodys))).select(EVENTS.names).cast(EVENTS)
    kept = kept.sort_by([("event_time", "ascending"), ("event_id", "ascending")]).combine_chunks()
    return kept, pa.concat_tables(asides)

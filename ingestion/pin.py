"""The catalog as one day's run sees it, pinned, so that a rerun of the day sees the same."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.errors import EmptyPartition, SchemaChanged
from contracts.events import CATALOG
from ingestion import landing

CATALOG_TABLE = "catalog"


def pin_catalog(lake: Lake, day: str, *, accept_changes: bool) -> tuple[str, int]:
    """The catalog as that day's run sees it: the last one landed when it first ran, without later items."""
    pinned = lake.digest(CATALOG_TABLE, day)
    if pinned is not None:
        return pinned, int(lake.manifest(CATALOG_TABLE, day).meta["kept"])
    landed = lake.partitions(landing.CATALOG_TABLE)
    if not landed:
        raise EmptyPartition(
            f"no catalog has landed for {lake.source}", remedy="bring one with `caravan ingest --catalog FILE`"
        )
    about = lake.manifest(landing.CATALOG_TABLE, landed[-1]).meta
    earlier = [d for d in lake.partitions(CATALOG_TABLE) if d < day]
    had = lake.manifest(CATALOG_TABLE, earlier[-1]).meta["columns"] if earlier else {}
    lost = sorted(set(had) - set(about["families"]))
    if lost and not accept_changes:
        raise SchemaChanged(
            f"the catalog has lost the column {', '.join(lost)}, which the one of {earlier[-1]} had",
            remedy=f"land a whole catalog, or let it pass with `caravan validate {day} --accept-changes`",
        )
    table = pq.read_table(lake.fetch(landing.CATALOG_TABLE, landed[-1]) / DATA, schema=CATALOG)
    end = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1)
    created = table.column("created_at")
    rows = table.filter(pc.fill_null(pc.less(created, pa.scalar(end, created.type)), True)).combine_chunks()
    if not rows.num_rows:
        raise EmptyPartition(
            f"no item of the catalog existed on {day}", remedy="check `created_at`, or choose a later day"
        )
    made = {"columns": about["families"], "landed": landed[-1], "read": table.num_rows, "kept": rows.num_rows}
    return landing.publish_tables(lake, CATALOG_TABLE, day, rows, None, made), rows.num_rows

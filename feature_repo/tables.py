"""Builds the feature tables of one day from the clean events of its window, and publishes each as a partition.

The same events give the same bytes, whichever engine computes them and however often: rows are sorted by key, the
schema is fixed, row groups are cut by count, and vectors are reused by the hash of their text.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from artifacts.manifest import Manifest
from contracts.errors import EmptyPartition, FeatureError
from feature_repo import engines
from feature_repo.engines import EngineName
from feature_repo.schemas import ITEM_TEXT, SCHEMAS, TEXT_DIMENSIONS

#: texts [n] -> float32 [n, TEXT_DIMENSIONS], unit length
Encode = Callable[[list[str]], np.ndarray]

ROW_GROUP = 64 * 1024
ENCODE_ROWS = 1024


def build(lake: Lake, day: str, *, engine: EngineName = "duckdb", encode: Encode) -> dict[str, Manifest]:
    """Build and publish every feature table of `day`; return the manifest of each table's partition.

    Raises EmptyPartition when the window has no events, NotFound when there is no catalog up to `day`.
    """
    from feature_repo import expressions

    first = (date.fromisoformat(day) - timedelta(days=expressions.WINDOW_DAYS - 1)).isoformat()
    days = [d for d in lake.partitions("events") if first <= d <= day]
    if not days:
        raise EmptyPartition(
            f"{lake.source} has no clean events from {first} to {day}", remedy="ingest and validate a day first"
        )
    ever = [d for d in lake.partitions("events") if d <= day]
    catalog_day = _catalog_day(lake, day)
    inputs = _lineage(lake, days, ever, catalog_day)
    with _scratch(lake) as scratch, engines.engine(engine, scratch) as e:
        files = lake.files("events", days[0], days[-1])
        events = expressions.window(e.read("events", files), day)
        everything = e.read("events_ever", lake.files("events", ever[0], ever[-1]))
        everything = expressions.window(everything, day, days=None)
        catalog = e.read("catalog", [lake.fetch("catalog", catalog_day) / DATA])
        rows: dict[str, Iterable[pa.RecordBatch]] = {
            "shopper_activity": e.batches(expressions.shopper_activity(events, day)),
            "shopper_affinity": e.batches(expressions.shopper_affinity(events, catalog, day)),
            "shopper_sequence": e.batches(expressions.shopper_sequence(events, day)),
            "shopper_purchases": e.batches(expressions.shopper_purchases(everything, day)),
            "item_popularity": e.batches(expressions.item_popularity(events, catalog, day)),
            "item_text": _vectors(
                e.batches(expressions.item_texts(catalog)), _known_vectors(lake, day), encode, expressions.end_of(day)
            ),
        }
        published = {}
        for table, batches in rows.items():
            folder = scratch / table
            count = write(batches, SCHEMAS[table], folder / DATA)
            published[table] = lake.publish(table, day, folder, {"rows": count, "inputs": inputs[table]})
    return published


def write(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> int:
    """Write `batches` as Parquet with stable bytes, one row group in memory at a time; return the number of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd", coerce_timestamps="us") as writer:
        for group in _groups(batches, schema):
            writer.write_table(group, row_group_size=ROW_GROUP)
            count += group.num_rows
    return count


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of `batches` in `schema`, ROW_GROUP at a time, however the engine had cut them."""
    held: list[pa.Table] = []
    rows = 0
    for batch in batches:
        table = pa.Table.from_batches([batch]).select(schema.names)
        held.append(table.cast(schema).replace_schema_metadata(None))
        rows += table.num_rows
        while rows >= ROW_GROUP:
            joined = pa.concat_tables(held)
            # one chunk per column: the encoder's pages follow chunk borders, and the engine's must not show
            yield joined.slice(0, ROW_GROUP).combine_chunks()
            held, rows = [joined.slice(ROW_GROUP)], rows - ROW_GROUP
    if rows:
        yield pa.concat_tables(held).combine_chunks()


def _vectors(
    batches: Iterable[pa.RecordBatch], known: dict[str, np.ndarray], encode: Encode, at: Any
) -> Iterator[pa.RecordBatch]:
    """Yield items with the vectors of their texts; a text seen before keeps the vector it had."""
    for batch in itertools.chain.from_iterable(_cut(b, ENCODE_ROWS) for b in batches):
        texts = dict(zip(batch["text_hash"].to_pylist(), batch["text"].to_pylist(), strict=True))
        missing = {h: t for h, t in texts.items() if h not in known}
        if missing:
            encoded = np.asarray(encode(list(missing.values())), dtype=np.float32)
            if encoded.shape != (len(missing), TEXT_DIMENSIONS) or not np.isfinite(encoded).all():
                raise FeatureError(
                    f"the text encoder returned {encoded.shape} for {len(missing)} texts, or infinite values",
                    remedy=f"it has to return finite float32 [n, {TEXT_DIMENSIONS}]",
                )
            known.update(zip(missing, encoded, strict=True))
        matrix = np.stack([known[h] for h in batch["text_hash"].to_pylist()])
        offsets = pa.array(np.arange(len(matrix) + 1, dtype=np.int32) * TEXT_DIMENSIONS)
        times = pa.array([at] * len(matrix), ITEM_TEXT.field("created").type)
        yield pa.RecordBatch.from_arrays(
            [
                batch["item_id"].cast(pa.string()),
                batch["text_hash"].cast(pa.string()),
                pa.ListArray.from_arrays(offsets, pa.array(matrix.reshape(-1))),
                times,
                times,
            ],
            schema=ITEM_TEXT,
        )


def _known_vectors(lake: Lake, day: str) -> dict[str, np.ndarray]:
    """Read vectors by text hash from this day's own partition and the newest before it; the own one wins."""
    known: dict[str, np.ndarray] = {}
    for partition in [d for d in lake.partitions("item_text") if d <= day][-2:]:
        table = pq.read_table(lake.fetch("item_text", partition) / DATA, columns=["text_hash", "vector"])
        for batch in table.to_batches():
            matrix = batch["vector"].flatten().to_numpy().reshape(-1, TEXT_DIMENSIONS)
            known.update(zip(batch["text_hash"].to_pylist(), matrix, strict=True))
    return known


def _cut(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _catalog_day(lake: Lake, day: str) -> str:
    """Return the day of the newest catalog partition up to `day`. Raises FeatureError."""
    days = [d for d in lake.partitions("catalog") if d <= day]
    if not days:
        raise FeatureError(f"{lake.source} has no catalog up to {day}", remedy="ingest a catalog: `caravan ingest`")
    return days[-1]


def _lineage(lake: Lake, days: list[str], ever: list[str], catalog_day: str) -> dict[str, dict[str, str]]:
    """Describe what each table is made from; in its manifest, so that a partition's digest covers its inputs."""

    def of(days: list[str]) -> dict[str, str]:
        digests = "\n".join(f"{d} {lake.digest('events', d)}" for d in days)
        return {
            "events": f"{days[0]}..{days[-1]}, {len(days)} partitions",
            "events_digest": hashlib.sha256(digests.encode()).hexdigest(),
        }

    events = of(days)
    catalog = {"catalog": catalog_day, "catalog_digest": str(lake.digest("catalog", catalog_day))}
    return {
        "shopper_activity": events,
        "shopper_affinity": {**events, **catalog},
        "shopper_sequence": events,
        "shopper_purchases": of(ever),
        "item_popularity": {**events, **catalog},
        "item_text": catalog,
    }


@contextmanager
def _scratch(lake: Lake) -> Iterator[Path]:
    """Make a temporary folder beside the lake's cache, so that large spills stay on the disk meant for them."""
    lake.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=lake.cache, prefix=".features-") as name:
        yield Path(name)

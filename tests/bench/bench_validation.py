"""Rows per second through reading, checking and pseudonymizing events; beside it pandera on pandas, and DuckDB.

    python -m tests.bench.bench_validation [ROWS]

The peers do less: they read the same Parquet file and find the rows that break the same column rules (no reasons,
no quarantine, no duplicates, no hashes).
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.events import KINDS
from ingestion.landing.batches import batch_of
from ingestion.landing.table_reader import read_file
from ingestion.pseudonymize import Pseudonymizer
from ingestion.rules.schema import EVENT_SCHEMA
from ingestion.rules.split import split_rows
from ingestion.sources.shop import generate
from ingestion.sources.shop_world import ShopPlan
from tests.ingestion.builders import csv_bytes, json_bytes, write

KEY = Pseudonymizer("only for measuring speed")


def ours(path: Path) -> tuple[int, int]:
    raw = read_file(path, EVENT_SCHEMA)
    split = split_rows(raw, EVENT_SCHEMA, now=datetime.now(UTC))
    batch = batch_of(raw, split, KEY.hash_column, KEY.hash)
    return batch.read, batch.kept.num_rows


def pandera_on_pandas(path: Path) -> tuple[int, int]:
    import pandera.pandas as pandera
    from pandera.errors import SchemaErrors

    frame = pq.read_table(path).to_pandas()
    text = [pandera.Check.str_length(1, 128)]
    schema = pandera.DataFrameSchema(
        {
            "event_id": pandera.Column(object, text),
            "event_time": pandera.Column(None, pandera.Check(lambda s: s <= datetime.now(UTC))),
            "user_id": pandera.Column(object, text),
            "kind": pandera.Column(object, pandera.Check.isin(KINDS)),
            "item_id": pandera.Column(object, text, nullable=True),
            "query": pandera.Column(object, pandera.Check.str_length(1, 256), nullable=True),
            "position": pandera.Column(float, pandera.Check.in_range(0, 100_000), nullable=True),
            "value": pandera.Column(float, pandera.Check.in_range(0, 1e9), nullable=True),
        }
    )
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        return len(frame), len(frame) - errors.failure_cases["index"].nunique()
    return len(frame), len(frame)


def duckdb_checks(path: Path) -> tuple[int, int]:
    import duckdb

    kinds = ", ".join(f"'{k}'" for k in KINDS)
    rule = f"""length(event_id) between 1 and 128 and event_time <= now() and length(user_id) between 1 and 128
        and kind in ({kinds}) and (kind = 'search' or item_id is not null) and coalesce(length(query), 1) <= 256
        and coalesce(position, 0) between 0 and 100000 and coalesce(value, 0) between 0 and 1e9"""
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        found = connection.execute(
            f"create table kept as select * from read_parquet('{path}') where {rule}; "  # noqa: S608
            f"select (select count(*) from read_parquet('{path}')), (select count(*) from kept)"
        ).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


def main(wanted: int) -> None:
    """Print the table."""
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        plan = ShopPlan(
            days=5, shoppers=max(wanted // 10, 10), items=5_000, seed=3, end=date(2024, 5, 5), bad_rows=0.01
        )
        made = generate(plan, Path(folder) / "shop")
        table = pa.concat_tables([pq.read_table(p) for p in made.events]).slice(0, wanted).combine_chunks()
        parquet = Path(folder) / "events.parquet"
        pq.write_table(table, parquet)
        sample = table.slice(0, min(200_000, table.num_rows)).to_pylist()
        files = {
            "Caravan, Parquet": (ours, parquet),
            "Caravan, CSV": (ours, write(Path(folder) / "e.csv", csv_bytes(sample))),
            "Caravan, JSON lines": (ours, write(Path(folder) / "e.jsonl", json_bytes(sample))),
            "pandera on pandas, Parquet": (pandera_on_pandas, parquet),
            "DuckDB, Parquet": (duckdb_checks, parquet),
        }
        del sample
        base = 0.0
        print("| what | rows | kept | seconds | rows/s | to Caravan on Parquet |\n|---|---|---|---|---|---|")
        for name, (work, path) in files.items():
            work(path)  # imports and caches
            started = perf_counter()
            read, kept = work(path)
            seconds = perf_counter() - started
            speed = read / seconds
            base = base or speed
            print(f"| {name} | {read:,} | {kept:,} | {seconds:.2f} | {speed:,.0f} | {speed / base:.2f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)

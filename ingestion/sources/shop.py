"""Makes a synthetic shop of any size from a seed, as files of the contract, and breaks it on purpose.

`events/<day>.parquet` for every day with an event, `catalog.parquet`, `judgments.parquet`. The same plan gives the
same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.lake import write_table
from contracts.events import EVENTS, TIMESTAMP
from ingestion.sources.calendar import DAY
from ingestion.sources.shop_sessions import simulate_day
from ingestion.sources.shop_world import ShopPlan, World

#: How a row is broken when `bad_rows` asks for it, and the reason under which validation finds it.
BREAKS = {
    "user_id": "missing_user_id",
    "kind": "unknown_kind",
    "position": "bad_position",
    "event_time": "event_time_in_future",
    "event_id": "duplicate_event_id",
    "value": "bad_value",
}


@dataclass(frozen=True, kw_only=True)
class MadeShop:
    """Where the files are, and how much is in them. A day without an event has no file."""

    events: list[Path]
    catalog: Path
    judgments: Path
    counts: dict[str, int]


def generate(plan: ShopPlan, out: Path, *, progress: Callable[[str], None] | None = None) -> MadeShop:
    """Write the shop below `out`."""
    world = World(plan)
    last_item = np.full(len(world.shopper), -1, np.int64)
    counts: dict[str, int] = {}
    files = []
    for number in range(plan.days):
        day = plan.first + timedelta(days=number)
        drifted = plan.drift and number >= plan.days - max(plan.days // 3, 1)
        table = simulate_day(world, day, last_item, drifted=drifted)
        for kind in pc.value_counts(table.column("kind")).to_pylist():
            counts[kind["values"]] = counts.get(kind["values"], 0) + kind["counts"]
        if plan.bad_rows:
            table = broken(table, plan.bad_rows, [plan.seed, day.toordinal()])
        if plan.missing_column and number == plan.days - 1:
            table = table.drop_columns(plan.missing_column)
        path = out / "events" / f"{day.isoformat()}.parquet"
        if table.num_rows:
            write_table(table, path)
            files.append(path)
        else:
            path.unlink(missing_ok=True)  # of another plan: it would pass for this one's
        if progress is not None:
            progress(f"{day}: {table.num_rows:,} events")
    catalog, judgments = world.catalog(), world.judgments()
    write_table(catalog, out / "catalog.parquet")
    write_table(judgments, out / "judgments.parquet")
    totals = {"days": plan.days, "events": sum(counts.values()), **dict(sorted(counts.items()))}
    return MadeShop(
        events=files,
        catalog=out / "catalog.parquet",
        judgments=out / "judgments.parquet",
        counts={**totals, "items": catalog.num_rows, "shoppers": len(world.shopper), "judgments": judgments.num_rows},
    )


def broken(table: pa.Table, share: float, seed: list[int]) -> pa.Table:
    """Return `table` with that share of its rows broken, each in one of the ways of BREAKS."""
    if not table.num_rows:
        return table
    random = np.random.default_rng([*seed, 1])
    rows = np.flatnonzero(random.random(table.num_rows) < share)
    rows = rows[rows > 0]  # the first row's id is there to be repeated
    ways = random.integers(0, len(BREAKS), len(rows))
    loose = pa.schema([pa.field(f.name, f.type) for f in EVENTS])
    columns = {name: table.column(name).combine_chunks() for name in loose.names}
    for number, name in enumerate(BREAKS):
        hit = np.zeros(table.num_rows, bool)
        hit[rows[ways == number]] = True
        wrong: dict[str, pa.Scalar] = {
            "user_id": pa.scalar(None, pa.string()),
            "kind": pa.scalar("teleport"),
            "position": pa.scalar(-5, pa.int32()),
            "value": pa.scalar(-1.0),
        }
        column = columns[name]
        if name == "event_time":
            later = pc.add(column.cast(pa.int64()), pa.scalar(3650 * DAY)).cast(TIMESTAMP)
            columns[name] = pc.if_else(pa.array(hit), later, column)
        elif name == "event_id":
            columns[name] = pc.if_else(pa.array(hit), column[0], column)
        else:
            columns[name] = pc.if_else(pa.array(hit), wrong[name], column)
    return pa.table([columns[n] for n in loose.names], schema=loose)

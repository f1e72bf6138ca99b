"""Rows per second through the feature tables at a million events, and the online store beside Feast's own calls.

    python -m tests.bench.bench_features [--events 1000000] [--offline-only]

The peer of the tables is pandas computing the same columns from the same files in the same run; both have to agree.
The online part needs a running stack (`caravan up`).
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake, write_table
from contracts.errors import CaravanError
from contracts.events import EVENTS, INTERACTIONS, TIMESTAMP
from contracts.settings import Settings, settings
from feature_repo import expressions, online
from feature_repo.engines import engine
from feature_repo.schemas import SCHEMAS
from feature_repo.tables import build, write
from tests.fakes import MemoryStore
from tests.feature_repo.builders import day, drop_registry, encode, products, publish

DAYS = 30
ITEMS = 10_000
TABLES = ("shopper_activity", "shopper_affinity", "shopper_sequence", "item_popularity")


def make_lake(folder: Path, events: int, source: str) -> Lake:
    """`events` over DAYS days, a fiftieth as many shoppers, item popularity falling as a power."""
    draw = np.random.default_rng(0)
    lake = Lake(MemoryStore(), source, folder / "objects")
    kinds = np.array(["view", "click", "search", "impression", "add_to_cart", "purchase"])
    per_day = events // DAYS
    for number in range(DAYS):
        start = int(datetime.fromisoformat(day(number)).replace(tzinfo=UTC).timestamp()) * 1_000_000
        item = (ITEMS * draw.random(per_day) ** 3).astype(int)
        rows = {
            "event_id": pa.array([f"{number}-{n}" for n in range(per_day)]),
            "event_time": pa.array(start + draw.integers(0, 86_400_000_000, per_day), pa.int64()).cast(TIMESTAMP),
            "user_id": pa.array([f"u_{u:032x}" for u in draw.integers(0, max(1, events // 50), per_day)]),
            "kind": pa.array(draw.choice(kinds, per_day, p=[0.4, 0.2, 0.1, 0.2, 0.07, 0.03])),
            "item_id": pa.array([f"i{i}" for i in item]),
        }
        columns = [rows.get(f.name, pa.nulls(per_day, f.type)) for f in EVENTS]
        with tempfile.TemporaryDirectory() as partition:
            table = pa.Table.from_arrays(columns, schema=EVENTS).sort_by("event_time")
            write_table(table, Path(partition) / DATA)
            lake.publish("events", day(number), Path(partition))
    publish(lake, "catalog", day(0), products(ITEMS, tuple(f"group {n}" for n in range(40))))
    return lake


def by_duckdb(lake: Lake, folder: Path, last: str) -> dict[str, float]:
    """Seconds per table, writing included."""
    seconds = {}
    with engine("duckdb", folder) as e:
        events = expressions.window(e.read("events", lake.files("events")), last)
        catalog = e.read("catalog", lake.files("catalog"))
        for table in TABLES:
            make = getattr(expressions, table)
            expression = (
                make(events, last) if "activity" in table or "sequence" in table else make(events, catalog, last)
            )
            started = time.perf_counter()
            write(e.batches(expression), SCHEMAS[table], folder / f"{table}.parquet")
            seconds[table] = time.perf_counter() - started
    return seconds


def by_pandas(lake: Lake, folder: Path, last: str) -> dict[str, float]:
    """The same tables with pandas, vectorized; reading is paid once, by the first table, as nobody reads twice."""
    end = int(expressions.end_of(last).timestamp()) * 1_000_000
    started = time.perf_counter()
    columns = ["event_time", "user_id", "kind", "item_id"]
    events = pd.concat([pd.read_parquet(f, columns=columns) for f in lake.files("events")], ignore_index=True)
    catalog = pd.read_parquet(lake.files("catalog")[0])
    events["us"] = events["event_time"].astype("datetime64[us, UTC]").astype("int64")
    events["age"] = (end - 1 - events["us"]) // 86_400_000_000
    acted = events[events["kind"].isin(INTERACTIONS)]
    seconds = {}

    def done(table: str, frame: pd.DataFrame) -> None:
        nonlocal started
        frame.sort_values(frame.columns[0]).to_parquet(folder / f"{table}-pandas.parquet", compression="zstd")
        seconds[table] = time.perf_counter() - started
        started = time.perf_counter()

    def counts(of: pd.DataFrame, key: str, asked: dict[str, tuple[tuple[str, ...], int]]) -> pd.DataFrame:
        flags = {n: of["kind"].isin(kinds) & (of["age"] < days) for n, (kinds, days) in asked.items()}
        return pd.DataFrame(flags).groupby(of[key]).sum()

    opened, cart, bought = expressions.VIEWS, ("add_to_cart",), ("purchase",)
    asked = {f"views_{d}d": (opened, d) for d in (1, 7, 30)}
    asked |= {f"carts_{d}d": (cart, d) for d in (7, 30)} | {f"purchases_{d}d": (bought, d) for d in (7, 30)}
    activity = counts(events, "user_id", asked | {"searches_7d": (("search",), 7)})
    activity["active_days_30d"] = events[events["age"] < 30].groupby("user_id")["age"].nunique()
    activity["hours_since_last"] = (end - events.groupby("user_id")["us"].max()) / 3.6e9
    done("shopper_activity", activity.reset_index())

    weight = acted["kind"].map(expressions.KIND_WEIGHT) * np.select([acted["age"] < 7, acted["age"] < 28], [4, 2], 1)
    category = acted["item_id"].map(catalog.set_index("item_id")["category"])
    weights = weight.groupby([acted["user_id"], category.rename("category")]).sum().rename("weight").reset_index()
    weights["share"] = weights["weight"] / weights.groupby("user_id")["weight"].transform("sum")
    weights = weights.sort_values(["user_id", "weight", "category"], ascending=[True, False, True])
    best = weights.groupby("user_id").head(5).groupby("user_id")
    affinity = best.agg(categories=("category", list), weights=("share", list))
    done("shopper_affinity", affinity.reset_index())

    newest = acted.drop_duplicates(["user_id", "us", "item_id", "kind"]).sort_values(
        ["user_id", "us", "item_id", "kind"]
    )
    newest = newest.groupby("user_id").tail(50).groupby("user_id")
    done(
        "shopper_sequence", newest.agg(items=("item_id", list), kinds=("kind", list), times=("us", list)).reset_index()
    )

    recent = acted[acted["age"] < 28]
    asked = {
        f"{n}_{d}d": (k, d) for n, k in (("views", opened), ("carts", cart), ("purchases", bought)) for d in (1, 7, 28)
    }
    items = counts(recent, "item_id", asked).reindex(catalog["item_id"], fill_value=0)
    shop = items.sum()
    for name, of in (("cart_rate_28d", "carts_28d"), ("purchase_rate_28d", "purchases_28d")):
        items[name] = ((items[of] + 20 * shop[of] / shop["views_28d"]) / (items["views_28d"] + 20)).clip(upper=1)
    items["score"] = sum(
        (items[f"views_{d}d"] + 3 * items[f"carts_{d}d"] + 5 * items[f"purchases_{d}d"]) / d for d in (1, 7, 28)
    ) / 3  # fmt: skip
    done("item_popularity", items.reset_index())
    return seconds


def check(folder: Path) -> None:
    for table in TABLES:
        ours = pq.read_table(folder / f"{table}.parquet").to_pandas()
        theirs = pd.read_parquet(folder / f"{table}-pandas.parquet")
        assert len(ours) == len(theirs), table
        for name in theirs.columns:
            a, b = ours[name].to_numpy(), theirs[name].to_numpy()
            if a.dtype == object and len(a) and not isinstance(a[0], str):
                a, b = np.concatenate(list(a)), np.concatenate(list(b))
            assert np.allclose(a, b) if a.dtype.kind in "fiu" else (a == b).all(), (table, name)


def offline(events: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, last = Path(name), day(DAYS - 1)
        lake = make_lake(folder, events, "bench")
        lake.files("events")  # fetch once, for both
        ours, theirs = by_duckdb(lake, folder, last), by_pandas(lake, folder, last)
        check(folder)
    total = events // DAYS * DAYS
    print(f"\n{total:,} events, {DAYS} days, {events // 50:,} shoppers, {ITEMS:,} items; equal results\n")
    print("| table | DuckDB s | DuckDB events/s | pandas s | pandas events/s | ratio |\n|---|---:|---:|---:|---:|---:|")
    for table in (*TABLES, "all"):
        a, b = (sum(x.values()) if table == "all" else x[table] for x in (ours, theirs))
        print(f"| {table} | {a:.2f} | {total / a:,.0f} | {b:.2f} | {total / b:,.0f} | {b / a:.1f} |")


def percentiles(call: Callable[[int], Any], times: int) -> tuple[float, float]:
    """p50 and p99 of `times` calls one after the other, milliseconds."""
    taken = []
    for n in range(times):
        started = time.perf_counter()
        call(n)
        taken.append((time.perf_counter() - started) * 1000)
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99))


async def reads(reader: Any, users: list[str], times: int) -> tuple[float, float]:
    """As `percentiles`, within the one event loop that a reader belongs to."""
    taken = []
    for n in range(times):
        started = time.perf_counter()
        await reader.shopper(users[n % len(users)], 1.0)
        taken.append((time.perf_counter() - started) * 1000)
    await reader.close()
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99))


def online_part(s: Settings, events: int) -> None:
    from feast.data_source import PushMode

    from feature_repo.reader import OnlineReader
    from feature_repo.registry import feature_store
    from feature_repo.store import materialize, push_events

    source = f"bench-{uuid.uuid4().hex[:8]}"
    now = datetime(2026, 5, 1, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as name:
        lake = make_lake(Path(name), events, source)
        build(lake, day(DAYS - 1), encode=encode)
        materialize(s, source, day(DAYS - 1), now=lambda: now, lake=lake)  # imports Feast, applies the definitions
        report = materialize(s, source, day(DAYS - 1), now=lambda: now, lake=lake, force=True)
        users = pq.read_table(lake.fetch("shopper_activity", day(DAYS - 1)) / DATA)["user_id"].to_pylist()
    print(
        f"\nmaterialized {report.rows:,} rows in {report.seconds:.1f} s, {report.rows / report.seconds:,.0f} rows/s\n"
    )
    store = feature_store(s, source)
    service = store.get_feature_service("recommender")
    with asyncio.Runner() as runner:
        ours = runner.run(reads(OnlineReader(s, source), users, 3000))
    theirs = percentiles(
        lambda n: store.get_online_features(features=service, entity_rows=[{"user_id": users[n % len(users)]}]), 300
    )

    def action(n: int) -> dict[str, Any]:
        at = now - timedelta(seconds=10_000 - n)
        return {"event_id": str(n), "event_time": at, "user_id": users[n % 7], "kind": "view", "item_id": f"i{n}"}

    pushed = percentiles(lambda n: push_events(s, source, [action(n)], now=lambda: now), 1000)
    frame = {"items": ["a"], "kinds": ["view"], "times": [1]}

    def feast_push(n: int) -> None:
        at = now + timedelta(seconds=n)
        rows = pd.DataFrame([{"user_id": users[n % 7], **frame, "event_timestamp": at, "created": at}])
        store.push("shopper_actions", rows, to=PushMode.ONLINE)

    feast_pushed = percentiles(feast_push, 100)
    print("| one shopper | p50 ms | p99 ms | Feast's own p50 | p99 | ratio of p50 |\n|---|---:|---:|---:|---:|---:|")
    for what, (a, b), (c, d) in (("read", ours, theirs), ("push", pushed, feast_pushed)):
        print(f"| {what} | {a:.2f} | {b:.2f} | {c:.2f} | {d:.2f} | {c / a:.0f} |")
    forget(s, source)


def forget(s: Settings, source: str) -> None:
    import redis

    host, port = s.redis_address
    client = redis.Redis(host=host, port=port, password=s.secret("redis_password"))
    project = online.project_name(source).encode()
    for key in client.scan_iter(count=1000):
        if key.endswith(project):
            client.delete(key)
    drop_registry(s, source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--offline-only", action="store_true")
    options = parser.parse_args()
    offline(options.events)
    if not options.offline_only:
        try:
            online_part(settings(), options.events // 10)
        except CaravanError as error:
            print(f"\nno online part: {error}")


if __name__ == "__main__":
    main()

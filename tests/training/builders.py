"""Builds small shops whose next item can be learned, and what tests need of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artifacts.lake import Lake, write_table
from contracts.events import CATALOG, EVENTS
from training import recipes
from training.data.datasets import Examples, Ints, Sequences, last_items
from training.data.training_data import TrainingData
from training.fitting.loop import DistributedRank, Trainer
from training.recipes import Recipe

TEXT = 12
WORDS = ("walnut", "brushed", "compact", "folding", "soft", "bright", "slim", "sturdy", "quiet", "warm")
THINGS = ("lamp", "desk", "chair", "kettle", "shelf", "mirror", "clock", "basket", "mug", "rug", "vase", "stool")


def recipe(**changes: Any) -> Recipe:
    return replace(recipes.get("tiny"), **changes)


def chains(items: int = 40, count: int = 120, *, seed: int = 0, step: int = 3) -> Sequences:
    """Draw sequences of 3 to 9 items in which item i is mostly followed by i + step."""
    draw = np.random.default_rng(seed)
    flat: list[int] = []
    lengths = []
    for _ in range(count):
        item, length = int(draw.integers(items)), int(draw.integers(3, 10))
        lengths.append(length)
        for _ in range(length):
            flat.append(item + 1)
            item = (item + step) % items if draw.random() < 0.9 else int(draw.integers(items))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(
        np.asarray(flat, dtype=np.int64),
        np.arange(len(flat), dtype=np.int64),
        offsets,
        pa.array([f"u{i}" for i in range(count)]),
    )


def text_vectors(items: int, *, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    vectors = np.random.default_rng(seed).normal(size=(items, TEXT)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def data(items: int = 40, *, text: bool = False, seed: int = 0, count: int = 120) -> TrainingData:
    sequences = chains(items, count, seed=seed)
    learned = sequences.head(1)
    return TrainingData(
        item_count=items,
        items=learned.items,
        offsets=learned.offsets,
        validation=last_items(sequences),
        exclude_seen=False,
        text=text_vectors(items) if text else None,
    )


def trainer(folder: Path, values: TrainingData | None = None, **changes: Any) -> Trainer:
    import torch

    return Trainer(recipe(**changes), values or data(), folder, key="k", place=DistributedRank(torch.device("cpu")))


def questions(histories: list[list[int]], targets: list[int]) -> Examples:
    stops = np.cumsum([len(h) for h in histories])
    starts = stops - [len(h) for h in histories]
    flat: Ints = np.asarray([i for h in histories for i in h], dtype=np.int64)
    return Examples(flat, starts, stops, np.asarray(targets, dtype=np.int64))


# a shop in the contract's tables


def item_id(index: int) -> str:
    return f"i{index:03d}"


def catalog(items: int = 40, *, titles: bool = True) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [None] * items for name in CATALOG.names}
    columns["item_id"] = [item_id(i) for i in range(items)]
    columns["title"] = [
        f"{WORDS[i % len(WORDS)]} {THINGS[i // len(WORDS) % len(THINGS)]}" if titles else f"item {i}"
        for i in range(items)
    ]
    columns["category"] = [f"home/{WORDS[i % 3]}" for i in range(items)]
    columns["available"] = [True] * items
    return pa.table(columns, schema=CATALOG)


def events(days: int = 8, shoppers: int = 60, items: int = 38, *, seed: int = 0, first: str = "2026-01-01") -> pa.Table:
    """Let every shopper come on some days and walk from item i to i + 3, mostly.

    Items from `items` on stay untouched, except on the last day, when item `items` is looked at too.
    """
    draw = np.random.default_rng(seed)
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    rows: list[tuple[Any, ...]] = []
    at = {u: int(draw.integers(items)) for u in range(shoppers)}
    for day in range(days):
        for shopper in range(shoppers):
            if draw.random() < 0.4:
                continue
            time = start + timedelta(days=day, seconds=int(draw.integers(0, 80_000)))
            for _ in range(int(draw.integers(1, 5))):
                item = items if day == days - 1 and draw.random() < 0.1 else at[shopper]
                rows.append((time, f"u_{shopper:03d}", f"s{shopper}-{day}", item_id(item)))
                time += timedelta(minutes=int(draw.integers(1, 30)))
                at[shopper] = (at[shopper] + 3) % items if draw.random() < 0.9 else int(draw.integers(items))
    rows.sort()
    table = {
        "event_id": [f"e{i:06d}" for i in range(len(rows))],
        "event_time": [r[0] for r in rows],
        "user_id": [r[1] for r in rows],
        "session_id": [r[2] for r in rows],
        "kind": ["view"] * len(rows),
        "item_id": [r[3] for r in rows],
    }
    return pa.table({name: table.get(name, [None] * len(rows)) for name in EVENTS.names}, schema=EVENTS)


def visits(*lengths: int) -> pa.Table:
    """Let one shopper after another look at so many different items; no event names a session."""
    shopper = [u for u, length in enumerate(lengths) for _ in range(length)]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    table = {
        "event_id": [f"e{i:06d}" for i in range(len(shopper))],
        "event_time": [start + timedelta(minutes=i) for i in range(len(shopper))],
        "user_id": [f"u_{u:03d}" for u in shopper],
        "kind": ["view"] * len(shopper),
        "item_id": [item_id(i) for length in lengths for i in range(length)],
    }
    return pa.table({name: table.get(name, [None] * len(shopper)) for name in EVENTS.names}, schema=EVENTS)


def fill(lake: Lake, folder: Path, table: pa.Table, items: pa.Table) -> list[str]:
    """Publish the events by day, and catalog and text vectors for the last of them; return the days."""
    dates = [t.date().isoformat() for t in table["event_time"].to_pylist()]
    days = sorted(set(dates))
    for day in days:
        part = table.filter(pa.array([d == day for d in dates]))
        write_table(part, folder / "events" / day / "data.parquet")
        lake.publish("events", day, folder / "events" / day)
    vectors = [v.tolist() for v in text_vectors(len(items))]
    text = pa.table(
        {
            "item_id": items["item_id"],
            "text_hash": items["title"],
            "vector": pa.array(vectors, type=pa.list_(pa.float32())),
        }
    )
    for name, content in (("catalog", items), ("item_text", text)):
        write_table(content, folder / name / "data.parquet")
        lake.publish(name, days[-1], folder / name)
    return days

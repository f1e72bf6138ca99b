"""Nights of real data at several days, and of shops in which nothing can be learned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.events import CATALOG, EVENTS
from contracts.settings import settings
from retrieval.encoder import TextEncoder
from training.data import inputs
from training.data.texts import texts_of
from training.models.text import encoder_directory
from training.recipes import Recipe

#: The share of the days that the first cut sees.
FIRST = 0.5


def real_night(folder: Path, cut: int, cuts: int, recipe: Recipe) -> inputs.Inputs:
    """What the chain reads of `caravan convert`'s files on one of `cuts` days, evenly spread over the later half."""
    events, catalog = (pq.read_table(folder / f"{name}.parquet") for name in ("events", "catalog"))
    days = np.unique(events["event_time"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() // 86_400_000_000)
    last = days[round((len(days) - 1) * (FIRST + (1 - FIRST) * (cut + 1) / cuts))]
    until = pa.scalar(int(last + 1) * 86_400_000_000, pa.int64()).cast(pa.timestamp("us"))
    before = pc.less(events["event_time"].cast(pa.timestamp("us")), until)
    texts = texts_of(catalog)
    text = None
    if texts is not None:
        vectors = TextEncoder.load(encoder_directory(settings())).encode(texts)
        text = pa.table({"item_id": catalog["item_id"], "vector": pa.array(list(vectors), pa.list_(pa.float32()))})
    return inputs.assemble(events.filter(before), catalog, text, recipe, about=folder.name)


def noise_night(seed: int, recipe: Recipe) -> inputs.Inputs:
    """What the chain reads of a shop whose shoppers choose at random: some with baskets, some item by item."""
    draw = np.random.default_rng([seed, 101])
    shoppers, items, days = (int(draw.integers(*bounds)) for bounds in ((150, 500), (30, 300), (6, 15)))
    basket, skew = int(draw.choice([1, 3, 5])), float(draw.choice([0.0, 0.6, 1.0]))
    weights = 1 / np.arange(1, items + 1) ** skew
    begin = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=int(draw.integers(700)))
    rows = []
    for shopper in range(shoppers):
        for day in range(days):
            if draw.random() < 0.3:
                continue
            moment = begin + timedelta(days=day, seconds=int(draw.integers(86_000)))
            chosen = draw.choice(items, basket, p=weights / weights.sum())
            rows += [(f"u{shopper}", moment, f"i{item:04d}") for item in chosen.tolist()]
    users, times, names = zip(*rows, strict=True)
    known = {
        "event_id": [f"e{row}" for row in range(len(rows))], "user_id": users, "event_time": times,
        "kind": ["view"] * len(rows), "item_id": names,
    }  # fmt: skip
    events = pa.table({field.name: _column(field, known, len(rows)) for field in EVENTS}, schema=EVENTS)
    shown = {"item_id": [f"i{item:04d}" for item in range(items)], "available": [True] * items}
    catalog = pa.table({field.name: _column(field, shown, items) for field in CATALOG}, schema=CATALOG)
    return inputs.assemble(events, catalog, None, recipe, about=f"noise {seed}")


def _column(field: pa.Field, known: dict[str, list[object]], count: int) -> pa.Array:
    return pa.array(known[field.name], field.type) if field.name in known else pa.nulls(count, field.type)

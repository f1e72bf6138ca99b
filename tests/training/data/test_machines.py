"""A crawler is in no list, no model and no question; what nobody can know to be one weighs as much as one shopper."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from contracts.events import EVENTS
from tests.training import builders
from training.bundle import popular
from training.data import held_out, inputs
from training.data.datasets import DAY_US, Sequences
from training.data.popularity import popularity
from training.recipes import Recipe
from training.sources.learn import category_codes, learn

#: What the crawler walks in a circle.
CIRCLE = [builders.item_id(i) for i in range(30, 35)]


def crawler(count: int, *, name: str = "u_crawler", gap: float = 0.8, day: int = 7) -> pa.Table:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    table = {
        "event_id": [f"{name}-{n}" for n in range(count)],
        "event_time": [start + timedelta(seconds=gap * n) for n in range(count)],
        "user_id": [name] * count,
        "kind": ["view"] * count,
        "item_id": [CIRCLE[n % 5] for n in range(count)],
    }
    return pa.table({n: table.get(n, [None] * count) for n in EVENTS.names}, schema=EVENTS)


def read(*crawlers: pa.Table, recipe: Recipe) -> inputs.Inputs:
    events = pa.concat_tables([builders.events(shoppers=160, items=30), *crawlers])
    return inputs.assemble(events, builders.catalog(), None, recipe, about="the test")


def test_a_crawler_changes_nothing_at_all() -> None:
    """Case 20: 100,000 views of five items on one day, beside 160 people."""
    recipe = builders.recipe()
    with_it, without = read(crawler(100_000), recipe=recipe), read(recipe=recipe)
    assert (len(with_it.machines), with_it.machines.reasons) == (1, ("pace",))
    assert with_it.machines.to_dict()["share"] > 0.95
    assert popular(with_it) == popular(without)
    assert not set(popular(with_it)["all"][:5]) & set(CIRCLE)
    assert with_it.known.keys == without.known.keys
    for ours, theirs in zip(
        (*vars(with_it.train).values(), *held_out.held_out_examples(with_it, recipe)[0].targets),
        (*vars(without.train).values(), *held_out.held_out_examples(without, recipe)[0].targets),
        strict=True,
    ):
        assert ours == theirs if isinstance(ours, pa.Array | int) else np.array_equal(ours, theirs)
    assert with_it.cutoff == without.cutoff


def test_what_is_not_found_weighs_as_much_as_one_shopper() -> None:
    """A crawler as slow and as sleepy as a person, on three days of the shop's own half-life."""
    recipe = builders.recipe()
    draw = np.random.default_rng(0)
    parts = []
    for day in (5, 6, 7):
        part = crawler(180, gap=1.0, day=day)
        times = np.sort(draw.integers(9 * 3600, 17 * 3600, 180)) * 1_000_000
        base = part["event_time"][0].as_py()
        moved = pa.array([base + timedelta(microseconds=int(t)) for t in times], EVENTS.field("event_time").type)
        parts.append(part.set_column(1, EVENTS.field("event_time"), moved))
    sneaky = read(*parts, recipe=recipe)
    assert not len(sneaky.machines)
    assert not set(popular(sneaky)["all"][:5]) & set(CIRCLE)
    codes, available = category_codes(sneaky.items), sneaky.available
    whole = Sequences(sneaky.known.items, sneaky.known.times, sneaky.known.offsets, sneaky.known.keys)
    best = learn(whole, codes, available, None).ranked[:5]
    assert not {builders.item_id(int(i)) for i in best} & set(CIRCLE)


def test_a_shopper_counts_once_on_an_item_and_day() -> None:
    day = DAY_US
    times = np.array([0, 1, 2, day, day + 1, 5, day + 7], dtype=np.int64)
    items = np.array([1, 1, 2, 1, 1, 1, 2], dtype=np.int64)
    sequences = Sequences(items, times, np.array([0, 5, 7]), pa.array(["a", "b"]))
    # item 1: a on both days, b on the first; item 2: a on the first, b on the second
    np.testing.assert_allclose(popularity(sequences, 3), [2 * 0.5 ** (1 / 7) + 1, 0.5 ** (1 / 7) + 1, 0], rtol=1e-6)
    empty = Sequences(items[:0], times[:0], np.array([0]), pa.array([], pa.string()))
    assert popularity(empty, 3).tolist() == [0, 0, 0]

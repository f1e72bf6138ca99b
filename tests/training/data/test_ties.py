"""Actions of one shopper at one instant are a set: no order of theirs is learned, asked for, or seen in a figure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import NotEnoughData
from contracts.events import EVENTS
from tests.training import builders
from training.data import held_out, inputs
from training.data.datasets import Sequences, firsts_of_instants
from training.data.packing import PackedBatches, segments

#: Sizes of the sets of each sequence.
baskets = st.lists(st.lists(st.integers(1, 6), min_size=0, max_size=8), min_size=1, max_size=12)


def sequences(sizes: list[list[int]]) -> Sequences:
    """Sequences of sets of such sizes, in which every item is another."""
    times = [n for one in sizes for n, size in enumerate(one) for _ in range(size)]
    offsets = np.concatenate([[0], np.cumsum([sum(one) for one in sizes])]).astype(np.int64)
    items = np.arange(1, len(times) + 1)
    keys = pa.array([f"u{n}" for n in range(len(sizes))])
    return Sequences(items, np.asarray(times, dtype=np.int64), offsets, keys)


@given(baskets, st.integers(2, 12), st.integers(1, 3))
def test_each_item_is_predicted_once_from_what_is_strictly_earlier(
    sizes: list[list[int]], width: int, parts: int
) -> None:
    made = sequences(sizes)
    firsts = firsts_of_instants(made)
    cut = segments(made.offsets, width, firsts)
    assert (cut.lengths <= width).all()
    if not len(cut):
        assert all(len(one) < 2 for one in sizes) or width < 6
        return
    batches = PackedBatches(made.items, cut, width=width, batch_tokens=3 * width, seed=1, epoch=0, firsts=firsts)
    seen = {}
    for batch in batches:
        assert len(batch.targets)
        for source, target in zip(batch.items.reshape(-1)[batch.where].tolist(), batch.targets.tolist(), strict=True):
            assert target not in seen
            seen[target] = source
    for number in range(len(batches)):  # every process has something to learn from
        assert all(len(batches.batch(number, part, parts).targets) for part in range(parts))
    for target, source in seen.items():
        assert source == firsts[target - 1]  # 1-based item before the first of the set
    starts = np.repeat(made.offsets[:-1], made.lengths)
    expected = {t + 1 for t in range(len(made.items)) if firsts[t] > starts[t]}
    assert set(seen) <= expected
    if width >= 6:  # no set is longer than a stretch
        assert set(seen) == expected


def test_without_sets_nothing_changes() -> None:
    made = builders.chains(count=300)
    firsts = firsts_of_instants(made)
    plain, told = segments(made.offsets, 7), segments(made.offsets, 7, firsts)
    assert np.array_equal(plain.starts, told.starts)
    ways = [
        PackedBatches(made.items, plain, width=7, batch_tokens=70, seed=0, epoch=0, firsts=f).batch(0)
        for f in (None, firsts)
    ]
    assert np.array_equal(ways[0].where, ways[1].where)
    assert np.array_equal(ways[0].targets, ways[1].targets)


def test_early_stopping_asks_for_what_comes_after_an_instant_and_trains_on_none_of_it() -> None:
    made = sequences([[2, 3], [1, 1, 4], [5], [1, 2, 1]])
    learned, questions = held_out.validation_split(made, builders.recipe())
    asked = [(questions.history(e).tolist(), int(questions.targets[e])) for e in range(len(questions))]
    assert asked == [([1, 2], 5), ([6, 7], 11), ([17, 18, 19], 20)]  # the shopper of a single basket cannot be asked
    assert learned.items.tolist() == [1, 2, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19]
    with pytest.raises(NotEnoughData, match="at two moments"):
        held_out.validation_split(sequences([[5], [3], [1]]), builders.recipe())


def test_a_page_loaded_again_is_not_asked_but_a_choice_from_a_set_is() -> None:
    items, times = np.array([1, 2, 2, 1, 4, 4, 5, 5, 6]), np.array([0, 0, 1, 2, 3, 3, 4, 5, 5])
    made = Sequences(items, times, np.array([0, 7, 9]), pa.array(["a", "b"]))
    assert not held_out.repeats_of_the_last(made).any()  # 2 comes from a set, and 5 is another shopper's
    items, times = np.array([2, 1, 2, 2, 2, 7, 2]), np.array([0, 1, 2, 2, 3, 3, 4])
    made = Sequences(items, times, np.array([0, 7]), pa.array(["a"]))  # viewed and put into the cart: one item
    assert held_out.repeats_of_the_last(made).tolist() == [False] * 4 + [True, False, False]


def shop(shoppers: int = 80, days: int = 8, items: int = 30, *, seed: int = 0) -> pa.Table:
    """Baskets of three on most days: whoever took item i takes i + 1, i + 2 and i + 3 next, mostly."""
    draw = np.random.default_rng(seed)
    rows = []
    for shopper in range(shoppers):
        at = int(draw.integers(items))
        for day in range(days):
            if draw.random() < 0.2:
                continue
            time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=int(draw.integers(80_000)))
            for step in draw.permutation(3).tolist():
                item = (at + 1 + step) % items if draw.random() < 0.9 else int(draw.integers(items))
                rows.append((time, f"u{shopper:03d}", builders.item_id(item)))
            at = (at + 3) % items
    rows.sort()
    table = {
        "event_id": [f"e{n:06d}" for n in range(len(rows))], "event_time": [r[0] for r in rows],
        "user_id": [r[1] for r in rows], "kind": ["purchase"] * len(rows), "item_id": [r[2] for r in rows],
    }  # fmt: skip
    return pa.table({name: table.get(name, [None] * len(rows)) for name in EVENTS.names}, schema=EVENTS)


def renamed(table: pa.Table, column: str, names: dict[str, str]) -> pa.Table:
    values = pa.array([names[v] for v in table[column].to_pylist()], pa.string())
    return table.set_column(table.schema.get_field_index(column), table.schema.field(column), values)


def read(events: pa.Table, catalog: pa.Table) -> inputs.Inputs:
    return inputs.assemble(events, catalog, None, builders.recipe(), about="the test")


@given(st.integers(0, 2**32 - 1))
def test_rows_and_names_of_events_do_not_show(seed: int) -> None:
    events, catalog, draw = shop(shoppers=12, days=4), builders.catalog(30), np.random.default_rng(seed)
    recipe = builders.recipe(min_train_interactions=1)
    places = draw.permutation(len(events))
    names = dict(zip(events["event_id"].to_pylist(), (f"x{n}" for n in places.tolist()), strict=True))
    other = renamed(events, "event_id", names).take(pa.array(places))
    ours, theirs = (inputs.assemble(e, catalog, None, recipe, about="the test") for e in (events, other))
    assert ours.known.keys == theirs.known.keys
    for name in ("items", "times", "offsets"):
        assert np.array_equal(getattr(ours.known, name), getattr(theirs.known, name))


@given(st.integers(0, 2**32 - 1))
def test_other_names_of_items_ask_the_same_questions(seed: int) -> None:
    """Every question, as sets: who, when, after what, and the answer."""
    events, catalog, draw = shop(shoppers=20, days=4), builders.catalog(30), np.random.default_rng(seed)
    recipe = builders.recipe(min_train_interactions=1)
    ids = catalog["item_id"].to_pylist()
    names = dict(zip(ids, (ids[n] for n in draw.permutation(30).tolist()), strict=True))
    asked = []
    for table, back in (
        (events, {v: v for v in ids}),
        (renamed(events, "item_id", names), {v: k for k, v in names.items()}),
    ):
        made = inputs.assemble(table, catalog, None, recipe, about="the test")
        examples, _, times = held_out.held_out_examples(made, recipe)
        said = [back[ids[item - 1]] for item in examples.items.tolist()]
        who = np.searchsorted(made.known.offsets, examples.starts, side="right")
        asked.append(
            sorted(
                (int(who[e]), int(times[e]), back[ids[examples.targets[e] - 1]],
                 tuple(sorted(said[examples.starts[e] : examples.stops[e]])))
                for e in range(len(examples))
            )
        )  # fmt: skip
    assert asked[0] == asked[1]
    assert len(asked[0]) > 10

"""Sequences, questions and packed batches: every interaction is learned once, and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training import builders
from training.data import held_out
from training.data.datasets import Sequences, every_prefix, from_events, last_items
from training.data.packing import PackedBatches, pack, segments

lengths_lists = st.lists(st.integers(0, 30), min_size=1, max_size=40)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=60))
def test_packing_overlaps_nothing_and_fits(lengths: list[int]) -> None:
    row, column, rows = pack(np.asarray(lengths), 12)
    taken = Counter(
        (int(r), int(c) + p) for r, c, length in zip(row, column, lengths, strict=True) for p in range(length)
    )
    assert max(taken.values()) == 1
    assert all(0 <= c < 12 for _, c in taken)
    assert set(row.tolist()) == set(range(rows))


@given(lengths_lists, st.integers(2, 10), st.integers(0, 3))
def test_an_epoch_predicts_every_item_but_the_firsts_once(lengths: list[int], width: int, epoch: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.arange(1, offsets[-1] + 1)
    cut = segments(offsets, width)
    if not len(cut):
        return
    batches = PackedBatches(items, cut, width=width, batch_tokens=3 * width, seed=1, epoch=epoch)
    seen = [(i, t) for b in batches for i, t in zip(b.items.reshape(-1)[b.where], b.targets, strict=True)]
    firsts = set((offsets[:-1] + 1).tolist())
    expected = [(i, i + 1) for i in items.tolist() if i + 1 not in firsts and i + 1 <= offsets[-1]]
    assert sorted(seen) == expected


@given(lengths_lists, st.integers(1, 3))
def test_several_processes_share_an_epoch_exactly(lengths: list[int], parts: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths) + 2)]).astype(np.int64)
    batches = PackedBatches(
        np.arange(1, offsets[-1] + 1), segments(offsets, 8), width=8, batch_tokens=8 * 4, seed=0, epoch=0
    )
    for number in range(len(batches)):
        whole = sorted(batches.batch(number).targets.tolist())
        shared = [t for part in range(parts) for t in batches.batch(number, part, parts).targets.tolist()]
        assert set(whole) <= set(shared)
        if len(batches.batch(number).items) >= parts:
            assert sorted(shared) == whole


def test_padding_is_nearly_nothing() -> None:
    sequences = builders.chains(count=2_000)
    cut = segments(sequences.offsets, 50)
    assert PackedBatches(sequences.items, cut, width=50, batch_tokens=500, seed=0, epoch=0).padding < 0.02


def test_order_depends_on_seed_and_epoch_alone() -> None:
    sequences = builders.chains()
    cut = segments(sequences.offsets, 20)

    def first(seed: int, epoch: int) -> list[int]:
        batches = PackedBatches(sequences.items, cut, width=20, batch_tokens=100, seed=seed, epoch=epoch)
        targets: list[int] = batches.batch(0).targets.tolist()
        return targets

    assert first(1, 2) == first(1, 2)
    assert first(1, 2) != first(1, 3)
    assert first(1, 2) != first(2, 2)


def test_events_become_sequences_in_time_order() -> None:
    events = builders.events(days=3, shoppers=5)
    shuffled = events.take(pa.array(np.random.default_rng(0).permutation(len(events))))
    ids = builders.catalog()["item_id"].combine_chunks()
    for by in ("user_id", "session_id"):
        got = from_events(shuffled, ids, by=by)
        for key, start, stop in zip(got.keys.to_pylist(), got.offsets[:-1], got.offsets[1:], strict=True):
            mine = [r["item_id"] for r in events.to_pylist() if r[by] == key.rpartition("\x1f")[2]]
            assert [builders.item_id(i - 1) for i in got.items[start:stop]] == mine


def test_sessions_that_each_shopper_numbers_from_one_stay_apart() -> None:
    events = builders.visits(3, 2, 4)
    ids = builders.catalog()["item_id"].combine_chunks()
    place = events.schema.get_field_index("session_id")
    for sessions in (["1"] * 9, [None] * 9, ["1", "1", "1", None, None, "1", "1", "2", "2"]):
        got = from_events(events.set_column(place, "session_id", pa.array(sessions, pa.string())), ids, by="session_id")
        assert got.lengths.tolist() == ([3, 2, 2, 2] if "2" in sessions else [3, 2, 4])


def test_items_outside_of_the_catalog_are_dropped_and_counted() -> None:
    events = builders.events(days=2, shoppers=5, items=10)
    got = from_events(events, pa.array([builders.item_id(i) for i in range(5)]))
    inside = sum(int(i[1:]) < 5 for i in events["item_id"].to_pylist())
    assert (len(got.items), got.dropped) == (inside, len(events) - inside)


def test_questions_of_both_protocols() -> None:
    sequences = builders.chains(count=10)
    last = last_items(sequences)
    assert [[*last.history(e).tolist(), int(last.targets[e])] for e in range(10)] == [
        sequences.items[a:b].tolist() for a, b in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)
    ]
    assert builders.questions([[1, 2], [2, 3], []], [2, 1, 4]).repeats().tolist() == [True, False, False]
    prefixes = every_prefix(sequences)
    assert len(prefixes) == len(sequences.items) - len(sequences)
    assert (prefixes.items[prefixes.stops] == prefixes.targets).all()


@pytest.mark.parametrize("width", [1, 3, 50])
def test_padded_histories_keep_the_newest(width: int) -> None:
    examples = builders.questions([[1, 2, 3, 4], [5], []], [9, 9, 9])
    items, lengths = examples.padded(np.arange(3), width)
    assert lengths.tolist() == [min(4, width), 1, 0]
    assert [row[:n].tolist() for row, n in zip(items, lengths, strict=True)] == [[1, 2, 3, 4][-width:], [5], []]


@pytest.mark.parametrize(
    ("counts", "asked_days"),
    [
        ([30] * 10, 2),  # a fifth of the interactions
        ([30, 30, 30, 30, 60], 1),  # the last day alone is a third of them
        ([40, 200], 0),  # no day to spare: the last action of each
        ([200], 0),
    ],
)
def test_the_ranker_is_asked_whatever_the_days_are_like(counts: list[int], asked_days: int) -> None:
    draw, day = np.random.default_rng(5), 86_400_000_000
    times = np.concatenate([number * day + np.sort(draw.integers(0, day, n)) for number, n in enumerate(counts)])
    owner = draw.integers(0, 40, len(times))
    order = np.lexsort((times, owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=40))]).astype(np.int64)
    keys = pa.array([f"u{number}" for number in range(40)])
    train = Sequences(draw.integers(1, 31, len(times)), times[order], offsets, keys)
    recipe = builders.recipe(min_train_interactions=50, ranker_questions=1_000)
    split = held_out.ranker_split(train, np.ones(30, dtype=bool), recipe)
    assert split is not None
    before, asked, shopper = split
    assert len(asked) >= recipe.ranker_least
    np.testing.assert_array_equal(train.offsets[shopper], asked.starts if asked_days else train.offsets[shopper])
    if asked_days:
        assert before.times.max() < (len(counts) - asked_days) * day
    else:
        assert len(np.unique(shopper)) == len(shopper)
        assert (before.lengths[shopper] < train.lengths[shopper]).all()

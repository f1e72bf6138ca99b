"""What every source says of a candidate: shares, whatever the history is and whichever sources there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.ranking.item_lists import ItemLists
from retrieval.ranking.sources import CONTEXT, LISTS, SOURCES, SourceData, name_candidates, recent_items
from tests.retrieval.ranking.shops import ITEMS, histories, seeds, source_data

subsets = st.sets(st.sampled_from(LISTS)).map(tuple)


def scores_of(seed: int) -> np.ndarray:
    draw = np.random.default_rng([seed, 1])
    scores = draw.normal(size=ITEMS).astype(np.float32) * 5
    scores[draw.random(ITEMS) < 0.1] = -np.inf  # not available
    return scores


@given(histories, seeds, subsets, st.booleans())
def test_shares_are_shares(history: np.ndarray, seed: int, lists: tuple[str, ...], with_model: bool) -> None:
    data = source_data(seed, lists=lists)
    named = name_candidates(data, history, scores_of(seed) if with_model else None)
    assert (np.diff(named.index) > 0).all(), "each candidate once, ascending"
    assert named.shares.shape == (len(named.index), len(SOURCES))
    assert named.context.shape == (len(CONTEXT),)
    assert np.isfinite(named.shares).all()
    assert np.isfinite(named.context).all()
    assert (named.shares >= 0).all()
    assert (named.shares.sum(axis=0) <= 1.001).all()
    for name in set(LISTS) - set(lists):
        assert not named.shares[:, SOURCES.index(name)].any()


@given(histories, seeds, st.integers(0, 200))
def test_more_depth_adds_candidates_and_changes_no_share(history: np.ndarray, seed: int, depth: int) -> None:
    data, scores = source_data(seed), scores_of(seed)
    few, many = name_candidates(data, history, scores), name_candidates(data, history, scores, depth)
    assert set(few.index) <= set(many.index)
    np.testing.assert_array_equal(few.shares, many.shares[np.isin(many.index, few.index)])
    np.testing.assert_allclose(few.context, many.context)


@given(histories, seeds)
def test_what_a_source_says_is_what_its_lists_hold(history: np.ndarray, seed: int) -> None:
    """The plain loop, in another form, gives the same shares of `neighbours` and `follows`."""
    data = source_data(seed)
    named = name_candidates(data, history, None)
    recent, strength = recent_items(history)
    for name, rows in (
        ("neighbours", zip(recent, strength, strict=True)),
        ("follows", [(h, 1.0) for h in history[-1:]]),
    ):
        lists, expected = data.lists[name], np.zeros(ITEMS)
        for row, weight in rows:
            for place in range(lists.offsets[row], lists.offsets[row + 1]):
                expected[lists.items[place]] += weight * lists.weights[place]
        found = named.shares[:, SOURCES.index(name)]
        np.testing.assert_allclose(found, (expected / max(expected.sum(), 1e-12))[named.index], rtol=1e-4, atol=1e-6)
        assert set(np.flatnonzero(expected)) <= set(named.index)


@given(histories)
def test_the_newest_items_count_most_and_each_once(history: np.ndarray) -> None:
    recent, strength = recent_items(history)
    assert recent.tolist() == list(dict.fromkeys(history[::-1].tolist()))[:12]
    assert (np.diff(strength) < 0).all()


def test_sources_are_read_as_they_were_written(tmp_path: Path) -> None:
    data = source_data(3, lists=("follows", "content"))
    data.save(tmp_path)
    again = SourceData.load(tmp_path, ITEMS)
    assert set(again.lists) == {"follows", "content"}
    history = np.array([1, 5, 9])
    np.testing.assert_array_equal(
        name_candidates(again, history, None).shares, name_candidates(data, history, None).shares
    )


@pytest.mark.parametrize("broken", ["offsets", "items", "weights"])
def test_lists_that_do_not_fit_are_refused(tmp_path: Path, broken: str) -> None:
    source_data(3).lists["follows"].save(tmp_path)
    path = tmp_path / f"{broken}.npy"
    array = np.load(path)
    wrong = {"offsets": array[:-1], "items": array + ITEMS, "weights": array * np.nan}[broken]
    np.save(path, wrong)
    with pytest.raises(ValueError, match="do not fit|not there"):
        ItemLists.load(tmp_path, ITEMS)

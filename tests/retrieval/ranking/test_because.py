"""What is said to have carried an item did carry it."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given

from retrieval.ranking.because import FOREMOST, find_causes
from retrieval.ranking.sources import SOURCES, name_candidates
from tests.retrieval.ranking.shops import ITEMS, histories, seeds, source_data


@given(histories, seeds)
def test_the_source_named_has_the_item_among_its_first_and_the_action_is_of_the_history(
    history: np.ndarray, seed: int
) -> None:
    data = source_data(seed)
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(ITEMS, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    named = name_candidates(data, history, (vectors @ vectors[history].sum(axis=0)).astype(np.float32) * 5)
    parts = (named.shares * draw.random(len(SOURCES))).astype(np.float32)
    chosen = named.index[np.argsort(-parts.sum(axis=1))[:10]]
    causes = find_causes(data, named, parts, chosen, history, lambda a, b: vectors[a] @ vectors[b].T)
    assert len(causes) == len(chosen)
    for item, cause in zip(chosen.tolist(), causes, strict=True):
        assert cause.action == -1 or cause.action in history
        column = named.shares[:, cause.source]
        own = column[np.searchsorted(named.index, item)]
        if own > 0:
            assert (column > own).sum() < FOREMOST


@given(histories, seeds)
def test_an_item_that_one_action_alone_brings_is_put_down_to_it(history: np.ndarray, seed: int) -> None:
    """With neighbours alone, the action is one whose list has the item."""
    assume(len(history))
    data = source_data(seed, lists=("neighbours",))
    named = name_candidates(data, history, None)
    column = SOURCES.index("neighbours")
    parts = np.zeros_like(named.shares)
    parts[:, column] = named.shares[:, column]
    chosen = named.index[parts[:, column] > 0]
    lists = data.lists["neighbours"]
    for item, cause in zip(
        chosen.tolist(), find_causes(data, named, parts, chosen, history, lambda a, b: np.zeros((len(a), len(b)))),
        strict=True,
    ):  # fmt: skip
        assert cause.source == column
        assert item in lists.items[lists.offsets[cause.action] : lists.offsets[cause.action + 1]]

"""A diverse list: the best items at 0, less alike the higher the knob stands, never an item twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.ranking.diversity import choose_diverse, list_diversity

SCORES = st.lists(st.floats(-5, 5, width=32), max_size=40).map(lambda values: np.array(values, dtype=np.float32))
SMALL = st.integers(0, 1000)


def vectors_of(count: int, seed: int, *, groups: int = 5) -> np.ndarray:
    """Draw unit vectors around a few centres, as the items of a few categories have."""
    draw = np.random.default_rng(seed)
    found = draw.normal(size=(groups, 16))[np.arange(count) % groups] + 0.3 * draw.normal(size=(count, 16))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@given(SCORES, SMALL, st.integers(1, 50), st.floats(0, 0.95))
def test_each_item_once_as_many_as_there_are(scores: np.ndarray, seed: int, k: int, knob: float) -> None:
    chosen = choose_diverse(scores, vectors_of(len(scores), seed), k, knob)
    assert len(chosen) == min(k, len(scores)) == len(set(chosen.tolist()))
    if len(scores):
        assert scores[chosen[0]] == scores.max(), "the best item leads"


@given(SCORES, SMALL, st.integers(1, 50))
def test_the_knob_at_0_is_the_order_of_the_scores(scores: np.ndarray, seed: int, k: int) -> None:
    chosen = choose_diverse(scores, vectors_of(len(scores), seed), k, 0.0)
    assert chosen.tolist() == sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]


def test_a_greedy_step_is_the_best_by_the_determinant_itself() -> None:
    """Each choice has the largest score + weight * (log det with it - log det without it)."""
    draw = np.random.default_rng(0)
    scores, vectors, knob = draw.normal(size=12).astype(np.float32), vectors_of(12, 0), 0.6
    kernel = (1 + (vectors @ vectors.T).astype(np.float64)) / 2
    np.fill_diagonal(kernel, 1.0)
    chosen = choose_diverse(scores, vectors, 5, knob).tolist()
    for step in range(1, 5):
        before = chosen[:step]

        def gain(item: int, before: list[int] = before) -> float:
            both = [*before, item]
            _, with_it = np.linalg.slogdet(kernel[np.ix_(both, both)])
            _, without = np.linalg.slogdet(kernel[np.ix_(before, before)])
            return float(scores[item] + knob / (1 - knob) * (with_it - without))

        left = [item for item in range(12) if item not in before]
        assert gain(chosen[step]) >= max(map(gain, left)) - 1e-6


def test_a_higher_knob_gives_lists_less_alike() -> None:
    found = []
    for knob in (0.0, 0.5, 0.9):
        lists = []
        for seed in range(40):
            vectors = vectors_of(60, seed)
            scores = (4 * vectors @ vectors[0] + np.random.default_rng(seed).normal(size=60)).astype(np.float32)
            lists.append(list_diversity(vectors[choose_diverse(scores, vectors, 10, knob)]))
        found.append(float(np.mean(lists)))
    assert found[0] * 1.2 < found[1] < found[2]


def test_a_copy_of_an_item_comes_last() -> None:
    vectors = vectors_of(6, 1, groups=6)
    vectors[1] = vectors[0]
    scores = np.array([3.0, 2.9, 1, 1, 1, 1], dtype=np.float32)
    assert choose_diverse(scores, vectors, 6, 0.7).tolist()[-1] == 1

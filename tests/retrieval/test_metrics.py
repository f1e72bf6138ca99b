from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.release import HEADLINE
from retrieval import metrics

RANKS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(RANKS)
def test_single_targets_agree_with_an_independent_library(ranks: list[int]) -> None:
    run = [
        ir_measures.ScoredDoc(str(q), "target" if place == rank else f"d{place}", float(-place))
        for q, rank in enumerate(ranks)
        for place in range(1, 61)
    ]
    qrels = [ir_measures.Qrel(str(q), "target", 1) for q in range(len(ranks))]
    names = {"nDCG@10": "ndcg_at_10", "R@20": "recall_at_20", "RR@5": "mrr_at_5", "RR": "mrr", "Success@5": "hr_at_5"}
    measures = {ir_measures.parse_measure(theirs): ours for theirs, ours in names.items()}
    expected = ir_measures.calc_aggregate(list(measures), qrels, run)
    ours = metrics.summarize(ranks)
    for measure, name in measures.items():
        assert ours[name] == pytest.approx(expected[measure], abs=1e-6), name


@given(RANKS)
def test_the_headline_is_the_figure_of_its_name(ranks: list[int]) -> None:
    assert metrics.summarize(ranks)[HEADLINE] == metrics.headline(ranks).mean()


@given(RANKS, st.integers(1, 70))
def test_metrics_lie_in_order(ranks: list[int], k: int) -> None:
    hit, gain, reciprocal = metrics.hit_rate(ranks, k), metrics.ndcg(ranks, k), metrics.mrr(ranks, k)
    assert (reciprocal <= gain + 1e-12).all()
    assert (gain <= hit).all()
    assert (hit <= metrics.hit_rate(ranks, k + 1)).all()


def test_without_queries_there_is_no_mean() -> None:
    summary = metrics.summarize([])
    assert summary.pop("queries") == 0
    assert all(np.isnan(value) for value in summary.values())
    assert np.isnan(metrics.bootstrap_interval([], 0)).all()


def test_zero_based_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="1-based"):
        metrics.ndcg([0, 1], 10)


def test_coverage_counts_what_is_shown() -> None:
    assert metrics.coverage(np.array([[0, 1], [1, -1]]), 4) == 0.5


def test_novelty_is_surprise_in_bits() -> None:
    counts = [3, 1, 1, 3]  # with one added each: shares of 1/3, 1/6, 1/6, 1/3
    values = metrics.novelty(np.array([[0, 1], [1, -1], [-1, -1]]), counts)
    assert values == pytest.approx([(np.log2(3) + np.log2(6)) / 2, np.log2(6), 0.0])


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        low, high = metrics.bootstrap_interval(rng.exponential(size=200), trial, resamples=300)
        held += low <= 1.0 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_dependent_values_make_a_wider_interval() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(50), 20)
    values = rng.normal(size=50)[groups]
    low, high = metrics.bootstrap_interval(values, 0)
    wide_low, wide_high = metrics.bootstrap_interval(values, 0, groups=groups)
    assert wide_high - wide_low > 3 * (high - low)


@given(st.integers(0, 10**6))
def test_a_seed_gives_one_interval_in_any_block_size(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=30)
    low, high = metrics.bootstrap_interval(values, seed, resamples=50)
    assert (low, high) == metrics.bootstrap_interval(values, seed, resamples=50)
    assert values.min() <= low <= high <= values.max()


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(size=400)
    low, high = metrics.paired_difference_interval(base + 0.1 + rng.normal(scale=0.01, size=400), base, 0)
    assert 0.09 < low < high < 0.11
    with pytest.raises(ValueError, match="same queries"):
        metrics.paired_difference_interval([1.0], [1.0, 2.0], 0)

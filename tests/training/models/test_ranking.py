"""Ranks, baselines and metrics against an independent library."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
import torch
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from contracts.errors import TrainingError
from retrieval import metrics
from tests.training import builders
from training.data.datasets import Examples, Ints, last_items
from training.evaluation import baselines
from training.models.ranking import Score, rank, scorer


def fixed(scores: np.ndarray) -> Score:
    def score(_: Examples, index: Ints) -> torch.Tensor:
        return torch.from_numpy(scores[index].astype(np.float32))

    return score


def test_figures_agree_with_ir_measures() -> None:
    draw = np.random.default_rng(0)
    scores = draw.normal(size=(700, 60))  # more than one chunk
    histories = [draw.integers(1, 61, size=draw.integers(1, 6)).tolist() for _ in range(700)]
    targets = draw.integers(1, 61, size=700)
    ranking = rank(fixed(scores), builders.questions(histories, targets.tolist()), exclude_seen=True)
    ours = metrics.summarize(ranking.ranks, (10, 20))
    qrels = [Qrel(str(q), str(t), 1) for q, t in enumerate(targets)]
    run = [
        ScoredDoc(str(q), str(i), float(scores[q, i - 1]))
        for q in range(700)
        for i in range(1, 61)
        if i not in histories[q] or targets[q] in histories[q]
    ]
    theirs = ir_measures.calc_aggregate([nDCG @ 10, R @ 10, RR @ 20], qrels, run)
    assert ours["ndcg_at_10"] == pytest.approx(theirs[nDCG @ 10])
    assert ours["hr_at_10"] == ours["recall_at_10"] == pytest.approx(theirs[R @ 10])
    assert ours["mrr_at_20"] == pytest.approx(theirs[RR @ 20])


def test_top_lists_hold_what_may_be_shown() -> None:
    scores = np.tile(np.arange(10.0)[::-1], (2, 1))
    allowed = np.ones(10, dtype=bool)
    allowed[1] = False
    examples = builders.questions([[1], [3]], [5, 5])
    assert rank(fixed(scores), examples, exclude_seen=True, top=3, allowed=allowed).top.tolist() == [
        [3, 4, 5], [1, 4, 5],
    ]  # fmt: skip
    assert rank(fixed(scores), examples, exclude_seen=False, top=2).top.tolist() == [[1, 2], [1, 2]]


def test_having_been_seen_does_not_give_a_repeat_away() -> None:
    seen = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]])
    ranking = rank(fixed(seen), builders.questions([[1, 2, 3], [1, 2, 3]], [2, 4]), exclude_seen=True, top=3)
    assert ranking.ranks.tolist() == [3, 3]  # among what was seen, among what was not
    assert [sorted(row) for row in ranking.top.tolist()] == [[1, 2, 3], [4, 5, 6]]


def test_what_may_not_be_shown_covers_nothing() -> None:
    ranking = rank(fixed(np.arange(4.0)[None]), builders.questions([[1, 4]], [2]), exclude_seen=True, top=4)
    assert ranking.top.tolist() == [[3, 2, 0, 0]]
    assert metrics.coverage(ranking.top - 1, 4) == 0.5


def test_equal_scores_gain_nothing() -> None:
    assert rank(fixed(np.zeros((1, 9))), builders.questions([[1]], [4]), exclude_seen=False).ranks.tolist() == [9]


def test_scores_that_are_not_numbers_are_an_error() -> None:
    scores = np.zeros((1, 4))
    scores[0, 2] = np.nan
    with pytest.raises(TrainingError, match="not numbers"):
        rank(fixed(scores), builders.questions([[1]], [2]), exclude_seen=False)


def test_neighbours_find_what_follows_and_popularity_does_not() -> None:
    sequences = builders.chains(count=400)
    examples = last_items(builders.chains(count=200, seed=9))
    counts = baselines.popularity(sequences.items, 40)
    popular = rank(baselines.popularity_score(counts), examples, exclude_seen=False).ranks
    near = rank(
        baselines.neighbours_score(baselines.neighbours(sequences, 40), counts), examples, exclude_seen=False
    ).ranks
    assert counts.sum() == len(sequences.items)
    assert metrics.ndcg(near, 10).mean() > 2 * metrics.ndcg(popular, 10).mean()


def test_a_history_without_items_still_gets_an_answer() -> None:
    sequences = builders.chains(count=50)
    counts = baselines.popularity(sequences.items, 40)
    empty = builders.questions([[]], [3])
    near = rank(baselines.neighbours_score(baselines.neighbours(sequences, 40), counts), empty, exclude_seen=True)
    assert counts[near.top[0, 0] - 1] == counts.max()
    vectors = np.eye(40, 4, dtype=np.float32)
    got = rank(scorer(lambda i, _: np.ones((len(i), 4), np.float32), vectors, None, 5), empty, exclude_seen=True)
    assert len(got.ranks) == 1

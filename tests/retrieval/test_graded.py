from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import graded

QUERIES, ITEMS, PLACES = 4, 12, 8
TRIPLES = st.lists(
    st.tuples(st.integers(0, QUERIES - 1), st.integers(0, ITEMS - 1), st.integers(0, 3)), min_size=1, max_size=30
)
ORDERS = st.lists(st.permutations(range(ITEMS)), min_size=QUERIES, max_size=QUERIES)


def judgments(triples: list[tuple[int, int, int]]) -> graded.Judgments:
    return graded.Judgments.of(*zip(*triples, strict=True), count=QUERIES)


@given(TRIPLES, ORDERS)
@settings(max_examples=60)
def test_graded_metrics_agree_with_an_independent_library(
    triples: list[tuple[int, int, int]], orders: list[list[int]]
) -> None:
    lists = np.array([order[:PLACES] for order in orders])
    highest: dict[tuple[int, int], int] = {}
    for q, item, relevance in triples:
        highest[q, item] = max(relevance, highest.get((q, item), 0))
    qrels = [ir_measures.Qrel(str(q), str(item), relevance) for (q, item), relevance in highest.items()]
    run = [
        ir_measures.ScoredDoc(str(q), str(item), float(-place))
        for q, row in enumerate(lists)
        for place, item in enumerate(row)
    ]
    truth = judgments(triples)
    ours = {
        "nDCG@5": graded.ndcg(lists, truth, 5),
        "nDCG@20": graded.ndcg(lists, truth, 20),
        "R@5": graded.recall(lists, truth, 5),
        "R(rel=2)@8": graded.recall(lists, truth, 8, least=1),
        "RR": graded.mrr(lists, truth),
    }
    measures = {name: ir_measures.parse_measure(name) for name in ours}
    expected = {(m.measure, int(m.query_id)): m.value for m in ir_measures.iter_calc(measures.values(), qrels, run)}
    judged = {q for q, _ in highest}
    for name, values in ours.items():
        for q in judged:
            assert values[q] == pytest.approx(expected[measures[name], q], abs=1e-6), (name, q)


@given(TRIPLES)
def test_the_ideal_order_scores_one(triples: list[tuple[int, int, int]]) -> None:
    truth = judgments(triples)
    score = {(q, item): 0 for q in range(QUERIES) for item in range(ITEMS)}
    for q, item, relevance in triples:
        score[q, item] = max(score[q, item], relevance)
    ideal = np.array([sorted(range(ITEMS), key=lambda i, q=q: -score[q, i]) for q in range(QUERIES)])
    assert graded.ndcg(ideal, truth, 10) == pytest.approx((truth.relevant() > 0).astype(float))


def test_short_lists_and_unjudged_queries_score_zero() -> None:
    truth = graded.Judgments.of([0], [3], [2.0], count=2)
    lists = np.array([[-1, -1], [3, -1]])
    for figure in (graded.ndcg, graded.recall, graded.mrr):
        assert figure(lists, truth, 10).tolist() == [0.0, 0.0]
    empty = graded.Judgments.of([], [], [], count=1)
    assert graded.ndcg(np.array([[1, 2]]), empty, 10).tolist() == [0.0]


@pytest.mark.parametrize("relevance", [-1.0, float("nan"), float("inf")])
def test_impossible_relevances_are_refused(relevance: float) -> None:
    with pytest.raises(ValueError, match="relevance"):
        graded.Judgments.of([0], [0], [relevance], count=1)


def test_lists_must_be_of_the_same_queries() -> None:
    with pytest.raises(ValueError, match="lists"):
        graded.Judgments.of([0], [0], [1.0], count=1).gains(np.zeros((2, 1), dtype=int))
